"""Values in an imported graph: float32 and float64 are dlkit Tensors, everything else is a NumPy array.

Whole numbers, truth values and half-precision floats are what graphs compute shapes, indices and masks with; they carry
no gradient, and dlkit's kernels are made for float32 and float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit import tape
from dlkit.errors import OnnxError, UnsupportedOnnx
from dlkit.tensor import Tensor

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def value(array: Any) -> Any:
    """A NumPy array as a value of the graph."""
    array = np.asarray(array)
    return Tensor(array) if array.dtype in FLOATS else array


def host(x: Any) -> np.ndarray:
    """A value as a NumPy array, for operations without a gradient.

    Raises : UnsupportedOnnx if a gradient would be lost, because the value depends on weights that are being trained.
    """
    if not isinstance(x, Tensor):
        return x
    if x.requires_grad and tape.is_recording():
        raise UnsupportedOnnx("has no gradient in dlkit, but weights behind it are being trained")
    return x.numpy()


def flat(x: Any) -> np.ndarray:
    """The values of a locally constant function's input: its gradient is 0 wherever it exists, so none is lost."""
    return x.numpy() if isinstance(x, Tensor) else x


def whole_numbers(x: Any, name: str) -> tuple[int, ...]:
    """The numbers of a small integer input: axes, shapes, pads."""
    array = np.asarray(x.numpy() if isinstance(x, Tensor) else x)
    if array.dtype.kind not in "iu" or array.size > 4096:
        raise OnnxError(f"{name} must be a short list of whole numbers, not {array.dtype} of shape {array.shape}")
    return tuple(int(n) for n in array.reshape(-1))


def number(x: Any, name: str) -> float | int | bool:
    """The one number of an input."""
    array = np.asarray(x.numpy() if isinstance(x, Tensor) else x)
    if array.size != 1:
        raise OnnxError(f"{name} must be one number; it has shape {array.shape}")
    return array.reshape(()).item()


def axis_of(axis: int, rank: int) -> int:
    """`axis` counted from the front.  Raises : OnnxError."""
    if not -rank <= axis < rank:
        raise OnnxError(f"axis (={axis}) is outside an input with {rank} axes")
    return axis % rank


def axes_of(axes: Any, rank: int) -> tuple[int, ...]:
    found = tuple(axis_of(a, rank) for a in axes)
    if len(set(found)) != len(found):
        raise OnnxError(f"axes (={tuple(axes)}) name an axis twice")
    return found


def is_half(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.itemsize == 2 and x.dtype.name in ("float16", "bfloat16")


def cast(x: Any, dtype: np.dtype) -> Any:
    """x in another number type, differentiably between float32 and float64. Floats become whole numbers by truncation."""
    if x.dtype == dtype:
        return x
    if isinstance(x, Tensor) and dtype in FLOATS:
        return x.astype(dtype)
    return value(flat(x).astype(dtype))
