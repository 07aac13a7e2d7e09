"""Telea's filling: from the edge inwards, each new pixel a weighted mean of the known ones around it."""

# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np

from dlkit.inpaint.marching import March
from dlkit.inpaint.method import Job, method
from dlkit.jit import jit


@method("telea", source="Telea 2004, J. Graphics Tools 9(1), 23-34", margin=5)
def telea(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """Fast marching: known pixels weighted by nearness, direction of the front and its distance.

    A pixel p is filled with Σ w(p, q) I(q) / Σ w over the known q within 3 pixels: w = |dir · dst · lev|,
    dir = (p - q) · ∇T along the front's normal, dst = 1 / |p - q|³, lev = 1 / (1 + |T(q) - T(p)|).

    The paper adds w ∇I(q) · (p - q). That term is left out: it carries the noise of single pixels inwards and cost 0.2 dB
    in large holes for 0.1 dB gained in thin ones. (OpenCV has it with the opposite sign: 0.2 dB less in thin holes.)
    """
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
