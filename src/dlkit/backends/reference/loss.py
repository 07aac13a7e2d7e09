"""Cross-entropy between the labels and the softmax of the logits."""

import numpy as np

from dlkit.backends.reference._kernel import kernel
from dlkit.backends.reference.activation import log_softmax


def target(labels, K, weights, smoothing, dtype):
    """weights[k] q[m, k] with q = (1 - smoothing) onehot + smoothing / K. Smoothing: Szegedy et al. 2016."""
    onehot = labels[:, None] == np.arange(K)
    q = ((1 - smoothing) * onehot + smoothing / K).astype(dtype)
    return q if weights is None else weights * q


@kernel
def cross_entropy_forward(logits, labels, weights, smoothing):
    """loss[m] = -Σₖ weights[k] q[m, k] log p[m, k] with p = softmax(logits); 0 log 0 counts as 0."""
    log_p = log_softmax(logits, 1)
    q = target(labels, logits.shape[1], weights, smoothing, logits.dtype)
    loss = -np.where(q == 0, 0, q * log_p).sum(axis=1)
    return loss, np.exp(log_p)


@kernel
def cross_entropy_backward(dloss, p, labels, weights, smoothing):
    """dlogits = dloss (p Σₖ q - q), with the weights inside q; without weights Σ q = 1 and this is p - q."""
    q = target(labels, p.shape[1], weights, smoothing, p.dtype)
    return dloss[:, None] * (p * q.sum(axis=1, keepdims=True) - q)
