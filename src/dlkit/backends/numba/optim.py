"""Optimiser steps, in place, in one pass over memory. State that a step lacks is an array of size 0."""

from itertools import repeat
from math import sqrt

from numba import prange

from dlkit.backends.contract import Decline
from dlkit.backends.numba._compile import in_place, kernel, or_empty, ready, unfit
from dlkit.backends.numba.elementwise import flat

__all__ = ["adam_step", "add_into", "rmsprop_step", "scale_into", "sgd_step"]


@kernel
def sgd(p, g, velocity, lr, momentum, nesterov, weight_decay):
    real = p.dtype.type
    lr, momentum, weight_decay = real(lr), real(momentum), real(weight_decay)
    for i in prange(p.size):
        d = g[i] + weight_decay * p[i]
        if velocity.size:
            v = momentum * velocity[i] + d
            velocity[i] = v
            d = d + momentum * v if nesterov else v
        p[i] -= lr * d


@kernel
def rmsprop(p, g, square, velocity, lr, rho, eps, momentum, weight_decay):
    real = p.dtype.type
    lr, rho, rest, eps = real(lr), real(rho), real(1 - rho), real(eps)
    momentum, weight_decay = real(momentum), real(weight_decay)
    for i in prange(p.size):
        d = g[i] + weight_decay * p[i]
        s = rho * square[i] + rest * d * d
        square[i] = s
        step = d / (sqrt(s) + eps)
        if velocity.size:
            step += momentum * velocity[i]
            velocity[i] = step
        p[i] -= lr * step


@kernel
def adam(p, g, m, v, lr, beta1, beta2, eps, shrink, weight_decay, bias1, bias2):
    """shrink: 1 - lr weight_decay if decoupled, else 1; bias: 1 - beta^t"""
    real = p.dtype.type
    step, root_bias, eps, shrink, weight_decay = (
        real(lr / bias1),
        real(sqrt(bias2)),
        real(eps),
        real(shrink),
        real(weight_decay),
    )
    beta1, rest1, beta2, rest2 = real(beta1), real(1 - beta1), real(beta2), real(1 - beta2)
    for i in prange(p.size):
        q = shrink * p[i]
        d = g[i] + weight_decay * q
        mean = beta1 * m[i] + rest1 * d
        square = beta2 * v[i] + rest2 * d * d
        m[i] = mean
        v[i] = square
        p[i] = q - step * mean / (sqrt(square) / root_bias + eps)


@kernel
def add_each(x, y):
    for i in prange(x.size):
        x[i] += y[i]


@kernel
def scale_each(x, factor):
    factor = x.dtype.type(factor)
    for i in prange(x.size):
        x[i] *= factor


def unlike(p, g, *state):
    """Why p and its state cannot be updated in place by g, all of one shape."""
    if any(x is not None and x.shape != p.shape for x in (g, *state)):
        return Decline("shapes differ")
    return in_place(p, *state) or unfit(p, g)


def unlike_any(*lists):
    """Why one of the parameters cannot be updated; a list may be None."""
    rows = zip(*(repeat(None) if each is None else each for each in lists))
    return next((why for row in rows if (why := unlike(*row))), None)


def sgd_step(ps, gs, velocities, lr, momentum, nesterov, weight_decays):
    if why := unlike_any(ps, gs, velocities):
        return why
    lr, momentum = float(lr), float(momentum)
    for p, g, v, decay in zip(ps, gs, velocities or repeat(None), weight_decays):
        sgd(p.size, flat(p), flat(ready(g)), flat(or_empty(v, p)), lr, momentum, bool(nesterov), float(decay))


def rmsprop_step(ps, gs, squares, velocities, lr, rho, eps, momentum, weight_decays):
    if why := unlike_any(ps, gs, squares, velocities):
        return why
    numbers = [float(number) for number in (lr, rho, eps, momentum)]
    for p, g, s, v, decay in zip(ps, gs, squares, velocities or repeat(None), weight_decays):
        rmsprop(4 * p.size, flat(p), flat(ready(g)), flat(s), flat(or_empty(v, p)), *numbers, float(decay))


def adam_step(ps, gs, ms, vs, lr, beta1, beta2, eps, weight_decays, decoupled, t):
    if why := unlike_any(ps, gs, ms, vs):
        return why
    for p, g, m, v, weight_decay in zip(ps, gs, ms, vs, weight_decays):
        shrink, decay = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
        numbers = (float(n) for n in (lr, beta1, beta2, eps, shrink, decay, 1 - beta1**t, 1 - beta2**t))
        adam(6 * p.size, flat(p), flat(ready(g)), flat(m), flat(v), *numbers)


def add_into(x, y):
    why = unlike(x, y)
    return why or add_each(x.size, flat(x), flat(ready(y)))


def scale_into(x, factor):
    why = in_place(x)
    return why or scale_each(x.size, flat(x), float(factor))
