"""Batch normalisation: csrc/kernels/pointwise/norm.c. Names and meaning: dlkit/backends/contract.py."""

from __future__ import annotations

from dlkit._native import pointwise as c
from dlkit.backends.contract import Array, Decline


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, residual: Array | None, eps: float, activation: str | None, slope: float
) -> tuple[Array, Array, Array] | Decline:
    y = c.batch_norm_forward(x, gamma, beta, residual, eps, activation, slope)
    return Decline(c.why_not(x, gamma, beta, residual)) if y is None else y


def batch_norm_backward(
    dy: Array,
    x: Array,
    y: Array | None,
    gamma: Array,
    beta: Array,
    mean: Array,
    inv_std: Array,
    activation: str | None,
    slope: float,
    residual: bool,
) -> tuple[Array, Array, Array, Array | None] | Decline:
    result = c.batch_norm_backward(dy, x, y, gamma, beta, mean, inv_std, activation, slope, residual)
    return Decline(c.why_not(dy, x, y, gamma, beta, mean, inv_std)) if result is None else result


def batch_norm_inference(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    residual: Array | None,
    eps: float,
    activation: str | None,
    slope: float,
) -> Array | Decline:
    y = c.batch_norm_inference(x, gamma, beta, mean, var, residual, eps, activation, slope)
    return Decline(c.why_not(x, gamma, beta, mean, var, residual)) if y is None else y
