"""Cross entropy: csrc/kernels/pointwise/softmax.c. Names and meaning: dlkit/backends/contract.py."""

from __future__ import annotations

from dlkit._native import pointwise as c
from dlkit.backends.contract import Array, Decline


def cross_entropy_forward(
    logits: Array, labels: Array, weights: Array | None, smoothing: float
) -> tuple[Array, Array] | Decline:
    y = c.cross_entropy_forward(logits, labels, weights, smoothing)
    return Decline(c.why_not(logits, weights)) if y is None else y


def cross_entropy_backward(
    dloss: Array, p: Array, labels: Array, weights: Array | None, smoothing: float
) -> Array | Decline:
    y = c.cross_entropy_backward(dloss, p, labels, weights, smoothing)
    return Decline(c.why_not(dloss, p, weights)) if y is None else y
