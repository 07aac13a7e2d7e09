"""Sums: csrc/kernels/pointwise/reduce.c. Names and meaning: dlkit/backends/contract.py."""

from __future__ import annotations

from dlkit._native import pointwise as c
from dlkit.backends.contract import Array, Axes, Decline


def sum(x: Array, axes: Axes, keepdims: bool) -> Array | Decline:
    y = c.sum(x, axes, keepdims)
    return Decline(c.why_not(x)) if y is None else y


def all_finite(x: Array) -> bool | Decline:
    y = c.all_finite(x)
    return Decline(c.why_not(x)) if y is None else y


def sum_of_squares(x: Array) -> float | Decline:
    y = c.sum_of_squares(x)
    return Decline(c.why_not(x)) if y is None else y
