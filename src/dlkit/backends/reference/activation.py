"""Activations y = f(x), each followed by its backward pass dx = f'(x) dy."""

import math

import numpy as np

from dlkit.backends.reference._kernel import kernel
from dlkit.backends.reference.elementwise import _erf


@kernel
def sigmoid(x):
    """1 / (1 + e⁻ˣ), written with e^-|x| so that nothing overflows."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


@kernel
def sigmoid_backward(dy, y):
    """σ' = σ (1 - σ)"""
    return dy * y * (1 - y)


@kernel
def tanh(x):
    """(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)"""
    return np.tanh(x)


@kernel
def tanh_backward(dy, y):
    """tanh' = 1 - tanh²"""
    return dy * (1 - y * y)


@kernel
def relu(x):
    """max(x, 0). Nair & Hinton 2010."""
    return np.maximum(x, 0)


@kernel
def relu_backward(dy, y):
    """Slope 1 where y > 0, else 0."""
    return np.where(y > 0, dy, 0)


@kernel
def leaky_relu(x, slope):
    """x if x > 0, else slope x. Maas et al. 2013."""
    return np.where(x > 0, x, slope * x)


@kernel
def leaky_relu_backward(dy, x, slope):
    """Slope 1 where x > 0, else `slope`."""
    return np.where(x > 0, dy, slope * dy)


@kernel
def elu(x, alpha):
    """x if x > 0, else α (eˣ - 1). Clevert et al. 2016."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@kernel
def elu_backward(dy, x, alpha):
    """Slope 1 where x > 0, else α eˣ."""
    return np.where(x > 0, dy, dy * alpha * np.exp(np.minimum(x, 0)))


def normal_cdf(x):
    """Φ(x) = ½ (1 + erf(x/√2)), the probability that a standard normal variable is below x."""
    return 0.5 * (1 + _erf(x / math.sqrt(2)))


def normal_pdf(x):
    """φ(x) = Φ'(x) = e^(-x²/2) / √(2π)"""
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


@kernel
def gelu(x):
    """x Φ(x), the exact form. Hendrycks & Gimpel 2016."""
    return (x * normal_cdf(x)).astype(x.dtype)


@kernel
def gelu_backward(dy, x):
    """(x Φ)' = Φ + x φ"""
    return (dy * (normal_cdf(x) + x * normal_pdf(x))).astype(x.dtype)


@kernel
def silu(x):
    """x σ(x), also called swish. Elfwing et al. 2018."""
    return x * sigmoid(x)


@kernel
def silu_backward(dy, x):
    """(x σ)' = σ + x σ (1 - σ)"""
    s = sigmoid(x)
    return dy * (s + x * s * (1 - s))


@kernel
def softplus(x):
    """log(1 + eˣ) = log(e⁰ + eˣ), which logaddexp computes without overflow. Dugas et al. 2001."""
    return np.logaddexp(0, x)


@kernel
def softplus_backward(dy, x):
    """softplus' = σ"""
    return dy * sigmoid(x)


@kernel
def softmax(x, axis):
    """eˣ / Σ eˣ along `axis`; the largest x is subtracted first: same value, no overflow."""
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@kernel
def softmax_backward(dy, y, axis):
    """∂yᵢ/∂xⱼ = yᵢ (δᵢⱼ - yⱼ), so dx = y (dy - Σ dy y)"""
    return y * (dy - (dy * y).sum(axis, keepdims=True))


@kernel
def log_softmax(x, axis):
    """x - log Σ eˣ along `axis`, shifted as in softmax."""
    x = x - x.max(axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


@kernel
def log_softmax_backward(dy, y, axis):
    """∂yᵢ/∂xⱼ = δᵢⱼ - e^yⱼ, so dx = dy - e^y Σ dy"""
    return dy - np.exp(y) * dy.sum(axis, keepdims=True)


# -- what linear, conv2d and batch_norm can apply to their own output: activations whose slope follows from y

FORWARD = {None: lambda x: x, "relu": relu, "tanh": tanh, "sigmoid": sigmoid}
BACKWARD = {None: lambda dy, y: dy, "relu": relu_backward, "tanh": tanh_backward, "sigmoid": sigmoid_backward}


def activate(x, activation):
    """f(x) for the activation of that name; x itself for None."""
    return FORWARD[activation](x)


def activate_backward(dy, y, activation):
    """f'(x) dy for the activation of that name, from its output y; dy itself for None."""
    return BACKWARD[activation](dy, y)
