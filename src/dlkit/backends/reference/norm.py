"""Normalisation to mean 0 and variance 1.

Backward, for x̂ = (x - mean) / std, where mean and std depend on every x (Ioffe & Szegedy 2015):

    dx = (dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)) / std
"""

import numpy as np

from dlkit.backends.reference._kernel import kernel
from dlkit.backends.reference.activation import activate, activate_backward


@kernel
def batch_norm_forward(x, gamma, beta, eps, activation):
    """y = f(γ x̂ + β), each channel over the M rows. Ioffe & Szegedy 2015, algorithm 1."""
    M = x.shape[0]
    mean = x.sum(axis=0) / M
    var = ((x - mean) ** 2).sum(axis=0) / M
    inv_std = 1 / np.sqrt(var + eps)
    y = gamma * (x - mean) * inv_std + beta
    return activate(y, activation), mean, inv_std


@kernel
def batch_norm_backward(dy, x, y, gamma, mean, inv_std, activation):
    """dβ = Σ dy,  dγ = Σ dy x̂,  dx = γ/std (dy - dβ/M - x̂ dγ/M)"""
    M = x.shape[0]
    dy = activate_backward(dy, y, activation)
    x_hat = (x - mean) * inv_std
    dbeta = dy.sum(axis=0)
    dgamma = (dy * x_hat).sum(axis=0)
    dx = gamma * inv_std * (dy - dbeta / M - x_hat * dgamma / M)
    return dx, dgamma, dbeta


@kernel
def batch_norm_inference(x, gamma, beta, mean, var, eps, activation):
    """y = f(γ (x - mean) / √(var + ε) + β) with the statistics given. Ioffe & Szegedy 2015, algorithm 2."""
    inv_std = 1 / np.sqrt(var + eps)
    return activate(gamma * (x - mean) * inv_std + beta, activation)


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
