"""Pooling: csrc/kernels/pointwise/pool.c. Names and meaning: dlkit/backends/contract.py."""

from __future__ import annotations

from dlkit._native import pointwise as c
from dlkit.backends.contract import Array, Decline, Padding, Pair


def max_pool2d_forward(x: Array, kernel: Pair, stride: Pair, padding: Padding) -> tuple[Array, Array] | Decline:
    y = c.max_pool2d_forward(x, kernel, stride, padding)
    return Decline(c.why_not(x)) if y is None else y


def max_pool2d_backward(
    dy: Array, where: Array, size: Pair, kernel: Pair, stride: Pair, padding: Padding
) -> Array | Decline:
    y = c.max_pool2d_backward(dy, where, size, kernel, stride, padding)
    return Decline(c.why_not(dy)) if y is None else y


def avg_pool2d_forward(x: Array, kernel: Pair, stride: Pair, padding: Padding) -> Array | Decline:
    y = c.avg_pool2d_forward(x, kernel, stride, padding)
    return Decline(c.why_not(x)) if y is None else y


def avg_pool2d_backward(dy: Array, size: Pair, kernel: Pair, stride: Pair, padding: Padding) -> Array | Decline:
    y = c.avg_pool2d_backward(dy, size, kernel, stride, padding)
    return Decline(c.why_not(dy)) if y is None else y


def adaptive_avg_pool2d_forward(x: Array, size: Pair) -> Array | Decline:
    y = c.adaptive_avg_pool2d_forward(x, size)
    return Decline(c.why_not(x)) if y is None else y


def adaptive_avg_pool2d_backward(dy: Array, size: Pair) -> Array | Decline:
    y = c.adaptive_avg_pool2d_backward(dy, size)
    return Decline(c.why_not(dy)) if y is None else y
