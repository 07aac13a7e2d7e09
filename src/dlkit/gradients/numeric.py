"""Slopes by differences.

    central       (f(x + h v) - f(x - h v)) / 2h        error h² f''' / 6 + rounding / h
    complex step  Im f(x + i h v) / h                   no subtraction, so no rounding: Squire & Trapp 1998

f keeps all its outputs: one pair of evaluations is a column of the Jacobian, which serves every upstream gradient dy. A
function with few outputs is seen along each unit vector (the full Jacobian) and along a random dy; one with many along the
random dy alone. An input of many elements is probed at some of them, chosen at random, and along random directions of ±1
that move all of them together, so that no single wrong element hides.

The step is `step` times the element's size, or the input's typical size where the element is smaller.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

STEP = 1e-5
TOLERANCE = 1e-5
ELEMENTS = 40  # probed one by one in each input
JACOBIAN = 16  # outputs up to which the full Jacobian is compared
COMPLEX_STEP = 1e-30
EPS = float(np.finfo(np.float64).eps)
ROUNDING = 16 * EPS  # of one evaluation, relative to the output, at least
ROUGH = 1e3 * EPS  # the same at most, relative to the largest output: rougher than that is float32 inside
DRAWS = 6  # of close points that roughness is measured at: one may round evenly

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Settings:
    """How a check is made. step, tolerance : relative; elements : probed one by one in each input, directions : along
    which larger ones are moved as a whole; order : 2 checks the second derivative as well."""

    seed: int = 0
    step: float = STEP
    tolerance: float = TOLERANCE
    elements: int = ELEMENTS
    directions: int = 2
    order: int = 1


@dataclass
class Problem:
    """A function of named float64 arrays and what claims to be its gradient.

    forward(inputs) -> y; backward(inputs, dy) -> one gradient for each input.
    analytic : forward may be evaluated at complex inputs (tried, and used only where it proves right).
    rounding : of numbers inside that y does not show, because they cancel.
    """

    name: str
    inputs: Arrays
    forward: Callable[[Arrays], np.ndarray]
    backward: Callable[[Arrays, np.ndarray], dict[str, Any]]
    analytic: bool = False
    rounding: float = 0.0


@dataclass(frozen=True)
class Probe:
    """One element of an input, or (direction) all of them moved together by ±1/√n."""

    input: str
    index: tuple[int, ...]
    direction: np.ndarray | None = None

    def moved(self, inputs: Arrays, by: complex) -> Arrays:
        x = np.array(inputs[self.input], dtype=complex if isinstance(by, complex) else float)
        if self.direction is None:
            x[self.index] += by
        else:
            x += by * self.direction
        return {**inputs, self.input: x}

    def component(self, g: np.ndarray) -> float:
        return float(g[self.index]) if self.direction is None else float((g * self.direction).sum())

    def size(self, x: np.ndarray, typical: float) -> float:
        return typical if self.direction is not None else max(typical, abs(float(x[self.index])))


def upstream(y: np.ndarray, rng: np.random.Generator, jacobian: int = JACOBIAN) -> list[np.ndarray]:
    """The dy that are tried: a random one first and, where y is small, each unit vector."""
    found = [np.asarray(rng.standard_normal(y.shape))]
    if 1 < y.size <= jacobian:
        found += list(np.eye(y.size).reshape(y.size, *y.shape))
    return found


def probes_of(name: str, x: np.ndarray, elements: int, rng: np.random.Generator, directions: int = 2) -> list[Probe]:
    chosen = np.arange(x.size) if x.size <= elements else np.sort(rng.choice(x.size, elements, replace=False))
    found = [Probe(name, tuple(int(n) for n in np.unravel_index(i, x.shape))) for i in chosen]
    if x.size > elements:
        found += [Probe(name, (), rng.choice([-1.0, 1.0], x.shape) / np.sqrt(x.size)) for _ in range(directions)]
    return found


def typical_size(x: np.ndarray) -> float:
    """The root mean square of x; 1 for zeros, and never so small that a step would drown in rounding."""
    size = float(np.sqrt(np.mean(np.square(x)))) if x.size else 0.0
    return max(size, 1e-2) if size > 0 else 1.0


def rounding_of(problem: Problem, here: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How far rounding moves each output: what is left of second differences over parts in 10¹², where any smooth
    function is a straight line."""
    rough = np.zeros(here.shape)
    for _ in range(DRAWS):
        by = {n: 1e-12 * typical_size(x) * rng.choice([-1.0, 1.0], x.shape) for n, x in problem.inputs.items()}
        with np.errstate(all="ignore"):
            up, down = (
                problem.forward({n: np.asarray(x + side * by[n]) for n, x in problem.inputs.items()})
                for side in (1, -1)
            )
            rough = np.fmax(rough, np.abs(up - 2 * here + down))
    size = np.abs(here)
    rough = np.maximum(ROUNDING * size, np.minimum(4 * rough, ROUGH * size.max(initial=0.0)))
    return np.maximum(rough, problem.rounding)


class Point:
    """A problem at its inputs, seen along every dy. weights : [outputs, dys]; noise : what rounding may do to the outputs,
    along each dy; exact : slopes come from complex steps."""

    def __init__(self, problem: Problem, dys: list[np.ndarray], rng: np.random.Generator, step: float):
        self.problem = problem
        self.y = problem.forward(problem.inputs)
        self.weights = np.stack([dy.ravel() for dy in dys], 1)
        self.noise = np.sqrt(np.square(rounding_of(problem, self.y, rng).ravel()) @ np.square(self.weights))
        self.exact = problem.analytic and takes_complex(problem, self.y, rng, step)

    def slope(self, probe: Probe, h: float) -> tuple[np.ndarray, np.ndarray, float]:
        """The slope along every dy, what rounding may add to it, and the step: the best that the problem allows."""
        if self.exact:
            return complex_step(self.problem, probe) @ self.weights, self.noise, COMPLEX_STEP
        return central(self.problem, probe, h).ravel() @ self.weights, self.noise / h, h

    def sides(self, probe: Probe, h: float) -> tuple[np.ndarray, np.ndarray]:
        """The slopes before and behind x, along every dy: equal where f is smooth."""
        up, down = (self.problem.forward(probe.moved(self.problem.inputs, by)) for by in (h, -h))
        return ((self.y - down).ravel() / h) @ self.weights, ((up - self.y).ravel() / h) @ self.weights


def central(problem: Problem, probe: Probe, h: float) -> np.ndarray:
    """dy/dt at t = 0 of forward(x + t v), for every output."""
    up = problem.forward(probe.moved(problem.inputs, h))
    down = problem.forward(probe.moved(problem.inputs, -h))
    return (up - down) / (2 * h)


def complex_step(problem: Problem, probe: Probe) -> np.ndarray:
    inputs = {name: x.astype(complex) for name, x in problem.inputs.items()}
    y = problem.forward(probe.moved(inputs, 1j * COMPLEX_STEP))
    return y.imag.ravel() / COMPLEX_STEP


def takes_complex(problem: Problem, here: np.ndarray, rng: np.random.Generator, step: float) -> bool:
    """Does forward, made for real numbers, follow its complex continuation? Tried along a random direction of every
    input: abs, a cast or a comparison inside would show in the imaginary part."""
    for name, x in problem.inputs.items():
        if not x.size:
            continue
        probe = Probe(name, (), rng.choice([-1.0, 1.0], x.shape) / np.sqrt(x.size))
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("error")
                slope = complex_step(problem, probe)
        except Exception:  # any function may object to complex numbers in its own way: then they are not used
            return False
        expected = central(problem, probe, step * typical_size(x)).ravel()
        off, size = np.abs(slope - expected).max(initial=0.0), np.abs(expected).max(initial=0.0)
        floor = 1e3 * ROUNDING * np.abs(here).max(initial=0.0) / step
        if not off <= 1e-6 * size + floor:
            return False
    return True
