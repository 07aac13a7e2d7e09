"""Element by element: in whichever form the operands are there already."""

from __future__ import annotations

from collections.abc import Callable

from dlkit.onnx.emit.writer import LAST, Call, Writer, emitter
from dlkit.ops import OPS
from dlkit.tensor import Tensor

SAME = (
    *("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "greater", "greater_equal", "equal"),
    *("where", "negative", "exp", "log", "sqrt", "abs", "sign", "sin", "cos", "erf"),
    *("relu", "sigmoid", "tanh", "gelu", "softplus"),
)  # ops that are one ONNX operator, named by the op itself, without attributes


def _operands(w: Writer, call: Call) -> tuple[list[str], str]:
    """Names of the inputs in one form, and that form."""
    form = w.form_of(*call.inputs) if call.output.ndim == 4 else LAST
    if any(isinstance(x, Tensor) and x.ndim not in (0, 4) and not w.is_weight(x) for x in call.inputs):
        form = LAST  # a result of fewer axes would have to be turned as well
    return [w.broadcast(x, form) for x in call.inputs], form


def _same(operator: str) -> Callable[[Writer, Call], None]:
    def emit(w: Writer, call: Call) -> None:
        names, form = _operands(w, call)
        w.define(call.output, w.node(operator, names), form)

    return emit


for _name in SAME:
    emitter(_name)(_same(OPS[_name].onnx))


@emitter("leaky_relu")
def leaky_relu(w: Writer, call: Call) -> None:
    names, form = _operands(w, call)
    w.define(call.output, w.node("LeakyRelu", names, alpha=call.attributes["slope"]), form)


@emitter("elu")
def elu(w: Writer, call: Call) -> None:
    names, form = _operands(w, call)
    w.define(call.output, w.node("Elu", names, alpha=call.attributes["alpha"]), form)


@emitter("silu")
def silu(w: Writer, call: Call) -> None:
    (x,), form = _operands(w, call)
    w.define(call.output, w.node("Mul", [x, w.node("Sigmoid", [x])]), form)


@emitter("clip")
def clip(w: Writer, call: Call) -> None:
    (x,), form = _operands(w, call)
    bounds = [w.name(call.attributes[side]) for side in ("low", "high")]
    w.define(call.output, w.node("Clip", [x, *bounds]), form)


@emitter("cast")
def cast(w: Writer, call: Call) -> None:
    import onnx

    names, form = _operands(w, call)
    to = onnx.helper.np_dtype_to_tensor_dtype(call.attributes["dtype"])
    w.define(call.output, w.node("Cast", names, to=to), form)
