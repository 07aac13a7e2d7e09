"""Batch normalisation: csrc/kernels/pointwise/norm.c. Names and meaning: dlkit/backends/contract.py."""

from __future__ import annotations

from dlkit._native import pointwise as c
from dlkit.backends.contract import Array, Decline


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, eps: float, activation: str | None
) -> tuple[Array, Array, Array] | Decline:
    y = c.batch_norm_forward(x, gamma, beta, eps, activation)
    return Decline(c.why_not(x, gamma, beta)) if y is None else y


def batch_norm_backward(
    dy: Array, x: Array, y: Array, gamma: Array, mean: Array, inv_std: Array, activation: str | None
) -> tuple[Array, Array, Array] | Decline:
    result = c.batch_norm_backward(dy, x, y, gamma, mean, inv_std, activation)
    return Decline(c.why_not(dy, x, y, gamma, mean, inv_std)) if result is None else result


def batch_norm_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float, activation: str | None
) -> Array | Decline:
    y = c.batch_norm_inference(x, gamma, beta, mean, var, eps, activation)
    return Decline(c.why_not(x, gamma, beta, mean, var)) if y is None else y
