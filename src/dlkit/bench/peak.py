"""What the machine can do at best: multiply-adds in single precision that stay in registers, and copies."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

COPY_BYTES = 256 << 20  # beyond every cache


@dataclass(frozen=True)
class Peak:
    """flops : floating-point operations a second, a multiply-add being two; copy : bytes a second, read and written."""

    threads: int
    flops: float
    copy: float


@lru_cache
def measure_peak(threads: int) -> Peak | None:
    """The best of several trials; None where the native kernels are not built."""
    try:
        from dlkit._native.peak import copy, multiply_adds
    except ImportError:
        return None
    source, to = np.ones(COPY_BYTES, np.uint8), np.zeros(COPY_BYTES, np.uint8)
    return Peak(
        threads,
        flops=_best(lambda: multiply_adds(threads, 300_000)),
        copy=_best(lambda: copy(threads, to, source, 1)),
    )


def _best(work: Callable[[], float], seconds: float = 0.7) -> float:
    """Long enough for the system to have given every thread a core of its own."""
    best, end = 0.0, time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        done = work()
        best = max(best, done / (time.perf_counter() - began))
    return best
