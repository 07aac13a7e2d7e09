"""What an operation is, and the one list of them.

An op is declared once, as a class that is never instantiated by hand:

    @op("x[...] -> y[...]", formula="y = max(x, 0)", slope="dx = dy · [x > 0]")
    class relu:
        def forward(k, x): ...                    arrays in; (output, what backward needs) out
        def backward(k, saved, dy): ...           one gradient for each input, None where there is none
        def samples(rng): ...                     calls that exercise it, from plain to nasty
        def errors(): ...                         wrong calls, each with its message

`k` holds the device's kernels: an op asks for one by name and never asks who runs it. The decorator replaces the class
by an `Op` that can be called on tensors, `relu(x)`, and puts it into OPS, from which the gradient check, the tests,
`dlkit summary` and the documentation are made.

Optional members: `arguments(...)` turns what a user writes into (inputs, attributes); `shape(*shapes, **attributes)`
gives the output's shape or raises ShapeError (default: all inputs broadcast together); `flops(...)` the same
arguments, floating-point operations of one forward (default: one per output element). Class attributes:
`nondiff` input positions without a gradient; `whole` those of indices, labels and masks, the only ones that stay whole
numbers beside floats; `real = True` where the output is a fraction even of whole numbers, which become float32 then, as
beside a Python float; `result` the output's dtype where it is not the inputs'; `auxiliary` how many arrays come back
beside the output; `differentiable = False` for ops without any; `second = True` if backward is itself made of
differentiable kernels; `kernel`, the name under which another op's backward calls it; `onnx`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlkit import tape
from dlkit.backends import kernels
from dlkit.backends.meta import MetaArray
from dlkit.errors import BackendError, DTypeError, GradientError, ShapeError
from dlkit.registry import OPS
from dlkit.symbol import has_symbol, marked, recorded, user_line
from dlkit.tensor import Tensor, as_tensor, is_number, plain_number


@dataclass(frozen=True)
class Sample:
    """One valid call. Inputs are float64 arrays (cast by whoever checks), integer arrays, numbers or None."""

    inputs: tuple
    attributes: dict = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:  # rng.random(()) is a NumPy scalar; an input of shape () is an array
        arrays = tuple(np.asarray(x) if isinstance(x, np.generic) else x for x in self.inputs)
        object.__setattr__(self, "inputs", arrays)

    def __str__(self) -> str:
        shapes = "-".join("x".join(map(str, np.shape(x))) or "1" for x in self.inputs if x is not None)
        attributes = ",".join(f"{k}={v}" for k, v in self.attributes.items() if not isinstance(v, np.ndarray))
        return f"{shapes}{'-' if attributes else ''}{attributes}".replace(" ", "")[:80]


@dataclass(frozen=True)
class BadCall:
    """One wrong call and how it is refused: the error's type and a pattern its message matches."""

    inputs: tuple
    attributes: dict
    error: type[Exception]
    message: str


def broadcast_shape(*shapes: tuple[int, ...] | None, **attributes: Any) -> tuple[int, ...]:
    """NumPy's broadcasting rule on shapes, whatever the attributes.  Raises : ShapeError."""
    first = shapes[0]
    if first is not None and (len(shapes) == 1 or (len(shapes) == 2 and (shapes[1] == first or shapes[1] == ()))):
        return first  # nearly every call, and NumPy's function takes microseconds
    known = [s for s in shapes if s is not None]
    try:
        return np.broadcast_shapes(*known)
    except ValueError:
        raise ShapeError(f"shapes {' and '.join(map(str, known))} do not broadcast together") from None


class Op:
    """An operation on tensors; see the module's docstring."""

    def __init__(self, name: str, unit: type, signature: str, formula: str, slope: str, source: str):
        self.name = name
        self.signature, self.formula, self.slope, self.source = signature, formula, slope, source
        self.__doc__ = unit.__doc__ or f"{formula}"
        self.__name__ = name
        self.unit = unit
        self._forward: Callable = unit.forward  # type: ignore[attr-defined]
        self._backward: Callable | None = getattr(unit, "backward", None)
        self._arguments: Callable | None = getattr(unit, "arguments", None)
        self._shape: Callable = getattr(unit, "shape", broadcast_shape)
        self._flops: Callable | None = getattr(unit, "flops", None)
        self.samples: Callable[[np.random.Generator], list[Sample]] = unit.samples  # type: ignore[attr-defined]
        self.errors: Callable[[], list[BadCall]] = getattr(unit, "errors", list)
        self.nondiff: tuple[int, ...] = getattr(unit, "nondiff", ())
        self.whole: tuple[int, ...] = getattr(unit, "whole", ())
        self.real: bool = getattr(unit, "real", False)
        self.differentiable: bool = getattr(unit, "differentiable", self._backward is not None)
        self.second: bool = getattr(unit, "second", False)
        self.result: str | None = getattr(unit, "result", None)
        self.auxiliary: int = getattr(unit, "auxiliary", 0)
        self.kernel: str = getattr(unit, "kernel", name)
        self.onnx: str | None = getattr(unit, "onnx", None)
        self._needs_needs = self._backward is not None and "needs" in inspect.signature(self._backward).parameters

    def __repr__(self) -> str:
        return f"<op {self.name}: {self.signature}>"

    def __reduce__(self) -> tuple:
        return _op_named, (self.name,)  # pickled and copied by name: there is one of each

    # -- calling it ---------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **attributes: Any) -> Any:
        """Runs the op on tensors, arrays and numbers; records it if a gradient may be asked for.

        Returns a Tensor, or (Tensor, array, ...) for an op that also reports auxiliary arrays (None on "meta").
        """
        if self._arguments is not None:
            args, attributes = self._arguments(*args, **attributes)
        return self.apply(args, attributes)

    def apply(self, args: tuple, attributes: dict) -> Any:
        """`__call__` after `arguments`: inputs and canonical attributes."""
        first = args[0] if args else None
        if not isinstance(first, Tensor) or first.data.dtype.kind != "f":
            first = _leading_tensor(args)
        device, dtype = first.device, first.data.dtype
        if dtype.kind != "f" and self.differentiable:
            dtype = _float_beside(args) or (np.dtype(np.float32) if self.real else dtype)
        inputs: list = []
        arrays: list = []
        shapes: list = []
        needs: list = []
        meta = device == "meta"
        for x in args:
            if not isinstance(x, Tensor):
                if x is None or is_number(x):
                    x = plain_number(x)
                    inputs.append(x)
                    arrays.append(x)
                    shapes.append(None if x is None else ())
                    needs.append(False)
                    continue
                x = as_tensor(x, first)
            data = x.data
            if x.device != device:
                meta = self._check_devices(x.device, device)
            if data.dtype is not dtype and data.dtype != dtype and dtype.kind == "f":
                if data.dtype.kind == "f":
                    raise DTypeError(
                        f"{self.name}: inputs are {dtype} and {data.dtype}; convert one with .astype({str(dtype)!r})"
                    )
                if self.differentiable and len(arrays) not in self.whole and x.device != "meta":
                    data = kernels(x.device).cast(data, dtype)  # beside floats whole numbers are floats, too
            inputs.append(x)
            arrays.append(data)
            shapes.append(data.shape)
            needs.append(x.requires_grad)
        try:
            shape = self._shape(*shapes, **attributes)
        except ShapeError as error:
            where = f" (in {user_line()})" if has_symbol(args) else ""
            raise ShapeError(f"{self.name}: {error}{where}") from None
        if _observers:
            for observer in _observers:
                observer(self, shapes, attributes, shape, dtype)
        if meta:
            result_dtype = attributes.get("dtype", self.result or dtype)
            out = Tensor.wrap(MetaArray(marked(shape), result_dtype), "meta")
            if _followers:
                _tell_followers(self, inputs, attributes, out)
            made = (out, *(None,) * self.auxiliary) if self.auxiliary else out
            return recorded(self, args, attributes, made) if has_symbol(args) else made
        result = self._forward(kernels(device), *arrays, **attributes)
        y = result[0]
        out = Tensor.wrap(y, device)
        for i in self.nondiff:
            if i < len(needs):
                needs[i] = False
        if True in needs and self.differentiable and tape.is_recording() and y.dtype.kind == "f":
            out.node = tape.Node(self, tuple(inputs), tuple(needs), result[1], id(y))
            out.requires_grad = True
        if _followers:
            _tell_followers(self, inputs, attributes, out)
        return out if len(result) == 2 else (out, *result[2:])

    def _check_devices(self, a: str, b: str) -> bool:
        """True if one side is shape-only; two real devices do not mix."""
        if "meta" in (a, b):
            return True
        raise BackendError(f"{self.name}: inputs are on {b!r} and {a!r}; move one with .to({b!r})")

    def run_backward(self, k: Any, saved: tuple, dy: Any, needs: tuple[bool, ...]) -> tuple:
        assert self._backward is not None
        return self._backward(k, saved, dy, needs=needs) if self._needs_needs else self._backward(k, saved, dy)

    def require_second_derivative(self) -> None:
        if not self.second:
            raise GradientError(f"op {self.name!r} has no second derivative: its backward is a kernel, not made of ops")

    # -- its cost -------------------------------------------------------------------------------------------------

    def flops(self, shapes: list, attributes: dict) -> int:
        """Floating-point operations of one forward on these input shapes (a multiply-add counts 2)."""
        if self._flops is not None:
            return int(self._flops(*shapes, **attributes))
        return math.prod(self._shape(*shapes, **attributes))


def _op_named(name: str) -> Op:
    return OPS[name]


_observers: list[Callable] = []
_followers: list[Callable] = []


def _tell_followers(op: Op, inputs: list, attributes: dict, out: Tensor) -> None:
    for follower in _followers:
        follower(op, inputs, attributes, out)


def _float_beside(args: tuple) -> np.dtype | None:
    """The type of the first float array, else float32 if there is a Python float, else None."""
    for x in args:
        if isinstance(x, np.ndarray) and x.dtype.kind == "f":
            return x.dtype
    return np.dtype(np.float32) if any(isinstance(x, (float, np.floating)) for x in args) else None


def _leading_tensor(args: tuple) -> Tensor:
    """The first float tensor among the inputs, else the first tensor, else one made of the first array or number: it
    says on which device and in which type the call is made."""
    found = None
    for x in args:
        if isinstance(x, Tensor):
            if x.data.dtype.kind == "f":
                return x
            found = x if found is None else found
    if found is not None:
        return found
    given = sorted((x for x in args if x is not None), key=is_number)
    return Tensor(given[0] if given else 0.0)


def op(signature: str, *, formula: str = "", slope: str = "", source: str = "") -> Callable[[type], Op]:
    """Declares an op; the class's name is the op's. signature: "x[N,C], w[C,K] -> y[N,K]"."""

    def declare(unit: type) -> Op:
        for name, member in list(vars(unit).items()):
            if callable(member) and not name.startswith("__"):
                setattr(unit, name, staticmethod(member))
        return OPS.add(unit.__name__, Op(unit.__name__, unit, signature, formula, slope, source))

    return declare


class observe:
    """Calls `observer(op, input shapes, attributes, output shape, dtype)` for every op applied in a `with` block."""

    def __init__(self, observer: Callable):
        self.observer = observer

    def __enter__(self) -> None:
        _observers.append(self.observer)

    def __exit__(self, *exc: object) -> None:
        _observers.remove(self.observer)


class follow:
    """Calls `follower(op, inputs, attributes, output)` with the tensors themselves, after every op applied in a `with`
    block: what a network does, step by step."""

    def __init__(self, follower: Callable):
        self.follower = follower

    def __enter__(self) -> None:
        _followers.append(self.follower)

    def __exit__(self, *exc: object) -> None:
        _followers.remove(self.follower)


def unbroadcast(k: Any, dy: Any, shape: tuple[int, ...]) -> Any:
    """Sums dy over the axes along which an input of `shape` was broadcast: the transpose of broadcasting."""
    if tuple(dy.shape) == tuple(shape):
        return dy
    lead = len(dy.shape) - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and dy.shape[i + lead] != 1)
    return k.reshape(k.sum(dy, axes, True), shape)


def spread(k: Any, dy: Any, shape: tuple[int, ...]) -> Any:
    """dy stretched to `shape` in memory of its own: fast kernels take no arrays with strides of 0."""
    return dy if tuple(dy.shape) == tuple(shape) else k.spread(dy, shape)


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an array or tensor; () for a number."""
    return tuple(getattr(x, "shape", ()))
