"""Losses as modules: they hold their options; the maths is the op of the same name."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit import ops
from dlkit.nn.module import Module, Parameter
from dlkit.tensor import Tensor


class _Loss(Module):
    def __init__(self, reduction: str = "mean"):
        self.reduction = reduction


class MSELoss(_Loss):
    """mean (x - target)²"""

    def forward(self, x: Tensor, target: Any) -> Tensor:
        return ops.mse(x, target, reduction=self.reduction)


class L1Loss(_Loss):
    """mean |x - target|"""

    def forward(self, x: Tensor, target: Any) -> Tensor:
        return ops.l1(x, target, reduction=self.reduction)


class HuberLoss(_Loss):
    """Squared near 0, linear beyond delta."""

    def __init__(self, delta: float = 1.0, reduction: str = "mean"):
        super().__init__(reduction)
        self.delta = delta

    def forward(self, x: Tensor, target: Any) -> Tensor:
        return ops.huber(x, target, delta=self.delta, reduction=self.reduction)


class BCELoss(_Loss):
    """Binary cross-entropy on probabilities."""

    def forward(self, p: Tensor, target: Any) -> Tensor:
        return ops.binary_cross_entropy(p, target, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Binary cross-entropy on logits."""

    def forward(self, z: Tensor, target: Any) -> Tensor:
        return ops.binary_cross_entropy_with_logits(z, target, reduction=self.reduction)


class CrossEntropyLoss(_Loss):
    """Softmax cross-entropy on logits [N, K]; targets are labels int [N], or probabilities / one-hot rows [N, K].

    weight : one number for each class; label_smoothing : share of each target spread over all classes.
    """

    def __init__(self, weight: Any = None, label_smoothing: float = 0.0, reduction: str = "mean"):
        super().__init__(reduction)
        self.weight = None if weight is None else np.asarray(weight)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Any) -> Tensor:
        kind = np.dtype(target.dtype).kind if hasattr(target, "dtype") else np.asarray(target).dtype.kind
        loss = ops.cross_entropy if kind in "iu" else ops.cross_entropy_with_probabilities
        weight = None if self.weight is None else self.weight.astype(logits.dtype)
        return loss(logits, target, weight, label_smoothing=self.label_smoothing, reduction=self.reduction)


def l2_penalty(parameters: list[Parameter], strength: float) -> Tensor:
    """strength/2 · Σ w² over all weights (tensors with two axes or more): L2 regularisation as a term of the loss."""
    terms = [(p * p).sum() for p in parameters if p.ndim > 1]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total * (0.5 * strength)
