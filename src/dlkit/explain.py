"""What a learner asks about an op or a network, answered from the registry.

explain_op("max_pool2d")        formula forward and backward, shapes, the code that is read, the source, numbers
explain_model(model, shape)     one line for each layer on the way there, one on the way back
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from dlkit.backends import BACKENDS, trace, use_backend
from dlkit.nn import Module, observe_modules
from dlkit.nn.summary import run_on_shapes, shape_of
from dlkit.ops import OPS, Op, Sample, observe
from dlkit.tape import grad, no_grad
from dlkit.tensor import Tensor

PRODUCTS = ("linear", "matmul", "conv2d", "conv_transpose2d")  # dx and dw each cost what the forward does
EXAMPLE_SIZE = 30  # elements of one input that are still worth looking at


@dataclass
class ShapeExample:
    """One of the op's samples: its inputs' shapes, its attributes, the output's shape and the forward's FLOPs."""

    inputs: list[tuple[int, ...] | None]
    attributes: dict[str, str]
    output: tuple[int, ...]
    flops: int


@dataclass
class WorkedExample:
    """A call small enough to follow by hand, on the reference backend in float64, and its gradients for this dy."""

    inputs: dict[str, Any]
    attributes: dict[str, str]
    y: np.ndarray
    dy: np.ndarray | None
    gradients: dict[str, np.ndarray]


@dataclass
class OpExplanation:
    """code : title -> source text, the op itself first and then the reference kernels that it calls."""

    name: str
    signature: str
    summary: str
    forward: str
    backward: str
    source: str
    onnx: str | None
    second_derivative: bool
    file: str
    shapes: list[ShapeExample]
    code: dict[str, str]
    example: WorkedExample

    def to_dict(self) -> dict[str, Any]:
        return _plain(asdict(self))

    def __str__(self) -> str:
        lines = [f"{self.name}    {self.signature}", ""]
        if self.summary:
            lines += [*textwrap.wrap(self.summary, 110), ""]
        lines += [f"forward    {self.forward}", f"backward   {self.backward or 'none: it has no gradient'}"]
        lines += [f"source     {self.source}"] if self.source else []
        lines += [f"ONNX       {self.onnx}"] if self.onnx else []
        lines += [f"code       {self.file}", "", "shapes", *_shape_lines(self.shapes), "", "a small example"]
        lines += textwrap.indent(_example_text(self.example), "  ").splitlines()
        for title, text in self.code.items():
            lines += ["", title, textwrap.indent(text, "  ").rstrip()]
        return "\n".join(lines)


def explain_op(name: str) -> OpExplanation:
    """Raises : ConfigError for an unknown op, with the nearest name."""
    op = OPS[name]
    samples = op.samples(np.random.default_rng(0))
    example = EXAMPLES.get(name, lambda: _smallest(samples))()
    with use_backend("reference"):
        worked, kernels = _work(op, example)
    return OpExplanation(
        op.name,
        op.signature,
        "" if (op.__doc__ or "") == op.formula else " ".join((op.__doc__ or "").split()),
        op.formula,
        op.slope,
        op.source,
        op.onnx,
        op.second,
        _file_of(op),
        list(_shapes(op, samples)),
        _code(op, kernels),
        worked,
    )


def _file_of(op: Op) -> str:
    path, line = inspect.getsourcefile(op.unit) or "", inspect.getsourcelines(op.unit)[1]
    return f"{path[path.rfind('dlkit/') :]}:{line}"


# -- a small example ---------------------------------------------------------------------------------------


def _image(*rows: list[float]) -> np.ndarray:
    """One image of one channel, [1, H, W, 1]."""
    return np.array(rows, np.float64)[None, :, :, None]


def _filter(*rows: list[float]) -> np.ndarray:
    """One filter from one channel to one, [R, S, 1, 1]."""
    return np.array(rows, np.float64)[:, :, None, None]


_NINE = ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0])
_SIXTEEN = ([1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 8.0, 6.0], [7.0, 1.0, 3.0, 2.0], [0.0, 9.0, 4.0, 5.0])
_EDGE = ([1.0, -1.0], [2.0, 0.0])

EXAMPLES: dict[str, Callable[[], Sample]] = {  # where the samples are too large to follow by hand
    "conv2d": lambda: Sample((_image(*_NINE), _filter(*_EDGE), np.array([0.5]))),
    "conv2d_backward_input": lambda: Sample(
        (_image([1.0, 2.0], [3.0, 4.0]), _filter(*_EDGE)),
        {"size": (3, 3), "stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1},
    ),
    "conv2d_backward_weight": lambda: Sample(
        (_image(*_NINE), _image([1.0, 2.0], [3.0, 4.0])),
        {"kernel": (2, 2), "stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1},
    ),
    "conv_transpose2d": lambda: Sample((_image([1.0, 2.0], [3.0, 4.0]), _filter(*_EDGE), None), {"stride": 2}),
    "max_pool2d": lambda: Sample((_image(*_SIXTEEN),), {"kernel": 2}),
    "avg_pool2d": lambda: Sample((_image(*_SIXTEEN),), {"kernel": 2}),
    "adaptive_avg_pool2d": lambda: Sample((_image(*_SIXTEEN),), {"size": 2}),
    "upsample_nearest": lambda: Sample((_image([1.0, 2.0], [3.0, 4.0]),), {"scale": 2}),
    "upsample_bilinear": lambda: Sample((_image([1.0, 2.0], [3.0, 4.0]),), {"scale": 2}),
    "pad": lambda: Sample((np.array([[1.0, 2.0, 3.0]]),), {"widths": ((0, 0), (1, 2)), "mode": "reflect"}),
    "group_norm": lambda: Sample(
        (np.array([[1.0, 3.0, 2.0, 8.0]]), np.ones(4), np.zeros(4)), {"groups": 2}
    ),
    "instance_norm": lambda: Sample((_image([1.0, 2.0], [3.0, 6.0]), np.array([2.0]), np.array([1.0]))),
    "matmul": lambda: Sample((np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]))),
    "linear": lambda: Sample(
        (np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]), np.array([0.5, 0.0, -0.5]))
    ),
}  # fmt: skip


def _smallest(samples: list[Sample]) -> Sample:
    """The smallest sample that shows something, its numbers rounded to two places."""

    def size(sample: Sample) -> tuple[bool, int]:
        sizes = [x.size for x in sample.inputs if isinstance(x, np.ndarray)]
        return max(sizes, default=0) < 3, sum(sizes)

    chosen = min(samples, key=size)
    rounded = tuple(np.round(x, 2) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in chosen.inputs)
    return Sample(rounded, chosen.attributes)


def _work(op: Op, sample: Sample) -> tuple[WorkedExample, list[str]]:
    """The example, and the reference kernels that computed it in the order of their first call."""
    names = list(_input_names(op, len(sample.inputs)))
    differentiable = [
        isinstance(x, np.ndarray) and x.dtype.kind == "f" and op.differentiable and i not in op.nondiff
        for i, x in enumerate(sample.inputs)
    ]
    tensors = [
        Tensor(x, requires_grad=wanted) if isinstance(x, np.ndarray) else x
        for x, wanted in zip(sample.inputs, differentiable)
    ]
    with trace() as calls:
        y = op(*tensors, **sample.attributes)
        y = y[0] if isinstance(y, tuple) else y
        leaves = {n: t for n, t, wanted in zip(names, tensors, differentiable) if wanted}
        dy = np.arange(1.0, y.size + 1).reshape(y.shape) if leaves else None
        gradients = grad(y, list(leaves.values()), Tensor(dy)) if leaves else []
    used = list(dict.fromkeys(c.kernel for c in calls if c.kernel not in ("from_host", "to_host")))
    inputs = {n: x for n, x in zip(names, sample.inputs) if x is not None}
    found = {n: g.numpy() for n, g in zip(leaves, gradients)}
    return WorkedExample(inputs, _texts(sample.attributes), y.numpy(), dy, found), used


def _input_names(op: Op, count: int) -> Iterator[str]:
    parameters = list(inspect.signature(op.unit.forward).parameters.values())[1:]  # type: ignore[attr-defined]
    for i in range(count):
        p = parameters[min(i, len(parameters) - 1)]
        yield f"{p.name}[{i}]" if p.kind is p.VAR_POSITIONAL else p.name


def _texts(attributes: dict[str, Any]) -> dict[str, str]:
    return {n: _array_text(v) if isinstance(v, np.ndarray) else str(v) for n, v in attributes.items()}


def _example_text(e: WorkedExample) -> str:
    lines = [_named(n, x) for n, x in e.inputs.items()]
    lines += [", ".join(f"{n} = {v}" for n, v in e.attributes.items())] if e.attributes else []
    lines += [_named("y", e.y)]
    if e.dy is not None:
        lines += [_named("dy", e.dy), *(_named(f"gradient of {n}", g) for n, g in e.gradients.items())]
    return "\n".join(lines)


def _named(name: str, x: Any) -> str:
    if not isinstance(x, np.ndarray):
        return f"{name} = {x}"
    head = f"{name} {list(x.shape)} = " if x.ndim else f"{name} = "
    return head + _array_text(x).replace("\n", "\n" + " " * len(head))


def _array_text(x: np.ndarray) -> str:
    """Axes of one element are left out: an image of one channel prints as a picture."""
    return np.array2string(np.squeeze(x), precision=4, suppress_small=True, threshold=EXAMPLE_SIZE, separator=" ")


# -- shapes and code ---------------------------------------------------------------------------------------


def _shapes(op: Op, samples: list[Sample]) -> Iterator[ShapeExample]:
    """What the shape rule says about the op's own samples; nothing is computed."""
    for sample in samples[:6]:
        seen: list[tuple[list, dict, tuple]] = []

        def look(_: Op, shapes: list, attributes: dict, output: tuple, dtype: Any, seen: list = seen) -> None:
            seen.append((shapes, attributes, output))

        with observe(look), no_grad():
            op(*[Tensor(x) if isinstance(x, np.ndarray) else x for x in sample.inputs], **sample.attributes)
        shapes, attributes, output = seen[0]
        given = {k: v for k, v in attributes.items() if not isinstance(v, np.ndarray)}
        yield ShapeExample(list(shapes), _texts(given), tuple(output), op.flops(shapes, attributes))


def _shape_lines(shapes: list[ShapeExample]) -> list[str]:
    rows = [
        (
            ", ".join("–" if s is None else "×".join(map(str, s)) or "number" for s in e.inputs),
            "×".join(map(str, e.output)) or "one number",
            f"{e.flops:,} FLOPs",
            " ".join(f"{n}={v}" for n, v in e.attributes.items())[:60],
        )
        for e in shapes
    ]
    widths = [max(len(r[i]) for r in rows) for i in range(3)]
    return [
        f"  {a.ljust(widths[0])}  →  {b.ljust(widths[1])}  {c.rjust(widths[2])}  {d}".rstrip() for a, b, c, d in rows
    ]


def _code(op: Op, kernels: list[str]) -> dict[str, str]:
    members = [m for n in ("forward", "backward") if (m := getattr(op.unit, n, None)) is not None]
    code = {"the op": "\n\n".join(textwrap.dedent(inspect.getsource(m)).rstrip() for m in members)}
    reference = BACKENDS["reference"].kernels()
    for name in kernels:
        if name in reference:
            code[f"reference kernel {name}"] = inspect.getsource(inspect.unwrap(reference[name])).rstrip()
    return code


def _plain(value: Any) -> Any:
    """Arrays as nested lists, for JSON."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


# -- networks ----------------------------------------------------------------------------------------------


@dataclass
class LayerPass:
    """One layer, one way. shapes : what goes in and what comes out, of a batch of N; FLOPs for one example."""

    layer: str
    what: str
    shapes: str
    formula: str
    parameters: int
    flops: int


@dataclass
class ModelExplanation:
    """forward from the input on, backward from the loss's gradient back. FLOPs : of one example each way."""

    name: str
    description: str
    source: str
    input: tuple[int, ...]
    forward: list[LayerPass] = field(default_factory=list)
    backward: list[LayerPass] = field(default_factory=list)
    parameters: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        there, back = (sum(p.flops for p in way) for way in (self.forward, self.backward))
        lines = [f"{self.name}: {self.description}" if self.description else self.name]
        lines += [f"source: {self.source}"] if self.source else []
        lines += ["", "forward", *_pass_lines(self.forward), "", "backward", *_pass_lines(self.backward)]
        return "\n".join(
            [
                *lines,
                "",
                f"{self.parameters:,} parameters; {there:,} FLOPs forward and {back:,} backward for one example. Backward "
                "counts a product twice (for its input and for its weights; what the first weights see needs no gradient), "
                "everything else as forward.",
            ]
        )


def _pass_lines(passes: list[LayerPass]) -> list[str]:
    rows = [
        (p.layer, p.what, p.shapes, f"{p.parameters:,}" if p.parameters else "", f"{p.flops:,}", p.formula)
        for p in passes
    ]
    rows = [("layer", "", "shapes", "parameters", "FLOPs", "formula"), *rows]
    widths = [max(len(r[i]) for r in rows) for i in range(5)]
    return [
        "  "
        + "  ".join(c.rjust(w) if i in (3, 4) else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths)))
        + f"  {r[5]}"
        for r in rows
    ]


def explain_model(
    model: Module, input_shape: tuple[int, ...], name: str = "", description: str = "", source: str = ""
) -> ModelExplanation:
    """input_shape : of one example. Nothing is computed.  Raises : ShapeError where the shapes do not fit."""
    result = ModelExplanation(name or type(model).__name__, description, source, tuple(input_shape))
    result.parameters = model.parameter_count()
    names = {id(m): n for n, m in model.named_modules()}
    calls: list[tuple[Op, list, dict]] = []

    def on_op(op: Op, shapes: list, attributes: dict, output: tuple, dtype: Any) -> None:
        calls.append((op, shapes, attributes))

    def on_module(module: Module, inputs: tuple, y: Any) -> None:
        leaf = next(module.named_children(), None) is None
        if calls and (leaf or module is not model):
            _add_layer(result, names[id(module)] or type(module).__name__, module if leaf else None, inputs, y, calls)
            calls.clear()

    run_on_shapes(model, input_shape, ("float32",), observe(on_op), observe_modules(on_module))
    result.backward.reverse()
    return result


def _add_layer(result: ModelExplanation, name: str, module: Module | None, inputs: tuple, y: Any, calls: list) -> None:
    below = any(p.parameters for p in result.forward)  # is there anything to train before this layer?
    label = module.label() if module else "what joins its layers"
    x, out = _batch(shape_of(inputs)), _batch(shape_of(y))
    weights = dict(module.named_parameters()) if module else {}
    parameters = sum(p.size for p in weights.values())
    costs = [(op.flops(shapes, attributes), op.name in PRODUCTS) for op, shapes, attributes in calls]
    there = sum(cost for cost, _ in costs)
    back = sum(cost * (2 if product and below else 1) for cost, product in costs) if below or weights else 0
    gradients = [f"dx {x}"] if below else []
    gradients += [f"d{n} {'×'.join(map(str, p.shape))}" for n, p in weights.items()]
    result.forward.append(LayerPass(name, label, f"{x} → {out}", _formulas(calls, "formula"), parameters, there))
    into = f"dy {out} → {', '.join(gradients)}" if gradients else "not needed: nothing to train before it"
    result.backward.append(LayerPass(name, label, into, _formulas(calls, "slope"), parameters, back))


def _batch(shape: tuple[int, ...]) -> str:
    return "×".join(["N", *map(str, shape)])


def _formulas(calls: list, which: str) -> str:
    return "; then ".join(dict.fromkeys(getattr(op, which) for op, _, _ in calls))
