"""Telea's weighted means, by Numba; the method "telea" gives the formula."""

# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np

from dlkit.inpaint.marching.front import March
from dlkit.inpaint.method import Job
from dlkit.jit import jit


def march(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """As the method "telea"."""
    front = March.into(image, hole, job)
    rows, columns, steps = front.disc()
    for part in front.chunks(job):
        fill(part, front.pixels, front.known, front.time, front.stride, rows, columns, steps)
    return front.image(image.shape)


@jit
def fill(order, pixels, known, time, stride, rows, columns, steps):
    total = np.zeros(pixels.shape[1])
    for p in order:
        slope_y = slope(time, known, p, stride)
        slope_x = slope(time, known, p, 1)
        total[:] = 0
        sum_of_weights = 1e-20
        for k in range(steps.size):
            q = p + steps[k]
            if known[q] == 0:
                continue
            square = float(rows[k] * rows[k] + columns[k] * columns[k])
            along = rows[k] * slope_y + columns[k] * slope_x
            if abs(along) <= 0.01:  # nothing lies along the front: sideways counts a little
                along = 1e-6
            w = abs(along / (square * np.sqrt(square)) / (1 + abs(time[q] - time[p])))
            sum_of_weights += w
            for c in range(total.size):
                total[c] += w * pixels[q, c]
        for c in range(total.size):
            pixels[p, c] = total[c] / sum_of_weights
        known[p] = 1


@jit
def slope(time, known, p, step):
    """∂T along one axis, from the cells that have been reached"""
    if known[p + step]:
        return (time[p + step] - time[p - step]) * 0.5 if known[p - step] else time[p + step] - time[p]
    return time[p] - time[p - step] if known[p - step] else np.float32(0)
