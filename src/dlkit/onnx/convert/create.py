"""Values that are made rather than computed, and number types."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit import ops
from dlkit.errors import OnnxError, UnsupportedOnnx
from dlkit.onnx import values
from dlkit.onnx.convert.registry import Context, converter
from dlkit.onnx.layout import pointwise
from dlkit.onnx.safety import check_size, dtype_of
from dlkit.onnx.values import axis_of, cast, flat, number, whole_numbers


@converter("Constant")
def constant(
    *,
    value: np.ndarray | None = None,
    value_float: float | None = None,
    value_floats: list[float] | None = None,
    value_int: int | None = None,
    value_ints: list[int] | None = None,
) -> Any:
    if value is not None:
        return values.value(value)
    if value_float is not None or value_floats is not None:
        return values.value(np.array(value_floats if value_float is None else value_float, np.float32))
    if value_int is not None or value_ints is not None:
        return np.array(value_ints if value_int is None else value_int, np.int64)
    raise OnnxError("no value is given")


@converter("ConstantOfShape", halves=True)
def constant_of_shape(shape: Any, *, value: np.ndarray | None = None) -> Any:
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value)
    wanted = whole_numbers(shape, "shape")
    if min(wanted, default=0) < 0 or fill.size != 1:
        raise OnnxError(f"shape {wanted} must not be negative and the value one number")
    check_size(wanted, fill.dtype)
    return values.value(np.full(wanted, fill.reshape(()), fill.dtype))


@converter("Range")
def range_(start: Any, limit: Any, delta: Any, *, stash_type: int = 1) -> Any:
    first, end, step = (number(v, "start, limit and delta") for v in (start, limit, delta))
    if step == 0 or not all(map(np.isfinite, (first, end, step))):
        raise OnnxError(f"a range from {first} to {end} in steps of {step} has no end")
    count = max(int(np.ceil((end - first) / step)), 0)
    check_size((count,), np.float64)
    return values.value((first + np.arange(count) * step).astype(start.dtype))


@converter("EyeLike")
def eye_like(x: Any, *, dtype: int | None = None, k: int = 0) -> Any:
    if x.ndim != 2:
        raise OnnxError(f"x must be a matrix; it has shape {x.shape}")
    return values.value(
        np.eye(int(x.shape[0]), int(x.shape[1]), k, dtype=x.dtype if dtype is None else dtype_of(dtype))
    )


@converter("OneHot", constants=(1, 2))
def one_hot(index: Any, depth: Any, off_on: Any, *, axis: int = -1) -> Any:
    n = int(number(depth, "depth"))
    index, (off, on) = flat(index), flat(off_on)
    axis = axis_of(axis, index.ndim + 1)
    check_size((*index.shape, n), np.float64)
    if n < 1:
        raise OnnxError(f"depth (={n}) must be at least 1")
    index = np.where((index >= -n) & (index < n), index % n, -1)
    places = np.arange(n).reshape((-1,) + (1,) * (index.ndim - axis))
    return values.value(np.where(np.expand_dims(index, axis) == places, on, off).astype(off_on.dtype))


@converter("Dropout", since=12, layout="image", constants=(1, 2))
def dropout(x: Any, ratio: Any = None, training_mode: Any = None, *, context: Context, seed: int | None = None) -> Any:
    """The identity at inference; drops while the network is being trained."""
    p = 0.5 if ratio is None else float(number(ratio, "ratio"))
    asked = training_mode is not None and bool(number(training_mode, "training_mode"))
    if asked and p:
        raise UnsupportedOnnx("training_mode draws random numbers, for which ONNX names no generator")
    return _dropped(x, p, context)


@converter("Dropout", since=1, layout="image")
def old_dropout(x: Any, *, context: Context, is_test: int = 0, ratio: float = 0.5) -> Any:
    return _dropped(x, ratio, context)


def _dropped(x: Any, p: float, context: Context) -> Any:
    if len(context.outputs) > 1:
        return x, np.ones(x.shape, bool)
    return pointwise(lambda x: ops.dropout(x, p=p), (x,)) if context.training and p else x


_CASTABLE = "biuf"


def _cast(x: Any, dtype: np.dtype) -> Any:
    if x.dtype.kind not in _CASTABLE and x.dtype.name != "bfloat16":
        raise UnsupportedOnnx(f"a cast from {x.dtype} is not done")
    return cast(x, dtype)


@converter("Cast", since=6, layout="pointwise", halves=True)
def cast_to(x: Any, *, to: int, saturate: int = 1, round_mode: str = "up") -> Any:
    return _cast(x, dtype_of(to))


@converter("CastLike", halves=True)
def cast_like(x: Any, like: Any, *, saturate: int = 1, round_mode: str = "up") -> Any:
    return _cast(x, np.dtype(like.dtype))


@converter("BitCast", halves=True)
def bit_cast(x: Any, *, to: int) -> Any:
    dtype = dtype_of(to)
    if dtype.itemsize != x.dtype.itemsize:
        raise OnnxError(f"{x.dtype} and {dtype} have different sizes")
    return values.value(np.ascontiguousarray(flat(x)).view(dtype).reshape(x.shape))
