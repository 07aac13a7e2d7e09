"""Batch normalisation of x [M, C], and standardisation over any two runs of axes."""

from math import sqrt

import numpy as np
from numba import prange

from dlkit.backends.contract import Decline
from dlkit.backends.numba._compile import jit, kernel, real
from dlkit.backends.numba.reduce import chunks, sums_over

__all__ = [
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference",
    "standardize_backward",
    "standardize_forward",
]

ACTIVATIONS = (None, "relu", "leaky_relu", "relu6")


@jit
def cut_off(v, activation, slope):
    """What is left of v where f cuts it off; `activation` is an index into ACTIVATIONS."""
    return type(v)(slope * v if activation == 2 else 0)


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
def normalize_rows(x, mean, scale, beta, residual, activation, slope, y):
    """y = f(scale (x - mean) + beta + residual); residual [0, 0] is none"""
    M, C = x.shape
    for m in prange(M):
        for c in range(C):
            v = scale[c] * (x[m, c] - mean[c]) + beta[c]
            if residual.size:
                v += residual[m, c]
            if activation == 3 and v > 6:
                v = type(v)(6)
            y[m, c] = v if activation == 0 or not v <= 0 else cut_off(v, activation, slope)


@kernel
def slopes(dy, x, y, mean, scale, beta, activation, slope, dz):
    """dz from y, or without y [0, 0] from z = scale (x - mean) + beta"""
    M, C = x.shape
    for m in prange(M):
        for c in range(C):
            z = y[m, c] if y.size else scale[c] * (x[m, c] - mean[c]) + beta[c]
            inside = z > 0 and (activation != 3 or z < 6)
            dz[m, c] = dy[m, c] if inside else cut_off(dy[m, c], activation, slope)


@kernel
def partial_gradients(dz, x, mean, inv_std, sums):
    """sums[0, chunk, c] = Σ dz, sums[1, chunk, c] = Σ dz x̂ over a chunk of the rows"""
    M, C = x.shape
    count = sums.shape[1]
    for chunk in prange(count):
        for c in range(C):
            sums[0, chunk, c] = 0
            sums[1, chunk, c] = 0
        for m in range(chunk * M // count, (chunk + 1) * M // count):
            for c in range(C):
                sums[0, chunk, c] += dz[m, c]
                sums[1, chunk, c] += dz[m, c] * ((x[m, c] - mean[c]) * inv_std[c])


@kernel
def input_gradient(dz, x, mean, inv_std, scale, mean_dz, mean_dz_x_hat, dx):
    """dx = scale (dz - mean(dz) - x̂ mean(dz x̂))"""
    M, C = x.shape
    for m in prange(M):
        for c in range(C):
            x_hat = (x[m, c] - mean[c]) * inv_std[c]
            dx[m, c] = scale[c] * (dz[m, c] - mean_dz[c] - x_hat * mean_dz_x_hat[c])


def inverse_root(var, eps):
    with np.errstate(all="ignore"):
        return (1 / np.sqrt(var + eps)).astype(var.dtype)


def none_like(x):
    return np.empty((0, 0), x.dtype)


def normalized(x, mean, inv_std, gamma, beta, residual, activation, slope):
    y = np.empty_like(x)
    with np.errstate(all="ignore"):
        scale = gamma * inv_std
    residual = none_like(x) if residual is None else residual
    normalize_rows(x.size, x, mean, scale, beta, residual, ACTIVATIONS.index(activation), float(slope), y)
    return y


def unknown(activation):
    return None if activation in ACTIVATIONS else Decline(f"activation {activation!r}")


@real
def batch_norm_forward(x, gamma, beta, residual, eps, activation, slope):
    if why := unknown(activation):
        return why
    M, C = x.shape
    with np.errstate(all="ignore"):
        mean = sums_over(x[None])[0] / M
        sums = np.empty((chunks(x.size), C), x.dtype)
        partial_deviations(x.size, x, mean, sums)
        inv_std = inverse_root((sums.sum(axis=0, dtype=np.float64) / M).astype(x.dtype), eps)
    return normalized(x, mean, inv_std, gamma, beta, residual, activation, slope), mean, inv_std


@real
def batch_norm_backward(dy, x, y, gamma, beta, mean, inv_std, activation, slope, residual):
    if why := unknown(activation):
        return why
    M, C = x.shape
    with np.errstate(all="ignore"):
        scale = gamma * inv_std
    dz = dy
    if activation:
        dz, y = np.empty_like(x), y if residual else none_like(x)
        slopes(x.size, dy, x, y, mean, scale, beta, ACTIVATIONS.index(activation), float(slope), dz)
    sums, dx = np.empty((2, chunks(x.size), C), x.dtype), np.empty_like(x)
    partial_gradients(x.size, dz, x, mean, inv_std, sums)
    with np.errstate(all="ignore"):
        dbeta, dgamma = sums.sum(axis=1, dtype=np.float64).astype(x.dtype)
        mean_dz, mean_dz_x_hat = dbeta / M, dgamma / M
    input_gradient(x.size, dz, x, mean, inv_std, scale, mean_dz, mean_dz_x_hat, dx)
    return dx, dgamma, dbeta, dz if residual else None


@real
def batch_norm_inference(x, gamma, beta, mean, var, residual, eps, activation, slope):
    return unknown(activation) or normalized(x, mean, inverse_root(var, eps), gamma, beta, residual, activation, slope)


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
