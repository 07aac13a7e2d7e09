"""Conjugate gradients, preconditioned by a V-cycle, on all channels at once."""

from __future__ import annotations

import math

import numpy as np

from dlkit.inpaint.method import Job
from dlkit.inpaint.multigrid.levels import Hierarchy

TOLERANCE = {"fast": 4e-3, "normal": 2e-3, "best": 1e-5}  # how far a pixel may be from the solution; 0..1
MOST_STEPS = 200


def solve(image: np.ndarray, hole: np.ndarray, power: int, job: Job) -> np.ndarray:
    """float32 [H, W, C]: `image` with L**power u = 0 at the hole's pixels; power 1 harmonic, 2 biharmonic.

    image : float32 [H, W, C], 0 in the hole        hole : bool [H, W]
    Stops when no pixel is likely to move by more than TOLERANCE any more, or at the deadline with what there is.
    """
    grids = Hierarchy(hole, image.shape[2], power)
    top = grids.levels[0]
    u, r, q = np.zeros_like(top.b), np.zeros(top.b.shape), np.empty(top.b.shape)
    result = np.array(image, np.float32, order="C")
    top.set(means_of_squares(top.sums(result, hole)), result)  # a first guess, worth a step or two
    p = top.read(result)
    top.product(p, q)
    none = np.zeros(image.shape[2])
    top.step(u, r, p, q, none + 1)  # r = b = -A result
    u.fill(0)
    p.fill(0)
    old, tolerance, steps = none, TOLERANCE[job.quality], []
    for _ in range(MOST_STEPS):
        grids.cycle()
        new = top.dot(r)
        top.turn(p, ratio(new, old))
        alpha = ratio(new, top.product(p, q))
        steps.append(top.step(u, r, p, q, alpha))
        left = still_to_come(steps)
        if left <= tolerance or job.expired():
            break
        old = new
        if left < math.inf:
            job.progress(1 - math.log(left / tolerance) / math.log(max(steps[0], 2 * tolerance) / tolerance))
    top.add(u, result)
    return result


def means_of_squares(sums: np.ndarray) -> np.ndarray:
    """float32 [..., C]: of sums and a count [..., C + 1] each square's mean; where the count is 0, the mean of all."""
    total, counts = sums.sum(axis=(0, 1), dtype=np.float64), sums[..., -1:]
    return np.where(counts > 0, sums[..., :-1] / np.maximum(counts, 1), total[:-1] / total[-1]).astype(np.float32)


def still_to_come(steps: list[float]) -> float:
    """The sum of all further steps if they go on to shrink as the last three did, at the slower rate. Where one of these
    grew (holes open to one side, in narrow images), a small one after it says nothing: as much as the largest of them."""
    if len(steps) < 3:
        return math.inf if steps[-1] > 0 else 0.0
    rate = max(steps[-1] / steps[-2], steps[-2] / steps[-3])
    return steps[-1] * rate / (1 - rate) if rate < 1 else max(steps[-3:])


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, 0 where b is: a channel that is solved already"""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)
