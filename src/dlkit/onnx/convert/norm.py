"""Normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dlkit import ops
from dlkit.backends import kernels
from dlkit.errors import OnnxError, UnsupportedOnnx
from dlkit.nn import Buffer
from dlkit.onnx.convert.registry import Context, converter
from dlkit.onnx.layout import channels_last, from_channels_last
from dlkit.onnx.values import axes_of, axis_of, cast
from dlkit.tensor import Tensor


@converter("BatchNormalization", since=14, layout="image", constants=(3, 4))
def batch_norm(
    x: Any,
    scale: Any,
    bias: Any,
    mean: Any,
    var: Any,
    *,
    context: Context,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Any:
    """Running statistics at inference. A network that is being trained uses the batch's and keeps the running ones up to
    date, as nn.BatchNorm2d does, where the model holds them as weights."""
    x = channels_last(x)
    scale, bias, mean, var = (cast(v, x.dtype) for v in (scale, bias, mean, var))
    if not training_mode and not (context.training and isinstance(mean, Buffer) and isinstance(var, Buffer)):
        return from_channels_last(ops.batch_norm_inference(x, scale, bias, mean, var, eps=epsilon))
    y, batch_mean, inv_std = ops.batch_norm(x, scale, bias, eps=epsilon)
    k = kernels(x.device)
    batch_var = k.subtract(k.divide(1.0, k.multiply(inv_std, inv_std)), epsilon)
    if not training_mode:
        rows = x.size // x.shape[-1]
        _update(k, mean, batch_mean, momentum)
        _update(k, var, k.multiply(batch_var, rows / max(rows - 1, 1)), momentum)
        return from_channels_last(y)
    running = [
        Tensor.wrap(k.add(k.multiply(old.data, momentum), k.multiply(new, 1 - momentum)), x.device)
        for old, new in ((mean, batch_mean), (var, batch_var))
    ]
    return (from_channels_last(y), *running)


def _update(k: Any, running: Buffer, new: Any, momentum: float) -> None:
    running.data = k.add(k.multiply(running.data, momentum), k.multiply(new, 1 - momentum))


@converter("BatchNormalization", since=1, layout="image", constants=(3, 4))
def old_batch_norm(
    x: Any,
    scale: Any,
    bias: Any,
    mean: Any,
    var: Any,
    *,
    context: Context,
    consumed_inputs: list[int] | None = None,
    epsilon: float = 1e-5,
    is_test: int = 0,
    momentum: float = 0.9,
    spatial: int = 1,
) -> Any:
    """Before opset 14: the outputs asked for say whether it is training."""
    if not spatial:
        raise UnsupportedOnnx("statistics for each pixel (spatial=0) are not done")
    if any(context.outputs[1:]):
        raise UnsupportedOnnx("training before opset 14 is not done")
    return batch_norm(x, scale, bias, mean, var, context=context, epsilon=epsilon, momentum=momentum)


@converter("InstanceNormalization", layout="image")
def instance_norm(x: Any, scale: Any, bias: Any, *, epsilon: float = 1e-5) -> Any:
    return from_channels_last(ops.instance_norm(channels_last(x), scale, bias, eps=epsilon))


@converter("GroupNormalization", since=21, layout="image")
def group_norm(x: Any, scale: Any, bias: Any, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1) -> Any:
    return from_channels_last(ops.group_norm(channels_last(x), scale, bias, groups=num_groups, eps=epsilon))


@converter("GroupNormalization", since=18, layout="image")
def old_group_norm(x: Any, scale: Any, bias: Any, *, epsilon: float = 1e-5, num_groups: int) -> Any:
    """One scale and bias for each group."""
    x = channels_last(x)
    each = x.shape[-1] // max(num_groups, 1)

    def spread(v: Any) -> Any:
        return ops.broadcast_to(v.reshape(-1, 1), shape=(num_groups, each)).reshape(-1)

    return from_channels_last(ops.group_norm(x, spread(scale), spread(bias), groups=num_groups, eps=epsilon))


def _standardized(x: Any, axes: tuple[int, ...], epsilon: float) -> tuple[Any, Any, Any]:
    """(x - mean) / √(var + epsilon), mean and 1 / √(var + epsilon), over `axes`."""
    mean = ops.mean(x, axis=axes, keepdims=True)
    inv_std = 1.0 / ops.sqrt(ops.var(x, axis=axes, keepdims=True) + epsilon)
    return (x - mean) * inv_std, mean, inv_std


@converter("LayerNormalization")
def layer_norm(
    x: Any,
    scale: Any,
    bias: Any = None,
    *,
    context: Context,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Any:
    axis = axis_of(axis, x.ndim)
    if not any(context.outputs[1:]) and axis == x.ndim - 1 and scale.ndim == 1 and (bias is None or bias.ndim == 1):
        return ops.layer_norm(x, scale, bias, eps=epsilon)
    y, mean, inv_std = _standardized(x, tuple(range(axis, x.ndim)), epsilon)
    y = y * scale
    return (y if bias is None else y + bias), mean, inv_std


@converter("RMSNormalization")
def rms_norm(x: Any, scale: Any, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Any:
    """x / √(mean x² + epsilon) · scale (Zhang & Sennrich 2019)."""
    axes = tuple(range(axis_of(axis, x.ndim), x.ndim))
    return x / ops.sqrt(ops.mean(x * x, axis=axes, keepdims=True) + epsilon) * cast(scale, x.dtype)


@converter("MeanVarianceNormalization")
def mean_variance_norm(x: Any, *, axes: list[int] | None = None) -> Any:
    """(x - mean) / (σ + 1e-9)."""
    over = axes_of([0, 2, 3] if axes is None else axes, x.ndim)
    centred = x - ops.mean(x, axis=over, keepdims=True)
    return centred / (ops.sqrt(ops.mean(centred * centred, axis=over, keepdims=True)) + 1e-9)


@converter("LpNormalization")
def lp_norm(x: Any, *, axis: int = -1, p: int = 2) -> Any:
    """x / ‖x‖_p along the axis; 0 where the norm is 0."""
    if p not in (1, 2):
        raise OnnxError(f"p (={p}) must be 1 or 2")
    axis = axis_of(axis, x.ndim)
    if p == 1:
        norm = ops.sum(ops.abs(x), axis=axis, keepdims=True)
    else:
        norm = ops.sqrt(ops.sum(x * x, axis=axis, keepdims=True))
    return x / ops.where(ops.equal(norm, 0.0), 1.0, norm)


@converter("LRN", layout="image")
def local_response_norm(x: Any, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Any:
    """x / (bias + alpha/size · Σ x² over neighbouring channels)^beta (Krizhevsky et al. 2012)."""
    x = channels_last(x)
    if not 1 <= size <= 1 << 16:
        raise OnnxError(f"size (={size}) must be from 1 to 65536")
    channels = x.shape[-1]
    i = np.arange(channels)
    apart = i[:, None] - i[None, :]  # rows: the neighbour, columns: the channel
    near = (apart >= -((size - 1) // 2)) & (apart <= size // 2)
    rows = (x * x).reshape(math.prod(x.shape[:-1]), channels)
    square = ops.matmul(rows, Tensor(near.astype(x.dtype))).reshape(x.shape)
    return from_channels_last(x / (square * (alpha / size) + bias) ** beta)
