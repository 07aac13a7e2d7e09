"""Arithmetic, comparison and logic, element by element with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from dlkit import ops
from dlkit.errors import OnnxError
from dlkit.onnx.convert.registry import converter
from dlkit.onnx.values import cast, flat, host, number, value
from dlkit.tensor import Tensor


def _either(op: Any, on_arrays: Callable) -> Callable:
    """The op on float tensors, the NumPy function on everything else."""

    def call(a: Any, b: Any) -> Any:
        return op(a, b) if isinstance(a, Tensor) or isinstance(b, Tensor) else on_arrays(a, b)

    return call


def _old_broadcast(a: Any, b: Any, axis: int | None) -> Any:
    """b as opset 6 broadcasts it: its axes are those of a from `axis` on."""
    if axis is None or b.ndim == 0:
        return b
    return b.reshape(tuple(b.shape) + (1,) * (a.ndim - axis - b.ndim))


def _arithmetic(name: str, op: Any, on_arrays: Callable) -> None:
    call = _either(op, on_arrays)

    @converter(name, layout="pointwise", since=7)
    def now(a: Any, b: Any) -> Any:
        return call(a, b)

    @converter(name, since=1)
    def before(a: Any, b: Any, *, axis: int | None = None, broadcast: int = 0) -> Any:
        return call(a, _old_broadcast(a, b, axis) if broadcast else b)


def _truncated(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b of whole numbers, rounded towards 0 as in C."""
    quotient = np.floor_divide(a, b)
    inexact = (np.multiply(quotient, b) != a) & ((a < 0) != (b < 0))
    return (quotient + inexact).astype(quotient.dtype)


_arithmetic("Add", ops.add, np.add)
_arithmetic("Sub", ops.subtract, np.subtract)
_arithmetic("Mul", ops.multiply, np.multiply)
_arithmetic("Div", ops.divide, _truncated)


def _power(a: Any, b: Any) -> Any:
    """a^b in the type of a."""
    if isinstance(a, Tensor):
        if b.ndim == 0 and not (isinstance(b, Tensor) and b.requires_grad):
            return ops.power(a, float(flat(b)))
        return ops.power(a, cast(b, a.dtype))
    return np.power(a, flat(b)).astype(a.dtype)


converter("Pow", since=7, layout="pointwise", constants=(1,))(_power)


@converter("Pow", since=1)
def old_power(a: Any, b: Any, *, axis: int | None = None, broadcast: int = 0) -> Any:
    return _power(a, _old_broadcast(a, b, axis) if broadcast else b)


@converter("Mod", layout="pointwise")
def modulo(a: Any, b: Any, *, fmod: int = 0) -> Any:
    """fmod 0: the sign of the divisor; 1: of the dividend, as C's fmod."""
    function = np.fmod if fmod else np.mod
    return value(function(host(a), host(b)))


def _compared(name: str, op: Any, on_arrays: Callable) -> None:
    def call(a: Any, b: Any) -> np.ndarray:
        if isinstance(a, Tensor):
            return op(a, b).numpy()
        return on_arrays(a, b)

    @converter(name, layout="pointwise", since=7)
    def now(a: Any, b: Any) -> Any:
        return call(a, b)

    @converter(name, since=1)
    def before(a: Any, b: Any, *, axis: int | None = None, broadcast: int = 0) -> Any:
        return call(a, _old_broadcast(a, b, axis) if broadcast else b)


_compared("Greater", ops.greater, np.greater)
_compared("GreaterOrEqual", ops.greater_equal, np.greater_equal)
_compared("Less", lambda a, b: ops.greater(b, a), np.less)
_compared("LessOrEqual", lambda a, b: ops.greater_equal(b, a), np.less_equal)
_compared("Equal", ops.equal, np.equal)

_compared("And", None, np.logical_and)
_compared("Or", None, np.logical_or)
_compared("Xor", None, np.logical_xor)


def _bitwise(name: str, function: Callable) -> None:
    @converter(name, layout="pointwise")
    def call(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return function(a, b)


_bitwise("BitwiseAnd", np.bitwise_and)
_bitwise("BitwiseOr", np.bitwise_or)
_bitwise("BitwiseXor", np.bitwise_xor)


@converter("Not", layout="pointwise")
def logical_not(x: np.ndarray) -> np.ndarray:
    return np.logical_not(x)


@converter("BitwiseNot", layout="pointwise")
def bitwise_not(x: np.ndarray) -> np.ndarray:
    return np.invert(x)


@converter("BitShift", layout="pointwise")
def bit_shift(x: np.ndarray, y: np.ndarray, *, direction: str) -> np.ndarray:
    if direction not in ("LEFT", "RIGHT"):
        raise OnnxError(f"direction {direction!r} must be LEFT or RIGHT")
    return np.left_shift(x, y) if direction == "LEFT" else np.right_shift(x, y)


@converter("Where", layout="pointwise")
def where(mask: np.ndarray, a: Any, b: Any) -> Any:
    return ops.where(mask, a, b) if isinstance(a, Tensor) else np.where(mask, a, b)


_sum = _either(ops.add, np.add)
_largest = _either(ops.maximum, np.maximum)
_smallest = _either(ops.minimum, np.minimum)


@converter("Sum", layout="pointwise")
def sum_of(first: Any, *rest: Any) -> Any:
    return reduce(_sum, rest, first)


@converter("Mean", layout="pointwise")
def mean_of(first: Any, *rest: Any) -> Any:
    return reduce(_sum, rest, first) / (1 + len(rest))


@converter("Max", layout="pointwise")
def max_of(first: Any, *rest: Any) -> Any:
    return reduce(_largest, rest, first)


@converter("Min", layout="pointwise")
def min_of(first: Any, *rest: Any) -> Any:
    return reduce(_smallest, rest, first)


@converter("Clip", since=11, layout="pointwise", constants=(1, 2))
def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    if isinstance(x, Tensor):
        low = -np.inf if low is None else number(low, "min")
        high = np.inf if high is None else number(high, "max")
        # ONNX: min(max(x, low), high), so that high wins where low > high
        return ops.clip(x, low=min(low, high), high=high)
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


@converter("Clip", since=1, layout="pointwise")
def old_clip(x: Any, *, min: float = -np.inf, max: float = np.inf) -> Any:
    return ops.clip(x, low=min, high=max)


# -- one input -----------------------------------------------------------------------------------------------


def _unary(name: str, op: Any, on_arrays: Callable | None = None) -> None:
    @converter(name, layout="pointwise")
    def call(x: Any) -> Any:
        return op(x) if isinstance(x, Tensor) or on_arrays is None else on_arrays(x)


def _stepwise(name: str, function: Callable) -> None:
    """A function that is constant between its steps: no gradient is lost by leaving the tape."""

    @converter(name, layout="pointwise")
    def call(x: Any) -> Any:
        return value(function(flat(x)))


_unary("Abs", ops.abs, np.abs)
_unary("Neg", ops.negative, np.negative)
_unary("Exp", ops.exp)
_unary("Log", ops.log)
_unary("Sqrt", ops.sqrt)
_unary("Sign", ops.sign, np.sign)
_unary("Reciprocal", lambda x: 1.0 / x)
_stepwise("Floor", np.floor)
_stepwise("Ceil", np.ceil)
_stepwise("Round", np.rint)  # halves to even


@converter("IsNaN", layout="pointwise")
def is_nan(x: Any) -> np.ndarray:
    return np.isnan(flat(x))


@converter("IsInf", layout="pointwise")
def is_infinite(x: Any, *, detect_negative: int = 1, detect_positive: int = 1) -> np.ndarray:
    x = flat(x)
    return (np.isposinf(x) & bool(detect_positive)) | (np.isneginf(x) & bool(detect_negative))


def _on_host(name: str, function: Callable) -> None:
    """A function computed by NumPy, where no gradient is asked for."""

    @converter(name, layout="pointwise")
    def call(x: Any) -> Any:
        return value(function(host(x)).astype(x.dtype))


_unary("Erf", ops.erf)
_unary("Sin", ops.sin)
_unary("Cos", ops.cos)
_unary("Tan", lambda x: ops.sin(x) / ops.cos(x))
_on_host("Asin", np.arcsin)
_on_host("Acos", np.arccos)
_on_host("Atan", np.arctan)
_on_host("Sinh", np.sinh)
_on_host("Cosh", np.cosh)
_on_host("Asinh", np.arcsinh)
_on_host("Acosh", np.arccosh)
_on_host("Atanh", np.arctanh)


@converter("Identity", layout="image", halves=True)
def identity(x: Any) -> Any:
    return x
