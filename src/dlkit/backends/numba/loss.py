"""Cross-entropy, row by row."""

from math import log

import numpy as np
from numba import prange

from dlkit.backends.contract import Decline
from dlkit.backends.numba._compile import jit, kernel, or_empty, real_but
from dlkit.backends.numba.activation import EXP, exponentials

__all__ = ["cross_entropy_backward", "cross_entropy_forward"]


@jit
def target(k, label, weights, onto_label, everywhere):
    """weights[k] q[k], q being `everywhere` in each class and `onto_label` more in the label's"""
    q = everywhere + onto_label if k == label else everywhere
    return q * weights[k] if weights.size else q


@kernel(reassociate=True)
def forward_rows(logits, labels, weights, smoothing, loss, p):
    M, K = logits.shape
    everywhere, onto_label = p.dtype.type(smoothing / K), p.dtype.type(1 - smoothing)
    for m in prange(M):
        top, total = exponentials(logits[m], p[m])
        log_sum = p.dtype.type(log(total))
        for k in range(K):
            p[m, k] /= total
        label = labels[m]
        result = p.dtype.type(0)
        if everywhere == 0:
            if onto_label != 0:
                result = target(label, label, weights, onto_label, everywhere) * (log_sum - (logits[m, label] - top))
        else:
            for k in range(K):
                q = target(k, label, weights, onto_label, everywhere)
                result += q * (log_sum - (logits[m, k] - top)) if q != 0 else q
        loss[m] = result


@kernel(reassociate=True)
def backward_rows(dloss, p, labels, weights, smoothing, dlogits):
    M, K = p.shape
    everywhere, onto_label = p.dtype.type(smoothing / K), p.dtype.type(1 - smoothing)
    for m in prange(M):
        label = labels[m]
        total = p.dtype.type(0)
        for k in range(K):
            total += target(k, -1, weights, onto_label, everywhere)
        total += target(label, label, weights, onto_label, p.dtype.type(0))
        for k in range(K):
            dlogits[m, k] = dloss[m] * (p[m, k] * total - target(k, -1, weights, onto_label, everywhere))
        dlogits[m, label] = dloss[m] * (p[m, label] * total - target(label, label, weights, onto_label, everywhere))


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
