"""Learning-rate schedules: pure functions of how far training is, so that a resumed run needs no state for them.

Each maps (step, steps per epoch, total steps, options) to a factor on the base learning rate. `epoch` below is
step // steps_per_epoch, counted from 0. A linear warm-up over the first `warmup` epochs multiplies any of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dlkit.errors import ConfigError
from dlkit.registry import Registry


@dataclass(frozen=True)
class Progress:
    """Where training stands: `step` optimiser steps are done, of `total`."""

    step: int
    per_epoch: int
    total: int

    @property
    def epoch(self) -> int:
        return self.step // self.per_epoch

    @property
    def share(self) -> float:
        return self.step / max(self.total, 1)


SCHEDULES: Registry[Callable[[Progress, Schedule], float]] = Registry("schedule")


@dataclass(frozen=True)
class Schedule:
    """name : one of SCHEDULES; decay : rate of exponential and inverse-time decay, factor of step decay;
    every : epochs between steps; warmup : epochs of linear warm-up (one-cycle: epochs of rising)."""

    name: str = "constant"
    decay: float = 0.1
    every: int = 10
    warmup: float = 0.0

    def __post_init__(self) -> None:
        SCHEDULES[self.name]
        if self.decay < 0 or self.every < 1 or self.warmup < 0:
            raise ConfigError(
                f"schedule: decay (={self.decay}) and warmup (={self.warmup}) must not be negative, "
                f"every (={self.every}) must be at least 1"
            )

    def factor(self, step: int, per_epoch: int, total: int) -> float:
        at = Progress(step, per_epoch, total)
        factor = SCHEDULES[self.name](at, self)
        if self.warmup and self.name != "one_cycle":
            factor *= min(1.0, (step + 1) / (self.warmup * per_epoch))
        return factor


def _schedule(f: Callable[[Progress, Schedule], float]) -> Callable[[Progress, Schedule], float]:
    return SCHEDULES.add(f.__name__, f)


@_schedule
def constant(at: Progress, s: Schedule) -> float:
    """1"""
    return 1.0


@_schedule
def step(at: Progress, s: Schedule) -> float:
    """decay^⌊epoch / every⌋"""
    return s.decay ** (at.epoch // s.every)


@_schedule
def exponential(at: Progress, s: Schedule) -> float:
    """e^(-decay · epoch)"""
    return math.exp(-s.decay * at.epoch)


@_schedule
def inverse_time(at: Progress, s: Schedule) -> float:
    """1 / (1 + decay · epoch)"""
    return 1 / (1 + s.decay * at.epoch)


@_schedule
def cosine(at: Progress, s: Schedule) -> float:
    """(1 + cos(π · share)) / 2, share = step / total (Loshchilov & Hutter 2017, without restarts)"""
    return 0.5 * (1 + math.cos(math.pi * at.share))


@_schedule
def one_cycle(at: Progress, s: Schedule) -> float:
    """From 1/25 up to 1 in the first 30 % of the run (or `warmup` epochs), then down to 1/10,000, both along cosines
    (Smith & Topin 2018)"""
    rise = s.warmup * at.per_epoch / max(at.total, 1) if s.warmup else 0.3
    low, end = 1 / 25, 1e-4
    if at.share < rise:
        return low + (1 - low) * 0.5 * (1 - math.cos(math.pi * at.share / rise))
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * (at.share - rise) / max(1 - rise, 1e-9)))
