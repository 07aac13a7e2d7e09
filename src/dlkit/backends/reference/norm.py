"""Normalisation to mean 0 and variance 1.

Backward, for x̂ = (x - mean) / std, where mean and std depend on every x (Ioffe & Szegedy 2015):

    dx = (dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)) / std
"""

import numpy as np

from dlkit.backends.reference._kernel import kernel
from dlkit.backends.reference.activation import leaky_relu, leaky_relu_backward, relu, relu_backward


def affine(x, gamma, beta, mean, inv_std, residual):
    """z = γ x̂ + β + residual"""
    z = gamma * (x - mean) * inv_std + beta
    return z if residual is None else z + residual


def finish(z, activation, slope):
    """f(z) for batch norm's activations."""
    if activation == "leaky_relu":
        return leaky_relu(z, slope)
    return np.minimum(relu(z), 6) if activation == "relu6" else relu(z) if activation == "relu" else z


def finish_backward(dy, z, activation, slope):
    """f'(z) dy; y = f(z) is cut off where z is and serves as well."""
    if activation == "relu6":
        return np.where((z > 0) & (z < 6), dy, 0)
    if activation == "leaky_relu":
        return leaky_relu_backward(dy, z, slope)
    return relu_backward(dy, z) if activation == "relu" else dy


@kernel
def batch_norm_forward(x, gamma, beta, residual, eps, activation, slope):
    """y = f(γ x̂ + β + residual), each channel over the M rows. Ioffe & Szegedy 2015, algorithm 1."""
    M = x.shape[0]
    mean = x.sum(axis=0) / M
    var = ((x - mean) ** 2).sum(axis=0) / M
    inv_std = 1 / np.sqrt(var + eps)
    return finish(affine(x, gamma, beta, mean, inv_std, residual), activation, slope), mean, inv_std


@kernel
def batch_norm_backward(dy, x, y, gamma, beta, mean, inv_std, activation, slope, residual):
    """dresidual = dz,  dβ = Σ dz,  dγ = Σ dz x̂,  dx = γ/std (dz - dβ/M - x̂ dγ/M)"""
    M = x.shape[0]
    z = y if residual else affine(x, gamma, beta, mean, inv_std, None)
    dz = finish_backward(dy, z, activation, slope)
    x_hat = (x - mean) * inv_std
    dbeta = dz.sum(axis=0)
    dgamma = (dz * x_hat).sum(axis=0)
    dx = gamma * inv_std * (dz - dbeta / M - x_hat * dgamma / M)
    return dx, dgamma, dbeta, dz if residual else None


@kernel
def batch_norm_inference(x, gamma, beta, mean, var, residual, eps, activation, slope):
    """y = f(γ (x - mean) / √(var + ε) + β + residual), statistics given. Ioffe & Szegedy 2015, algorithm 2."""
    inv_std = 1 / np.sqrt(var + eps)
    return finish(affine(x, gamma, beta, mean, inv_std, residual), activation, slope)


@kernel
def standardize_forward(x, axes, eps):
    """x̂ over `axes`: layer (Ba et al. 2016), instance (Ulyanov et al. 2016), group norm (Wu & He 2018)."""
    axes = tuple(axes)
    mean = x.mean(axis=axes, keepdims=True)
    var = ((x - mean) ** 2).mean(axis=axes, keepdims=True)
    inv_std = 1 / np.sqrt(var + eps)
    return (x - mean) * inv_std, inv_std


@kernel
def standardize_backward(dy, x_hat, inv_std, axes):
    """dx = (dy - mean(dy) - x̂ mean(dy x̂)) / std"""
    axes = tuple(axes)
    mean_dy = dy.mean(axis=axes, keepdims=True)
    mean_dy_x_hat = (dy * x_hat).mean(axis=axes, keepdims=True)
    return inv_std * (dy - mean_dy - x_hat * mean_dy_x_hat)
