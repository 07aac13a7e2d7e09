"""Cross-entropy, row by row."""

from math import exp

import numpy as np

from dlkit.backends.contract import Decline
from dlkit.backends.numba._compile import jit, kernel, or_empty, real_but
from dlkit.backends.numba.activation import EXP, log_sum_exp

__all__ = ["cross_entropy_backward", "cross_entropy_forward"]


@jit
def target(k, label, K, weights, smoothing):
    """weights[k] q[k] with q = (1 - smoothing) onehot + smoothing / K"""
    q = smoothing / K
    if k == label:
        q += 1 - smoothing
    return q * weights[k] if weights.size else q


@kernel(threads=False)
def forward_rows(logits, labels, weights, smoothing, loss, p):
    M, K = logits.shape
    for m in range(M):
        top, log_sum = log_sum_exp(logits[m])
        total = 0.0
        for k in range(K):
            log_p = logits[m, k] - top - log_sum
            p[m, k] = exp(log_p)
            q = target(k, labels[m], K, weights, smoothing)
            if q != 0:
                total -= q * log_p
        loss[m] = total


@kernel(threads=False)
def backward_rows(dloss, p, labels, weights, smoothing, dlogits):
    M, K = p.shape
    for m in range(M):
        total = 0.0
        for k in range(K):
            total += target(k, labels[m], K, weights, smoothing)
        for k in range(K):
            q = target(k, labels[m], K, weights, smoothing)
            dlogits[m, k] = dloss[m] * (p[m, k] * total - q)


@real_but("labels")
def cross_entropy_forward(logits, labels, weights, smoothing):
    if labels.dtype != np.int64:
        return Decline(f"labels are {labels.dtype}, not int64")
    loss, p = np.empty(logits.shape[0], logits.dtype), np.empty_like(logits)
    forward_rows(EXP * p.size, logits, labels, or_empty(weights, p), float(smoothing), loss, p)
    return loss, p


@real_but("labels")
def cross_entropy_backward(dloss, p, labels, weights, smoothing):
    if labels.dtype != np.int64:
        return Decline(f"labels are {labels.dtype}, not int64")
    dlogits = np.empty_like(p)
    backward_rows(2 * p.size, dloss, p, labels, or_empty(weights, p), float(smoothing), dlogits)
    return dlogits
