"""Timing several ways of doing the same work so that a noisy machine cannot favour one of them.

Blocks of calls alternate, A B C A B C ..., and each side's time is the median of its blocks: a slow phase of the machine
meets all sides. Every block begins with a call that is not counted: it brings back the caches, threads and memory pages
that went while the other side worked. (In a virtual machine a page that was given back for seconds costs 50 times as much
as one that is asked for again at once; a training loop never pauses.)
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ROUNDS = 7
BLOCK_SECONDS = 0.02
WARM_UP_SECONDS = 0.05

Block = Callable[[int], float]  # runs the work so many times; seconds


@dataclass(frozen=True)
class Timing:
    """seconds : of one call, for each block."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """The interquartile range, relative to the median."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / self.median


def block_of(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Block:
    def block(count: int) -> float:
        run()
        began = clock()
        for _ in range(count):
            run()
        return clock() - began

    return block


def alternate(sides: dict[str, Block], rounds: int = ROUNDS, block_seconds: float = BLOCK_SECONDS) -> dict[str, Timing]:
    """Times all sides in turn, `rounds` blocks each of about `block_seconds` (one call at least)."""
    counts = {name: _count(block, block_seconds) for name, block in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for name in _turns(list(sides), rounds):
        seconds[name].append(sides[name](counts[name]) / counts[name])
    return {name: Timing(tuple(s)) for name, s in seconds.items()}


def _turns(names: list[str], rounds: int) -> Iterator[str]:
    for _ in range(rounds):
        yield from names


def _count(block: Block, block_seconds: float) -> int:
    """Warms the side up; how many calls fill a block."""
    count, spent = 1, 0.0
    while True:
        seconds = block(count)
        spent += seconds
        if spent >= WARM_UP_SECONDS or seconds >= block_seconds:
            return max(1, round(block_seconds * count / max(seconds, 1e-9)))
        count *= 2


def ratios(theirs: Timing, ours: Timing) -> tuple[float, float, float]:
    """(ratio of the medians, smallest and largest ratio of neighbouring blocks); above 1: ours is faster."""
    each = [t / o for t, o in zip(theirs.seconds, ours.seconds)]
    return theirs.median / ours.median, min(each), max(each)
