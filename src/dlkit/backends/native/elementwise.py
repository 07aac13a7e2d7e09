"""Element-wise arithmetic: csrc/kernels/pointwise/elementwise.c. Names and meaning: dlkit/backends/contract.py."""

from __future__ import annotations

from dlkit._native import pointwise as c
from dlkit.backends.contract import Array, Decline


def add(a: Array, b: Array) -> Array | Decline:
    y = c.add(a, b)
    return Decline(c.why_not(a, b)) if y is None else y


def subtract(a: Array, b: Array) -> Array | Decline:
    y = c.subtract(a, b)
    return Decline(c.why_not(a, b)) if y is None else y


def multiply(a: Array, b: Array) -> Array | Decline:
    y = c.multiply(a, b)
    return Decline(c.why_not(a, b)) if y is None else y


def divide(a: Array, b: Array) -> Array | Decline:
    y = c.divide(a, b)
    return Decline(c.why_not(a, b)) if y is None else y


def maximum(a: Array, b: Array) -> Array | Decline:
    y = c.maximum(a, b)
    return Decline(c.why_not(a, b)) if y is None else y


def minimum(a: Array, b: Array) -> Array | Decline:
    y = c.minimum(a, b)
    return Decline(c.why_not(a, b)) if y is None else y


def greater(a: Array, b: Array) -> Array | Decline:
    y = c.greater(a, b)
    return Decline(c.why_not(a, b)) if y is None else y


def greater_equal(a: Array, b: Array) -> Array | Decline:
    y = c.greater_equal(a, b)
    return Decline(c.why_not(a, b)) if y is None else y


def equal(a: Array, b: Array) -> Array | Decline:
    y = c.equal(a, b)
    return Decline(c.why_not(a, b)) if y is None else y


def where(mask: Array, a: Array, b: Array) -> Array | Decline:
    y = c.where(mask, a, b)
    return Decline(c.why_not(a, b)) if y is None else y


def negative(x: Array) -> Array | Decline:
    y = c.negative(x)
    return Decline(c.why_not(x)) if y is None else y


def exp(x: Array) -> Array | Decline:
    y = c.exp(x)
    return Decline(c.why_not(x)) if y is None else y


def log(x: Array) -> Array | Decline:
    y = c.log(x)
    return Decline(c.why_not(x)) if y is None else y


def sqrt(x: Array) -> Array | Decline:
    y = c.sqrt(x)
    return Decline(c.why_not(x)) if y is None else y


def abs(x: Array) -> Array | Decline:
    y = c.abs(x)
    return Decline(c.why_not(x)) if y is None else y


def clip(x: Array, low: float, high: float) -> Array | Decline:
    y = c.clip(x, low, high)
    return Decline(c.why_not(x)) if y is None else y
