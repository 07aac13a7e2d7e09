"""Slopes by differences, and how far a gradient is from them.

    central       (f(x + h v) - f(x - h v)) / 2h        error h² f''' / 6 + rounding / h
    complex step  Im f(x + i h v) / h                   no subtraction, so no rounding: Squire & Trapp 1998

f keeps all its outputs: one pair of evaluations is a column of the Jacobian, which serves every upstream gradient dy. A
function with few outputs is compared row by row (dy = each unit vector: the full Jacobian) and along one random dy; one
with many along the random dy alone. An input of many elements is probed at some of them, chosen at random, and along two
random directions of ±1 that move all of them together, so that no single wrong element hides.

The step is `step` times the element's size, or the input's typical size where the element is smaller. A probe that
disagrees is tried again with other steps, because a ReLU or a max that changes sides within the step bends the difference;
a wrong gradient stays wrong. Where the two one-sided differences disagree by the same amount however small the step, the
probe lies on a kink, says nothing, and is left out and counted.

Errors are |analytic - numeric|, less what rounding alone explains, relative to the larger of the two, or to a thousandth
of the largest gradient of the input where both are small: tiny gradients cannot hide, and rounding cannot fake a mistake.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
    """

    name: str
    inputs: Arrays
    forward: Callable[[Arrays], np.ndarray]
    backward: Callable[[Arrays, np.ndarray], dict[str, Any]]
    analytic: bool = False


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


@dataclass
class Comparison:
    """Backward against differences, for one input: arrays over (probe, dy). `largest` is the input's largest gradient for
    each dy, `noise` what rounding may add to the numeric slope."""

    input: str
    probes: list[Probe]
    analytic: np.ndarray
    numeric: np.ndarray
    noise: np.ndarray
    largest: np.ndarray
    step: np.ndarray
    kink: np.ndarray
    tolerance: float
    gradients: list[np.ndarray] = field(default_factory=list)
    one_sided: dict[int, tuple[float, float]] = field(default_factory=dict)

    def errors(self) -> np.ndarray:
        """Relative errors, 0 on kinks; infinite where either side is not a number."""
        error = relative_errors(self.analytic, self.numeric, self.noise, self.largest, self.tolerance)
        error[self.kink] = 0.0
        return error


def relative_errors(
    analytic: np.ndarray, numeric: np.ndarray, noise: Any, largest: Any, tolerance: float
) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        size = np.maximum(np.abs(analytic), np.abs(numeric))
        scale = np.maximum(size, 1e-3 * largest)
        off = np.abs(analytic - numeric)
        off = np.where(noise > 0.1 * tolerance * scale, np.maximum(off - noise, 0.0), off)  # else noise decides nothing
    error = off / np.where(scale > 0, scale, 1.0)
    return np.where(np.isnan(error), np.inf, error)


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


def compare(problem: Problem, dys: list[np.ndarray], rng: np.random.Generator, settings: Settings) -> list[Comparison]:
    """backward of every dy against differences, input by input.  Raises whatever forward and backward raise."""
    gradients = [problem.backward(problem.inputs, dy) for dy in dys]
    here = problem.forward(problem.inputs)
    rounding = rounding_of(problem, here, rng)
    exact = problem.analytic and takes_complex(problem, here, rng, settings.step)
    return [
        _compare_input(problem, name, here, rounding, dys, [g[name] for g in gradients], rng, settings, exact)
        for name, x in problem.inputs.items()
        if x.size
    ]


def rounding_of(problem: Problem, here: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How far rounding moves each output: what is left of second differences over parts in 10¹², where any smooth
    function is a straight line."""
    rough = np.zeros(here.shape)
    for _ in range(3):
        by = {n: 1e-12 * typical_size(x) * rng.choice([-1.0, 1.0], x.shape) for n, x in problem.inputs.items()}
        with np.errstate(all="ignore"):
            up, down = (
                problem.forward({n: np.asarray(x + side * by[n]) for n, x in problem.inputs.items()})
                for side in (1, -1)
            )
            rough = np.fmax(rough, np.abs(up - 2 * here + down))
    size = np.abs(here)
    return np.maximum(ROUNDING * size, np.minimum(4 * rough, ROUGH * size.max(initial=0.0)))


def _compare_input(
    problem: Problem,
    name: str,
    here: np.ndarray,
    rounding: np.ndarray,
    dys: list[np.ndarray],
    gradients: list[Any],
    rng: np.random.Generator,
    settings: Settings,
    exact: bool,
) -> Comparison:
    x, weights = problem.inputs[name], np.stack([dy.ravel() for dy in dys], 1)
    grads = [np.asarray(g, np.float64) for g in gradients]
    probes = probes_of(name, x, settings.elements, rng, settings.directions)
    sizes = [p.size(x, typical_size(x)) for p in probes]
    noise = np.sqrt(np.square(rounding.ravel()) @ np.square(weights))
    with np.errstate(all="ignore"):
        numeric = np.stack(
            [
                complex_step(problem, p) @ weights
                if exact
                else central(problem, p, settings.step * s).ravel() @ weights
                for p, s in zip(probes, sizes)
            ]
        )
    step = np.array([COMPLEX_STEP if exact else settings.step * s for s in sizes])
    found = Comparison(
        name,
        probes,
        np.array([[p.component(g) for g in grads] for p in probes]),
        numeric,
        noise / (np.ones_like(step) if exact else step)[:, None],
        np.array([np.abs(g).max(initial=0.0) for g in grads]),
        step,
        np.zeros(len(probes), bool),
        settings.tolerance,
        grads,
    )
    found.largest = np.maximum(found.largest, _largest_slope(found))
    found.largest = np.maximum(
        found.largest, 1e-3 * found.largest.max(initial=0.0)
    )  # a row of the Jacobian may be 1e-25
    for j in np.flatnonzero((found.errors() > settings.tolerance).any(axis=1)).tolist():
        _try_other_steps(problem, found, j, here, weights, settings, sizes[j], noise)
    return found


def _largest_slope(c: Comparison) -> np.ndarray:
    single = [abs(n) for p, n in zip(c.probes, c.numeric) if p.direction is None]
    largest = np.max(single, axis=0) if single else np.zeros(c.numeric.shape[1])
    return np.where(np.isfinite(largest), largest, 0.0)


def _try_other_steps(
    problem: Problem,
    c: Comparison,
    j: int,
    here: np.ndarray,
    weights: np.ndarray,
    settings: Settings,
    size: float,
    rounding: np.ndarray,
) -> None:
    """Another step may agree (keep it); if none does and the last still has two different sides, it is a kink."""
    best = c.errors()[j].max()
    bends: list[np.ndarray] = []
    for shrink in (1.0, 0.1, 0.01, 10.0):
        h = settings.step * shrink * size
        with np.errstate(all="ignore"):
            up, down = (problem.forward(c.probes[j].moved(problem.inputs, by)) for by in (h, -h))
            slope = ((up - down).ravel() / (2 * h)) @ weights
            bend = ((up - 2 * here + down).ravel() / h) @ weights
        noise = rounding / h  # of the slope
        error = relative_errors(c.analytic[j], slope, noise, c.largest, c.tolerance).max()
        if error < best or not np.isfinite(c.numeric[j]).all():
            best, c.numeric[j], c.noise[j], c.step[j] = error, slope, noise, h
        if error <= settings.tolerance:
            return
        if shrink < 1:
            bends.append(bend)
            sides = (float(slope[0] - bend[0] / 2), float(slope[0] + bend[0] / 2))
            floor = 1e-2 * np.abs(slope) + 4 * noise
    wrong = relative_errors(c.analytic[j], c.numeric[j], c.noise[j], c.largest, c.tolerance) > c.tolerance
    # a corner bends by the same amount at every step; a curve's bend shrinks with it
    corner = (np.abs(bends[1]) > 0.3 * np.abs(bends[0])) & (np.abs(bends[1]) > floor)
    c.kink[j] = bool(corner[wrong].all())
    if c.kink[j]:
        c.one_sided[j] = sides


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


def worst_elements(c: Comparison, count: int = 5) -> Iterator[tuple[Probe, float, float, float]]:
    """(probe, analytic, numeric, error) of the worst single elements along the random dy, worst first."""
    error = c.errors()[:, 0]
    for j in np.argsort(-error, kind="stable")[:count]:
        if error[j] > 0 and c.probes[j].direction is None:
            yield c.probes[j], float(c.analytic[j, 0]), float(c.numeric[j, 0]), float(error[j])
