"""Conjugate gradients, preconditioned by a V-cycle, on all channels at once."""

from __future__ import annotations

import math

import numpy as np

from dlkit.inpaint.method import Job
from dlkit.inpaint.multigrid import loops
from dlkit.inpaint.multigrid.levels import Hierarchy, image_in_places

TOLERANCE = {"fast": 4e-3, "normal": 1e-3, "best": 1e-5}  # largest change of a pixel in a step; 0..1
MOST_STEPS = 200


def solve(image: np.ndarray, hole: np.ndarray, power: int, job: Job) -> np.ndarray:
    """float64 [H, W, C]: `image` with L**power u = 0 at the hole's pixels; power 1 harmonic, 2 biharmonic.

    image : float32 [H, W, C], 0 in the hole        hole : bool [H, W]
    Stops when no pixel moved by more than TOLERANCE, or at the deadline with what there is.
    """
    grids = Hierarchy(hole, image.shape[2], power)
    top = grids.levels[0]
    n, work = top.place.size, top.work
    shape = n + 1, image.shape[2]
    x, r, p, q = (np.zeros(shape) for _ in range(4))
    weights = top.weights.astype(np.float64)
    operator = top.place, top.index, top.offsets, top.kind, weights
    loops.right_hand_side(work, image_in_places(image), *operator, r)
    nothing, moved, old = np.zeros(shape), np.zeros(-(-n // loops.BLOCK)), np.ones(image.shape[2])
    tolerance, first = TOLERANCE[job.quality], 0.0
    for count in range(MOST_STEPS):
        z = grids.cycle(r)
        new = dot(r, z, n)
        loops.turn(n, p, z, new / old if count else np.zeros_like(new), n)
        loops.residual[image.shape[2]](work, p, nothing, q, *operator)  # q = -A p
        curvature = -dot(p, q, n)
        alpha = np.divide(new, curvature, out=np.zeros_like(new), where=curvature > 0)
        loops.step(n, x, r, p, q, alpha, n, moved)
        old = np.where(new > 0, new, 1.0)
        largest = float(moved.max())
        first = first or largest
        if largest <= tolerance or job.expired():
            break
        job.progress(
            1 - math.log(max(largest, tolerance) / tolerance) / math.log(max(first, 2 * tolerance) / tolerance)
        )
    result = image.astype(np.float64)
    result[hole] = x[:n]
    return result


def dot(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """[C], float64; the same for any number of threads"""
    parts = np.empty((-(-n // loops.BLOCK), a.shape[1]))
    loops.dot(n, a, b, n, parts)
    return parts.sum(axis=0)
