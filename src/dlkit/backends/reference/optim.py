"""Optimiser steps, in place on parameters and their state; gradients are left as they are."""

import numpy as np


@np.errstate(all="ignore")
def sgd_step(ps, gs, velocities, lr, momentum, nesterov, weight_decays):
    """v = momentum v + g;  p -= lr v, or lr (g + momentum v) if nesterov.

    Source : Polyak 1964; in Nesterov's form, Sutskever et al. 2013.
    """
    for p, g, v, weight_decay in zip(ps, gs, velocities or [None] * len(ps), weight_decays):
        g = g + weight_decay * p
        if v is None:  # no momentum
            p -= lr * g
            continue
        v[...] = momentum * v + g
        p -= lr * (g + momentum * v if nesterov else v)


@np.errstate(all="ignore")
def rmsprop_step(ps, gs, squares, velocities, lr, rho, eps, momentum, weight_decays):
    """s = ρ s + (1-ρ) g²;  v = momentum v + g / (√s + ε);  p -= lr v. Tieleman & Hinton 2012, lecture 6.5."""
    for p, g, s, v, weight_decay in zip(ps, gs, squares, velocities or [None] * len(ps), weight_decays):
        g = g + weight_decay * p
        s[...] = rho * s + (1 - rho) * g * g
        step = g / (np.sqrt(s) + eps)
        if v is None:  # no momentum
            p -= lr * step
            continue
        v[...] = momentum * v + step
        p -= lr * v


@np.errstate(all="ignore")
def adam_step(ps, gs, ms, vs, lr, beta1, beta2, eps, weight_decays, decoupled, t):
    """m̂, v̂ = the running means of g and g², freed of their bias towards 0;  p -= lr m̂ / (√v̂ + ε)

    Source : Kingma & Ba 2015, algorithm 1, steps t = 1, 2, ...; decoupled: Loshchilov & Hutter 2019.
    """
    for p, g, m, v, weight_decay in zip(ps, gs, ms, vs, weight_decays):
        if decoupled:
            p -= lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m[...] = beta1 * m + (1 - beta1) * g
        v[...] = beta2 * v + (1 - beta2) * g * g
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        p -= lr * m_hat / (np.sqrt(v_hat) + eps)


@np.errstate(all="ignore")
def add_into(x, y):
    """x += y"""
    x += y


@np.errstate(all="ignore")
def scale_into(x, factor):
    """x *= factor"""
    x *= factor
