"""What is measured, declared once: one Case for each piece of work.

`dlkit bench`, `pytest benchmarks` and the comparison with PyTorch all read CASES, the only list of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.backends import use_backend
from dlkit.errors import BenchmarkError
from dlkit.registry import Registry

Inputs = dict[str, Any]  # arrays and options: all that both sides need to do the same work


@dataclass(frozen=True)
class Work:
    """One side of a case, ready to run.

    run : what is timed, the same work on every call. answer : what the first run returned -> arrays in dlkit's layouts.
    """

    run: Callable[[], Any]
    answer: Callable[[Any], list[np.ndarray]]


def no_count(inputs: Inputs) -> None:
    return None


@dataclass(frozen=True)
class Case:
    """One piece of work, in float32.

    inputs : a generator of random numbers -> arrays and options; tiny : the same in sizes for tests.
    ours : inputs -> dlkit's side. On the reference backend with float64 inputs it gives the answer that is expected.
    peer : name of the other side in dlkit.bench.peers.
    flops : inputs -> floating-point operations of the plain method (taps on padding count, a multiply-add is two).
    bytes : inputs -> bytes that must be read and written at least; for work that does little with each number.
    isolated : a whole training step; each side runs in a process of its own.
    tolerance : largest difference from the expected answer, relative to the largest number of the array.
    """

    name: str
    group: str
    inputs: Callable[[np.random.Generator], Inputs]
    tiny: Callable[[np.random.Generator], Inputs]
    ours: Callable[[Inputs], Work]
    peer: str
    flops: Callable[[Inputs], float | None] = no_count
    bytes: Callable[[Inputs], float | None] = no_count
    isolated: bool = False
    tolerance: float = 1e-4

    def expected(self, inputs: Inputs) -> list[np.ndarray]:
        """The answer by the reference backend in float64."""
        with use_backend("reference"):
            work = self.ours(in_float64(inputs))
            return work.answer(work.run())

    def check(self, side: str, got: list[np.ndarray], expected: list[np.ndarray]) -> float:
        """The largest relative difference.  Raises : BenchmarkError if it exceeds the tolerance."""
        error = difference(got, expected)
        if not error <= self.tolerance:
            raise BenchmarkError(
                f"{self.name}: {side} computes something else: it differs by {error:.1e} of the largest value "
                f"(at most {self.tolerance:.0e}); not timed"
            )
        return error


CASES: Registry[Case] = Registry("benchmark")


def add(case: Case) -> None:
    CASES.add(case.name, case)


def in_float64(inputs: Inputs) -> Inputs:
    def convert(x: Any) -> Any:
        return x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype == np.float32 else x

    return {name: convert(x) for name, x in inputs.items()}


def difference(got: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """max |got - expected| / max |expected|, the worst of all arrays; infinite where shapes or NaN differ."""
    if [a.shape for a in got] != [b.shape for b in expected]:
        return float("inf")
    errors = [_relative(a, b) for a, b in zip(got, expected)]
    return max(errors) if all(np.isfinite(errors)) else float("inf")


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    scale = float(np.abs(b).max(initial=0.0))
    return float(np.abs(a - b).max(initial=0.0)) / (scale or 1.0)
