"""Activations, softmax and their slopes: csrc/kernels/pointwise/elementwise.c and softmax.c. Names and meaning: dlkit/backends/contract.py."""

from __future__ import annotations

from dlkit._native import pointwise as c
from dlkit.backends.contract import Array, Decline


def sigmoid(x: Array) -> Array | Decline:
    y = c.sigmoid(x)
    return Decline(c.why_not(x)) if y is None else y


def sigmoid_backward(dy: Array, y: Array) -> Array | Decline:
    result = c.sigmoid_backward(dy, y)
    return Decline(c.why_not(dy, y)) if result is None else result


def tanh(x: Array) -> Array | Decline:
    y = c.tanh(x)
    return Decline(c.why_not(x)) if y is None else y


def tanh_backward(dy: Array, y: Array) -> Array | Decline:
    result = c.tanh_backward(dy, y)
    return Decline(c.why_not(dy, y)) if result is None else result


def relu(x: Array) -> Array | Decline:
    y = c.relu(x)
    return Decline(c.why_not(x)) if y is None else y


def relu_backward(dy: Array, y: Array) -> Array | Decline:
    result = c.relu_backward(dy, y)
    return Decline(c.why_not(dy, y)) if result is None else result


def leaky_relu(x: Array, slope: float) -> Array | Decline:
    y = c.leaky_relu(x, slope)
    return Decline(c.why_not(x)) if y is None else y


def leaky_relu_backward(dy: Array, x: Array, slope: float) -> Array | Decline:
    y = c.leaky_relu_backward(dy, x, slope)
    return Decline(c.why_not(dy, x)) if y is None else y


def elu(x: Array, alpha: float) -> Array | Decline:
    y = c.elu(x, alpha)
    return Decline(c.why_not(x)) if y is None else y


def elu_backward(dy: Array, x: Array, alpha: float) -> Array | Decline:
    y = c.elu_backward(dy, x, alpha)
    return Decline(c.why_not(dy, x)) if y is None else y


def gelu(x: Array) -> Array | Decline:
    y = c.gelu(x)
    return Decline(c.why_not(x)) if y is None else y


def gelu_backward(dy: Array, x: Array) -> Array | Decline:
    y = c.gelu_backward(dy, x)
    return Decline(c.why_not(dy, x)) if y is None else y


def silu(x: Array) -> Array | Decline:
    y = c.silu(x)
    return Decline(c.why_not(x)) if y is None else y


def silu_backward(dy: Array, x: Array) -> Array | Decline:
    y = c.silu_backward(dy, x)
    return Decline(c.why_not(dy, x)) if y is None else y


def softplus(x: Array) -> Array | Decline:
    y = c.softplus(x)
    return Decline(c.why_not(x)) if y is None else y


def softplus_backward(dy: Array, x: Array) -> Array | Decline:
    y = c.softplus_backward(dy, x)
    return Decline(c.why_not(dy, x)) if y is None else y


def softmax(x: Array, axis: int) -> Array | Decline:
    y = c.softmax(x, axis)
    return Decline(c.why_not(x)) if y is None else y


def softmax_backward(dy: Array, y: Array, axis: int) -> Array | Decline:
    result = c.softmax_backward(dy, y, axis)
    return Decline(c.why_not(dy, y)) if result is None else result


def log_softmax(x: Array, axis: int) -> Array | Decline:
    y = c.log_softmax(x, axis)
    return Decline(c.why_not(x)) if y is None else y


def log_softmax_backward(dy: Array, y: Array, axis: int) -> Array | Decline:
    result = c.log_softmax_backward(dy, y, axis)
    return Decline(c.why_not(dy, y)) if result is None else result
