"""Activations, made of dlkit's ops so that they train."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dlkit import ops
from dlkit.onnx.convert.registry import converter
from dlkit.onnx.values import axis_of, flat, value


@converter("Relu", layout="pointwise")
def relu(x: Any) -> Any:
    return np.maximum(x, 0).astype(x.dtype) if isinstance(x, np.ndarray) else ops.relu(x)


@converter("Sigmoid", layout="pointwise")
def sigmoid(x: Any) -> Any:
    return ops.sigmoid(x)


@converter("Tanh", layout="pointwise")
def tanh(x: Any) -> Any:
    return ops.tanh(x)


@converter("Softplus", layout="pointwise")
def softplus(x: Any) -> Any:
    return ops.softplus(x)


@converter("Softsign", layout="pointwise")
def softsign(x: Any) -> Any:
    return x / (1.0 + ops.abs(x))


@converter("LeakyRelu", layout="pointwise")
def leaky_relu(x: Any, *, alpha: float = 0.01) -> Any:
    return ops.leaky_relu(x, slope=alpha)


@converter("PRelu", since=7, layout="pointwise")
def prelu(x: Any, slope: Any) -> Any:
    """max(x, 0) + slope · min(x, 0); the slope is trained."""
    if isinstance(x, np.ndarray):
        return np.where(x < 0, x * slope, x)
    return ops.relu(x) - slope * ops.relu(-x)


@converter("PRelu", since=1)
def old_prelu(x: Any, slope: Any) -> Any:
    """Before opset 7 a slope for each channel was meant without saying so."""
    if (slope.ndim == 1 and slope.shape[0] not in (1, x.shape[-1])) or (slope.ndim == 1 and x.ndim > 2):
        slope = slope.reshape(slope.shape + (1,) * (x.ndim - 2))
    return prelu(x, slope)


@converter("Elu", layout="pointwise")
def elu(x: Any, *, alpha: float = 1.0) -> Any:
    return ops.elu(x, alpha=alpha)


@converter("Celu", layout="pointwise")
def celu(x: Any, *, alpha: float = 1.0) -> Any:
    """alpha · (e^(x/alpha) - 1) below 0 (Barron 2017)."""
    return ops.elu(x / alpha, alpha=1.0) * alpha


@converter("Selu", layout="pointwise")
def selu(x: Any, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Any:
    """Klambauer et al. 2017, Self-normalizing neural networks."""
    return ops.elu(x, alpha=alpha) * gamma


@converter("ThresholdedRelu", layout="pointwise")
def thresholded_relu(x: Any, *, alpha: float = 1.0) -> Any:
    return ops.where(ops.greater(x, alpha), x, 0.0)


@converter("HardSigmoid", layout="pointwise")
def hard_sigmoid(x: Any, *, alpha: float = 0.2, beta: float = 0.5) -> Any:
    return ops.clip(x * alpha + beta, low=0.0, high=1.0)


@converter("HardSwish", layout="pointwise")
def hard_swish(x: Any) -> Any:
    """Howard et al. 2019, Searching for MobileNetV3."""
    return x * hard_sigmoid(x, alpha=1 / 6)


@converter("Mish", layout="pointwise")
def mish(x: Any) -> Any:
    """Misra 2019."""
    return x * ops.tanh(ops.softplus(x))


@converter("Swish", layout="pointwise")
def swish(x: Any, *, alpha: float = 1.0) -> Any:
    return ops.silu(x) if alpha == 1.0 else x * ops.sigmoid(x * alpha)


@converter("Gelu", layout="pointwise")
def gelu(x: Any, *, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return x * 0.5 * (1.0 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return ops.gelu(x)


@converter("Shrink", layout="pointwise")
def shrink(x: Any, *, bias: float = 0.0, lambd: float = 0.5) -> Any:
    array = flat(x)
    above, below = array > lambd, array < -lambd
    if isinstance(x, np.ndarray):
        return np.where(above, x - bias, np.where(below, x + bias, 0)).astype(x.dtype)
    return ops.where(above, x - bias, ops.where(below, x + bias, 0.0))


def _rows(x: Any, axis: int) -> Any:
    """x as a matrix, cut before `axis`: what softmax meant before opset 13."""
    axis = axis_of(axis, x.ndim)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@converter("Softmax", since=13, halves=True)
def softmax(x: Any, *, axis: int = -1) -> Any:
    axis = axis_of(axis, x.ndim)
    if isinstance(x, np.ndarray):  # half precision: every step of the standard's definition is rounded
        e = np.exp(x - x.max(axis, keepdims=True))
        return e / e.sum(axis, dtype=x.dtype, keepdims=True)
    return ops.softmax(x, axis=axis)


@converter("Softmax", since=1)
def old_softmax(x: Any, *, axis: int = 1) -> Any:
    return ops.softmax(_rows(x, axis), axis=1).reshape(x.shape)


@converter("LogSoftmax", since=13)
def log_softmax(x: Any, *, axis: int = -1) -> Any:
    return ops.log_softmax(x, axis=axis_of(axis, x.ndim))


@converter("LogSoftmax", since=1)
def old_log_softmax(x: Any, *, axis: int = 1) -> Any:
    return ops.log_softmax(_rows(x, axis), axis=1).reshape(x.shape)


def _first_largest(x: np.ndarray, axis: int) -> np.ndarray:
    return np.expand_dims(x.argmax(axis), axis) == np.arange(x.shape[axis]).reshape((-1,) + (1,) * (x.ndim - axis - 1))


@converter("Hardmax", since=13)
def hardmax(x: Any, *, axis: int = -1) -> Any:
    """1 at the first maximum, 0 elsewhere."""
    return value(_first_largest(flat(x), axis_of(axis, x.ndim)).astype(x.dtype))


@converter("Hardmax", since=1)
def old_hardmax(x: Any, *, axis: int = 1) -> Any:
    return hardmax(_rows(x, axis), axis=1).reshape(x.shape)
