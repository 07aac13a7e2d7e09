"""Copies of boxes: csrc/kernels/pointwise/shape.c. Names and meaning: dlkit/backends/contract.py."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType

import numpy as np

from dlkit._native import pointwise as c
from dlkit.backends.contract import Array, Decline, Pair

MANY = 16384  # elements; below, NumPy's copy has begun and ended before ours has looked at the strides


def copied(x: Array) -> Array | Decline:
    if x.size < MANY:
        return Decline("few elements")
    y = np.empty(x.shape, x.dtype)
    return y if c.copy_into(x, y) else Decline("copies float32 and float64, contiguous along the last axis")


def copy(x: Array) -> Array | Decline:
    return copied(x)


def concat(xs: Sequence[Array], axis: int) -> Array | Decline:
    first = xs[0]
    size = sum([x.shape[axis] for x in xs])
    y = np.empty((*first.shape[:axis], size, *first.shape[axis + 1 :]), first.dtype)
    if y.size < MANY:
        return Decline("few elements")
    before, end = (slice(None),) * axis, 0
    for x in xs:
        begin, end = end, end + x.shape[axis]
        if not c.copy_into(x, y[(*before, slice(begin, end))]):
            return Decline("joins float32 and float64, contiguous along the last axis")
    return y


def view(x: Array, index: tuple) -> Array | None:
    """x[index] where that is a view."""
    return x[index] if all(type(part) in (int, slice, NoneType) for part in index) else None


def take(x: Array, index: tuple) -> Array | Decline:
    part = view(x, index)
    return Decline("an index of arrays") if part is None or not isinstance(part, np.ndarray) else copied(part)


def filled_around(x: Array, shape: tuple, index: tuple, value: float) -> Array | Decline:
    """`value` everywhere, x at `index`."""
    y = c.full(x, shape, value) if x.dtype.kind == "f" and np.prod(shape) >= MANY else None
    part = None if y is None else view(y, index)
    if part is None or not isinstance(part, np.ndarray) or not c.copy_into(x, part):
        return Decline("few elements, an index of arrays, or strides along the last axis")
    return y


def take_backward(dy: Array, index: tuple, shape: tuple) -> Array | Decline:
    return filled_around(dy, shape, index, 0.0)


def inside(shape: tuple, widths: tuple[Pair, ...]) -> tuple:
    """The index of what is not padding in an array of the padded shape."""
    return tuple(slice(before, size - after) for size, (before, after) in zip(shape, widths))


def pad(x: Array, widths: tuple[Pair, ...], mode: str, value: float) -> Array | Decline:
    if mode != "constant":
        return Decline(f"mode {mode!r}")
    shape = tuple(before + size + after for size, (before, after) in zip(x.shape, widths))
    return filled_around(x, shape, inside(shape, widths), value)


def pad_backward(dy: Array, widths: tuple[Pair, ...], mode: str) -> Array | Decline:
    return copied(dy[inside(dy.shape, widths)]) if mode == "constant" else Decline(f"mode {mode!r}")
