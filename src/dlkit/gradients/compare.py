"""Backward against differences, element by element.

A probe that disagrees is tried again with other steps, because a ReLU or a max that changes sides within the step bends the
difference; a wrong gradient stays wrong. Where the two one-sided differences disagree by the same amount however small
the step, the probe lies on a kink, says nothing, and is left out and counted.

Errors are |analytic - numeric| relative to the larger of the two, or to a thousandth of the largest gradient of the input
where both are small: tiny gradients cannot hide. Where rounding could decide, what it explains is subtracted first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlkit.gradients.numeric import Point, Probe, Problem, Settings, probes_of, typical_size

OTHER_STEPS = (0.1, 0.01, 10.0, 100.0)  # times the usual one
ROW = 1e-3  # of the largest: a row of the Jacobian that is all but zero is compared with the others' size


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


def compare(problem: Problem, dys: list[np.ndarray], rng: np.random.Generator, settings: Settings) -> list[Comparison]:
    """backward of every dy against differences, input by input.  Raises whatever forward and backward raise."""
    gradients = [problem.backward(problem.inputs, dy) for dy in dys]
    with np.errstate(all="ignore"):
        point = Point(problem, dys, rng, settings.step)
        return [
            _compare_input(point, name, [np.asarray(g[name], np.float64) for g in gradients], rng, settings)
            for name, x in problem.inputs.items()
            if x.size
        ]


def _compare_input(
    point: Point, name: str, gradients: list[np.ndarray], rng: np.random.Generator, settings: Settings
) -> Comparison:
    x = point.problem.inputs[name]
    probes = probes_of(name, x, settings.elements, rng, settings.directions)
    sizes = [p.size(x, typical_size(x)) for p in probes]
    numeric, noise, step = zip(*(point.slope(p, settings.step * size) for p, size in zip(probes, sizes)))
    found = Comparison(
        name,
        probes,
        np.array([[p.component(g) for g in gradients] for p in probes]),
        np.stack(numeric),
        np.stack(noise),
        np.array([np.abs(g).max(initial=0.0) for g in gradients]),
        np.array(step),
        np.zeros(len(probes), bool),
        settings.tolerance,
        gradients,
    )
    found.largest = np.maximum(found.largest, _largest_slope(found))
    found.largest = np.maximum(found.largest, ROW * found.largest.max(initial=0.0))
    for j in np.flatnonzero((found.errors() > settings.tolerance).any(axis=1)).tolist():
        _try_other_steps(point, found, j, settings.step * sizes[j])
    return found


def _largest_slope(c: Comparison) -> np.ndarray:
    single = [abs(n) for p, n in zip(c.probes, c.numeric) if p.direction is None]
    largest = np.max(single, axis=0) if single else np.zeros(c.numeric.shape[1])
    return np.where(np.isfinite(largest), largest, 0.0)


def _try_other_steps(point: Point, c: Comparison, j: int, usual: float) -> None:
    """Another step may agree (keep it). If none does and the two sides differ at the small steps alike, it is a kink."""
    best = c.errors()[j].max()
    bends, floor = [], np.zeros(0)
    for h in (usual, *(usual * factor for factor in OTHER_STEPS)):
        before, behind = point.sides(c.probes[j], h)
        slope, noise = (before + behind) / 2, point.noise / h
        error = relative_errors(c.analytic[j], slope, noise, c.largest, c.tolerance).max()
        if error < best or not np.isfinite(c.numeric[j]).all():
            best, c.numeric[j], c.noise[j], c.step[j] = error, slope, noise, h
        if error <= c.tolerance:
            return
        if h < usual:
            bends.append(np.abs(behind - before))
            sides, floor = (float(before[0]), float(behind[0])), 1e-2 * np.abs(slope) + 4 * noise
    wrong = relative_errors(c.analytic[j], c.numeric[j], c.noise[j], c.largest, c.tolerance) > c.tolerance
    # a corner bends by the same amount at every step; a curve's bend shrinks with it
    corner = (bends[1] > 0.3 * bends[0]) & (bends[1] > floor)
    c.kink[j] = bool(corner[wrong].all())
    if c.kink[j]:
        c.one_sided[j] = sides


def worst_elements(c: Comparison, count: int = 5) -> Iterator[tuple[Probe, float, float, float]]:
    """(probe, analytic, numeric, error) of the worst single elements along the random dy, worst first."""
    error = c.errors()[:, 0]
    for j in np.argsort(-error, kind="stable")[:count]:
        if error[j] > 0 and c.probes[j].direction is None:
            yield c.probes[j], float(c.analytic[j, 0]), float(c.numeric[j, 0]), float(error[j])
