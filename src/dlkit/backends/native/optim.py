"""Optimiser steps, in place: csrc/kernels/pointwise/optim.c. Names and meaning: dlkit/backends/contract.py."""

from __future__ import annotations

from dlkit._native import pointwise as c
from dlkit.backends.contract import Array, Decline


def sgd_step(
    ps: list[Array],
    gs: list[Array],
    velocities: list[Array] | None,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decays: list[float],
) -> Decline | None:
    taken = c.sgd_step(ps, gs, velocities, lr, momentum, nesterov, weight_decays)
    return None if taken else Decline(c.why_not(*ps, *gs, *(velocities or ())))


def rmsprop_step(
    ps: list[Array],
    gs: list[Array],
    squares: list[Array],
    velocities: list[Array] | None,
    lr: float,
    rho: float,
    eps: float,
    momentum: float,
    weight_decays: list[float],
) -> Decline | None:
    taken = c.rmsprop_step(ps, gs, squares, velocities, lr, rho, eps, momentum, weight_decays)
    return None if taken else Decline(c.why_not(*ps, *gs, *squares, *(velocities or ())))


def adam_step(
    ps: list[Array],
    gs: list[Array],
    ms: list[Array],
    vs: list[Array],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decays: list[float],
    decoupled: bool,
    t: int,
) -> Decline | None:
    taken = c.adam_step(ps, gs, ms, vs, lr, beta1, beta2, eps, weight_decays, decoupled, t)
    return None if taken else Decline(c.why_not(*ps, *gs, *ms, *vs))


def add_into(x: Array, y: Array) -> Decline | None:
    return None if c.add_into(x, y) else Decline(c.why_not(x, y))


def scale_into(x: Array, factor: float) -> Decline | None:
    return None if c.scale_into(x, factor) else Decline(c.why_not(x))
