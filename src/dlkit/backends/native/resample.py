"""Upsampling: csrc/kernels/pointwise/resample.c. Names and meaning: dlkit/backends/contract.py."""

from __future__ import annotations

from dlkit._native import pointwise as c
from dlkit.backends.contract import Array, Decline, Pair


def upsample_nearest_forward(x: Array, scale: Pair) -> Array | Decline:
    y = c.upsample_nearest_forward(x, scale)
    return Decline(c.why_not(x)) if y is None else y


def upsample_nearest_backward(dy: Array, scale: Pair) -> Array | Decline:
    y = c.upsample_nearest_backward(dy, scale)
    return Decline(c.why_not(dy)) if y is None else y


def upsample_bilinear_forward(x: Array, size: Pair, align_corners: bool) -> Array | Decline:
    y = c.upsample_bilinear_forward(x, size, align_corners)
    return Decline(c.why_not(x)) if y is None else y


def upsample_bilinear_backward(dy: Array, size: Pair, align_corners: bool) -> Array | Decline:
    y = c.upsample_bilinear_backward(dy, size, align_corners)
    return Decline(c.why_not(dy)) if y is None else y
