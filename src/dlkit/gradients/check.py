"""One problem, checked from all sides.

A gradient that agrees with differences can still be wrong for the next caller. So beside the comparison each problem is
asked: do two calls agree, are inputs and dy left alone, has each gradient its input's shape, is backward linear in dy, and
does memory that is not contiguous give the same?
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit.errors import GradientError
from dlkit.gradients.compare import Comparison, compare
from dlkit.gradients.diagnose import accumulates, diagnose, diagnose_shape
from dlkit.gradients.numeric import Arrays, Problem, Settings, upstream
from dlkit.gradients.report import GradientReport

SAME = 1e-10  # two ways to the same float64 numbers, relative to the largest
AGAIN = 1e-12  # the same way twice: a library's sum may still depend on where its memory lies


class UnsoundError(GradientError):
    """The problem fails before numbers can be compared; `diagnosis` says what to look for."""

    def __init__(self, message: str, diagnosis: str = ""):
        super().__init__(message)
        self.diagnosis = diagnosis


def check_problem(
    problem: Problem, report: GradientReport, rng: np.random.Generator, settings: Settings, backend: str
) -> list[Comparison]:
    """Checks in float64 and writes what it found into `report`; returns the comparisons, none if there could be none.

    backend : named in the report; the problem's functions run on whatever is current.
    """
    try:
        with np.errstate(all="ignore"):  # what overflows shows in the numbers
            dys = sound(problem, rng)
            found = compare(problem, dys, rng, settings)
            report.add(found, problem.name, backend, "float64", settings.tolerance)
            if report.worst.ratio <= 1:
                linear_in_dy(problem, dys[0], rng)
                any_layout(problem, dys[0])
    except UnsoundError as error:
        report.failure = f"{problem.name or 'the call'}: {error}"
        report.diagnosis = [error.diagnosis] if error.diagnosis else []
        return []
    if report.worst.ratio > 1 and not report.diagnosis:
        report.diagnosis = diagnose(problem, found, dys[0], settings)
    return found


def copies(inputs: Arrays) -> Arrays:
    return {name: np.array(x) for name, x in inputs.items()}


def same(a: Any, b: Any, tolerance: float = SAME, floor: float = 0.0) -> bool:
    """Equal shapes, and no element further off than `tolerance` of the largest |b|, or of `floor` if that is larger."""
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and bool(
        np.abs(a - b).max(initial=0.0) <= tolerance * max(np.abs(b).max(initial=0.0), floor)
    )


def sound(problem: Problem, rng: np.random.Generator) -> list[np.ndarray]:
    """The upstream gradients to compare along, once the calls have proved fit to be compared.  Raises : UnsoundError."""
    inputs = copies(problem.inputs)
    y = problem.forward(inputs)
    _unchanged(problem.inputs, inputs, "forward")
    if not np.isfinite(y).all():
        raise UnsoundError("forward gives NaN or infinity here")
    if not same(problem.forward(inputs), y, AGAIN):
        raise UnsoundError(
            "two forward calls with the same inputs give different outputs",
            "randomness between calls: fix the random numbers (a mask as an input, a generator seeded inside the call)",
        )
    dys = upstream(y, rng)
    inputs, dy = copies(problem.inputs), np.array(dys[0])
    first = problem.backward(inputs, dy)
    _unchanged(problem.inputs, inputs, "backward")
    if not np.array_equal(dy, dys[0]):
        raise UnsoundError(
            "backward changes dy in place", "dy is modified in place: work on a copy, others still read it"
        )
    _shaped(problem, first, dys[0])
    first = copies({n: np.asarray(g) for n, g in first.items()})
    again = copies({n: np.asarray(g) for n, g in problem.backward(inputs, dy).items()})
    floor = rounding_floor(first, dy)
    for name, g in first.items():
        if not same(again[name], g, AGAIN, floor):
            if accumulates(g, again[name], np.asarray(problem.backward(inputs, dy)[name])):
                raise UnsoundError(
                    f"input {name}: every further backward call with the same inputs adds to the gradient",
                    f"{name}: the gradient adds up between calls: start from zeros in each backward",
                )
            raise UnsoundError(
                f"input {name}: two backward calls with the same inputs give different gradients",
                "randomness between calls, or something kept from the call before",
            )
    return dys


def _unchanged(before: Arrays, after: Arrays, what: str) -> None:
    for name, x in before.items():
        if not np.array_equal(x, after[name], equal_nan=True):
            at = np.argwhere(np.asarray(x != after[name]))[0].tolist()
            raise UnsoundError(
                f"{what} changes input {name} in place: {name}{at} was {x[tuple(at)]:.6g} and is "
                f"{after[name][tuple(at)]:.6g}",
                f"input {name} is modified in place: write into a new array",
            )


def _shaped(problem: Problem, gradients: dict[str, Any], dy: np.ndarray) -> None:
    for name, x in problem.inputs.items():
        g = gradients.get(name)
        if g is None:
            raise UnsoundError(f"input {name} of shape {x.shape} got no gradient", f"backward returns none for {name}")
        if np.shape(g) != x.shape:
            raise UnsoundError(
                f"input {name} of shape {x.shape} got a gradient of shape {np.shape(g)}",
                diagnose_shape(name, x, np.asarray(g), dy),
            )
        if not np.isfinite(np.asarray(g)).all():
            at = np.argwhere(~np.isfinite(np.asarray(g)))[0].tolist()
            raise UnsoundError(f"the gradient of input {name} is not finite at {at}")


def rounding_floor(gradients: dict[str, Any], dy: np.ndarray) -> float:
    """The size below which a gradient is rounding of what it was computed from: all gradients' and dy's, in thousandths."""
    sizes = [float(np.abs(np.asarray(g)).max(initial=0.0)) for g in (*gradients.values(), dy)]
    return 1e-3 * max(sizes)


def linear_in_dy(problem: Problem, dy: np.ndarray, rng: np.random.Generator) -> None:
    """backward(a u + b v) = a backward(u) + b backward(v), and nothing comes of dy = 0.  Raises : UnsoundError."""
    other = np.asarray(rng.standard_normal(dy.shape))
    u, v, both, nothing = (
        problem.backward(problem.inputs, np.asarray(d)) for d in (dy, other, 2.5 * dy - 0.5 * other, 0.0 * dy)
    )
    floor = rounding_floor(u, dy)
    for name in problem.inputs:
        gu, gv, g, zero = (np.asarray(part[name], np.float64) for part in (u, v, both, nothing))
        if np.abs(zero).max(initial=0.0) > 0:
            raise UnsoundError(
                f"input {name} gets a gradient although dy is zero", "a term is added that dy does not scale"
            )
        if not same(g, 2.5 * gu - 0.5 * gv, 10 * SAME, max(floor, np.abs(gu).max(initial=0.0))):
            raise UnsoundError(
                f"the gradient of input {name} is not linear in dy", "dy enters more than once, or not at all"
            )


def strided(x: np.ndarray) -> np.ndarray:
    """The same numbers in memory that is contiguous in no order: every second element of a larger array, axes reversed."""
    if not x.ndim:
        return x
    wide = np.zeros((*x.shape[::-1][:-1], 2 * x.shape[0]), x.dtype)
    view = wide[..., ::2].transpose()
    view[...] = x
    return view


def any_layout(problem: Problem, dy: np.ndarray) -> None:
    """Strided inputs, strided dy and a broadcast dy (stride 0, as a sum's backward makes) change nothing.  Raises : UnsoundError."""
    expected = problem.backward(problem.inputs, dy)
    floor = rounding_floor(expected, dy)
    one = np.asarray(dy.ravel()[:1].sum()) if dy.size else np.asarray(0.0)
    filled = problem.backward(problem.inputs, np.full(dy.shape, one))
    views = {name: strided(x) for name, x in problem.inputs.items()}
    tries = [
        ("inputs that are not contiguous", views, dy, expected),
        ("a dy that is not contiguous", problem.inputs, strided(dy), expected),
        ("a broadcast dy", problem.inputs, np.broadcast_to(one, dy.shape), filled),
    ]
    for what, inputs, upstream_, right in tries:
        found = problem.backward(inputs, upstream_)
        for name, usual in expected.items():  # a constant dy may have a gradient of zero: a normalisation's, say
            if not same(found[name], right[name], SAME, max(floor, np.abs(usual).max(initial=0.0))):
                raise UnsoundError(
                    f"with {what}, input {name} gets another gradient", f"the code takes {what} for contiguous"
                )
