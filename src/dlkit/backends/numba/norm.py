"""Batch normalisation of x [M, C], and standardisation over any two runs of axes."""

from math import sqrt

import numpy as np
from numba import prange

from dlkit.backends.contract import Decline
from dlkit.backends.numba._compile import kernel, real
from dlkit.backends.numba.activation import finish
from dlkit.backends.numba.reduce import chunks, sums_over

__all__ = [
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference",
    "standardize_backward",
    "standardize_forward",
]

ACTIVATIONS = (None, "relu")


@kernel
def partial_deviations(x, mean, sums):
    """sums[chunk, c] = Σ (x - mean)² over a chunk of the rows"""
    M, C = x.shape
    count = sums.shape[0]
    for chunk in prange(count):
        for c in range(C):
            sums[chunk, c] = 0
        for m in range(chunk * M // count, (chunk + 1) * M // count):
            for c in range(C):
                sums[chunk, c] += (x[m, c] - mean[c]) * (x[m, c] - mean[c])


@kernel
def normalize_rows(x, mean, scale, beta, relu, y):
    """y = scale (x - mean) + beta"""
    M, C = x.shape
    for m in prange(M):
        for c in range(C):
            y[m, c] = finish(scale[c] * (x[m, c] - mean[c]) + beta[c], relu)


@kernel
def partial_gradients(dy, x, y, mean, inv_std, relu, sums):
    """sums[0, chunk, c] = Σ dy, sums[1, chunk, c] = Σ dy x̂ over a chunk of the rows"""
    M, C = x.shape
    count = sums.shape[1]
    zero = x.dtype.type(0)
    for chunk in prange(count):
        for c in range(C):
            sums[0, chunk, c] = 0
            sums[1, chunk, c] = 0
        for m in range(chunk * M // count, (chunk + 1) * M // count):
            for c in range(C):
                d = dy[m, c]
                if relu and not y[m, c] > 0:
                    d = zero
                sums[0, chunk, c] += d
                sums[1, chunk, c] += d * ((x[m, c] - mean[c]) * inv_std[c])


@kernel
def input_gradient(dy, x, y, mean, inv_std, scale, mean_d, mean_d_x_hat, relu, dx):
    """dx = scale (dy - mean(dy) - x̂ mean(dy x̂))"""
    M, C = x.shape
    zero = x.dtype.type(0)
    for m in prange(M):
        for c in range(C):
            d = dy[m, c]
            if relu and not y[m, c] > 0:
                d = zero
            dx[m, c] = scale[c] * (d - mean_d[c] - (x[m, c] - mean[c]) * inv_std[c] * mean_d_x_hat[c])


def inverse_root(var, eps):
    with np.errstate(all="ignore"):
        return (1 / np.sqrt(var + eps)).astype(var.dtype)


def normalized(x, mean, inv_std, gamma, beta, activation):
    y = np.empty_like(x)
    with np.errstate(all="ignore"):
        scale = gamma * inv_std
    normalize_rows(x.size, x, mean, scale, beta, activation == "relu", y)
    return y


def unknown(activation):
    return None if activation in ACTIVATIONS else Decline(f"activation {activation!r}")


@real
def batch_norm_forward(x, gamma, beta, eps, activation):
    if why := unknown(activation):
        return why
    M, C = x.shape
    with np.errstate(all="ignore"):
        mean = sums_over(x[None])[0] / M
        sums = np.empty((chunks(x.size), C), x.dtype)
        partial_deviations(x.size, x, mean, sums)
        inv_std = inverse_root((sums.sum(axis=0, dtype=np.float64) / M).astype(x.dtype), eps)
    return normalized(x, mean, inv_std, gamma, beta, activation), mean, inv_std


@real
def batch_norm_backward(dy, x, y, gamma, mean, inv_std, activation):
    if why := unknown(activation):
        return why
    M, C = x.shape
    relu = activation == "relu"
    y = x if y is None else y  # without an activation the kernels read only its type
    sums, dx = np.empty((2, chunks(x.size), C), x.dtype), np.empty_like(x)
    partial_gradients(x.size, dy, x, y, mean, inv_std, relu, sums)
    with np.errstate(all="ignore"):
        dbeta, dgamma = sums.sum(axis=1, dtype=np.float64).astype(x.dtype)
        scale, mean_d, mean_d_x_hat = gamma * inv_std, dbeta / M, dgamma / M
    input_gradient(x.size, dy, x, y, mean, inv_std, scale, mean_d, mean_d_x_hat, relu, dx)
    return dx, dgamma, dbeta


@real
def batch_norm_inference(x, gamma, beta, mean, var, eps, activation):
    return unknown(activation) or normalized(x, mean, inverse_root(var, eps), gamma, beta, activation)


# -- standardise x [O, R, P, Q] over R and Q: layer norm R = P = 1, instance norm Q = 1, group norm


@kernel(reassociate=True)
def standardize(x, eps, y, inv_std):
    O, R, P, Q = x.shape
    for task in prange(O * P):
        o, p = task // P, task % P
        mean = 0.0
        for r in range(R):
            for q in range(Q):
                mean += x[o, r, p, q]
        mean /= R * Q
        var = 0.0
        for r in range(R):
            for q in range(Q):
                d = x[o, r, p, q] - mean
                var += d * d
        inv_std[o, p] = 1 / sqrt(var / (R * Q) + eps)
        for r in range(R):
            for q in range(Q):
                y[o, r, p, q] = (x[o, r, p, q] - mean) * inv_std[o, p]


@kernel(reassociate=True)
def standardize_gradient(dy, x_hat, inv_std, dx):
    O, R, P, Q = dy.shape
    for task in prange(O * P):
        o, p = task // P, task % P
        mean, product = 0.0, 0.0
        for r in range(R):
            for q in range(Q):
                mean += dy[o, r, p, q]
                product += dy[o, r, p, q] * x_hat[o, r, p, q]
        mean /= R * Q
        product /= R * Q
        for r in range(R):
            for q in range(Q):
                dx[o, r, p, q] = inv_std[o, p] * (dy[o, r, p, q] - mean - x_hat[o, r, p, q] * product)


def as_four(shape, axes):
    """shape as (O, R, P, Q), `axes` in R and Q, the others in O and P; None if they alternate more often."""
    over = {axis % len(shape) for axis in axes}
    sizes, part = [1, 1, 1, 1], 0
    for axis, size in enumerate(shape):
        if size != 1:
            part += (axis in over) != part % 2
            if part > 3:
                return None
            sizes[part] *= size
    return (sizes[0], 1, 1, sizes[1]) if sizes[2:] == [1, 1] else tuple(sizes)


def kept(shape, axes):
    over = {axis % len(shape) for axis in axes}
    return tuple(1 if axis in over else size for axis, size in enumerate(shape))


@real
def standardize_forward(x, axes, eps):
    four = as_four(x.shape, axes)
    if four is None or x.size == 0:
        return Decline(f"axes {tuple(axes)} of {x.shape}: more than two runs, or nothing in them")
    y, inv_std = np.empty_like(x), np.empty((four[0], four[2]), x.dtype)
    standardize(x.size, x.reshape(four), float(eps), y.reshape(four), inv_std)
    return y, inv_std.reshape(kept(x.shape, axes))


@real
def standardize_backward(dy, x_hat, inv_std, axes):
    four = as_four(dy.shape, axes)
    if four is None or dy.size == 0:
        return Decline(f"axes {tuple(axes)} of {dy.shape}: more than two runs, or nothing in them")
    dx = np.empty_like(dy)
    inv_std = inv_std.reshape(four[0], four[2])
    standardize_gradient(dy.size, dy.reshape(four), x_hat.reshape(four), inv_std, dx.reshape(four))
    return dx
