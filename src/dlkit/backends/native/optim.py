"""Optimiser steps, in place: csrc/kernels/pointwise/optim.c. Names and meaning: dlkit/backends/contract.py."""

from __future__ import annotations

from dlkit._native import pointwise as c
from dlkit.backends.contract import Array, Decline


def sgd_step(
    p: Array, g: Array, velocity: Array | None, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> Decline | None:
    taken = c.sgd_step(p, g, velocity, lr, momentum, nesterov, weight_decay)
    return None if taken else Decline(c.why_not(p, g, velocity))


def rmsprop_step(
    p: Array,
    g: Array,
    square: Array,
    velocity: Array | None,
    lr: float,
    rho: float,
    eps: float,
    momentum: float,
    weight_decay: float,
) -> Decline | None:
    taken = c.rmsprop_step(p, g, square, velocity, lr, rho, eps, momentum, weight_decay)
    return None if taken else Decline(c.why_not(p, g, square, velocity))


def adam_step(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    t: int,
) -> Decline | None:
    taken = c.adam_step(p, g, m, v, lr, beta1, beta2, eps, weight_decay, decoupled, t)
    return None if taken else Decline(c.why_not(p, g, m, v))


def add_into(x: Array, y: Array) -> Decline | None:
    return None if c.add_into(x, y) else Decline(c.why_not(x, y))


def scale_into(x: Array, factor: float) -> Decline | None:
    return None if c.scale_into(x, factor) else Decline(c.why_not(x))
