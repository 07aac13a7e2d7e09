"""Losses on class labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit import ops
from dlkit.errors import OnnxError
from dlkit.onnx.convert.registry import Context, converter
from dlkit.onnx.layout import permute
from dlkit.onnx.values import cast
from dlkit.tensor import Tensor


@converter("NegativeLogLikelihoodLoss", constants=(1, 2))
def nll_loss(
    x: Any, labels: np.ndarray, weight: Any = None, *, ignore_index: int | None = None, reduction: str = "mean"
) -> Any:
    """-weight[label] · x[label], x [N, C, ...] logarithms of probabilities; the mean divides by the sum of the weights."""
    if x.ndim < 2 or labels.shape != (x.shape[0], *x.shape[2:]):
        raise OnnxError(f"labels of shape {labels.shape} do not fit probabilities of shape {x.shape}")
    classes = x.shape[1]
    counted = np.ones(labels.shape, bool) if ignore_index is None else labels != ignore_index
    index = np.where(counted, labels, 0).astype(np.int64)
    if index.size and not 0 <= index.min() <= index.max() < classes:
        raise OnnxError(f"labels run from {index.min()} to {index.max()}, there are {classes} classes")
    rows = permute(x, (0, *range(2, x.ndim), 1)).reshape(index.size, classes)
    chosen = ops.gather(rows, index.reshape(-1, 1), axis=1).reshape(labels.shape)
    share: Any = Tensor(counted.astype(x.dtype))
    if weight is not None:
        share = cast(weight, x.dtype)[index.reshape(-1)].reshape(labels.shape) * share
    loss = -chosen * share
    if reduction == "none":
        return loss
    if reduction not in ("mean", "sum"):
        raise OnnxError(f"reduction {reduction!r} must be mean, sum or none")
    return ops.sum(loss) if reduction == "sum" else ops.sum(loss) / ops.sum(share)


@converter("SoftmaxCrossEntropyLoss", constants=(1, 2))
def cross_entropy(
    x: Any,
    labels: np.ndarray,
    weight: Any = None,
    *,
    context: Context,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any:
    logarithm = ops.log_softmax(x, axis=1)
    loss = nll_loss(logarithm, labels, weight, ignore_index=ignore_index, reduction=reduction)
    return (loss, logarithm) if len(context.outputs) > 1 else loss
