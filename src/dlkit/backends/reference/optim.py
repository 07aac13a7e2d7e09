"""Optimiser steps, in place on the parameter p and its state; the gradient g is left as it is."""

import numpy as np


@np.errstate(all="ignore")
def sgd_step(p, g, velocity, lr, momentum, nesterov, weight_decay):
    """v = momentum v + g;  p -= lr v, or lr (g + momentum v) if nesterov.

    Source : Polyak 1964; in Nesterov's form, Sutskever et al. 2013.
    """
    g = g + weight_decay * p
    if velocity is None:  # no momentum
        p -= lr * g
        return
    velocity[...] = momentum * velocity + g
    p -= lr * (g + momentum * velocity if nesterov else velocity)


@np.errstate(all="ignore")
def rmsprop_step(p, g, square, velocity, lr, rho, eps, momentum, weight_decay):
    """s = ρ s + (1-ρ) g²;  v = momentum v + g / (√s + ε);  p -= lr v. Tieleman & Hinton 2012, lecture 6.5."""
    g = g + weight_decay * p
    square[...] = rho * square + (1 - rho) * g * g
    step = g / (np.sqrt(square) + eps)
    if velocity is None:  # no momentum
        p -= lr * step
        return
    velocity[...] = momentum * velocity + step
    p -= lr * velocity


@np.errstate(all="ignore")
def adam_step(p, g, m, v, lr, beta1, beta2, eps, weight_decay, decoupled, t):
    """m̂, v̂ = the running means of g and g², freed of their bias towards 0;  p -= lr m̂ / (√v̂ + ε)

    Source : Kingma & Ba 2015, algorithm 1, steps t = 1, 2, ...; decoupled: Loshchilov & Hutter 2019.
    """
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
