"""Navier-Stokes filling: from the edge inwards along the lines of equal brightness."""

# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np

from dlkit.inpaint.marching import FAR, March
from dlkit.inpaint.method import Job, method
from dlkit.jit import jit


@method(
    "navier-stokes",
    source="Bertalmio, Bertozzi & Sapiro 2001, CVPR; marched through the hole in one pass, as OpenCV's INPAINT_NS",
    margin=5,
)
def navier_stokes(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """Isophotes run on into the hole: known pixels weighted by nearness and by how their isophote points here.

    Bertalmio et al. let brightness flow like a fluid, with the isophotes as stream lines, until it is steady. In one
    pass by fast marching: a pixel p is the mean of the known q within 3 pixels, with weights
    |cos of the angle between q - p and q's isophote| / (1 + |q - p|⁴), each channel for itself.
    """
    front = March.into(image, hole)
    rows, columns, steps = front.disc()
    square = (rows * rows + columns * columns).astype(np.float32)
    weight = 1 / (1 + square * square)
    near = np.flatnonzero(front.time < FAR)  # all that lies within the disc of a pixel of the hole, and the hole
    slot = np.full(front.time.size, -1, np.int32)
    slot[near] = np.arange(near.size, dtype=np.int32)
    state = np.zeros((near.size, image.shape[2], 4), np.float32)
    start(near, front.pixels, front.known, front.stride, state)
    along = (rows / np.sqrt(square)).astype(np.float32), (columns / np.sqrt(square)).astype(np.float32)
    for part in front.chunks(job):
        fill(part, front.pixels, front.known, front.stride, slot, state, steps, *along, weight)
    return front.image(image.shape)


@jit
def start(near, pixels, known, stride, state):
    for s in range(near.size):
        if known[near[s]]:
            for c in range(pixels.shape[1]):
                observe(pixels, known, near[s], stride, c, state[s, c])


@jit
def observe(pixels, known, q, stride, c, out):
    """out = brightness of q, its variation down and across, and 1 over their length"""
    down, across = variation(pixels, known, q, stride, c), variation(pixels, known, q, 1, c)
    out[0], out[1], out[2] = pixels[q, c], down, across
    out[3] = 1 / np.sqrt(max(down * down + across * across, np.float32(1e-20)))


@jit
def fill(order, pixels, known, stride, slot, state, steps, rows, columns, weight):
    """rows, columns : of the unit vectors to the disc's pixels"""
    channels = pixels.shape[1]
    total, sum_of_weights = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
    for p in order:
        total[:], sum_of_weights[:] = 0, 1e-20
        for k in range(steps.size):
            q = p + steps[k]
            if known[q] == 0:
                continue
            s = slot[q]
            for c in range(channels):
                # isophotes stand at right angles to the gradient
                along = abs(rows[k] * state[s, c, 2] - columns[k] * state[s, c, 1])
                w = weight[k] * (along * state[s, c, 3] if along > np.float32(0.01) else np.float32(1e-6))
                total[c] += w * state[s, c, 0]
                sum_of_weights[c] += w
        known[p] = 1
        for c in range(channels):
            pixels[p, c] = total[c] / sum_of_weights[c]
        for q in (p, p - stride, p - 1, p + 1, p + stride):  # whose variation this has changed
            if known[q] and slot[q] >= 0:
                for c in range(channels):
                    observe(pixels, known, q, stride, c, state[slot[q], c])


@jit
def variation(pixels, known, q, step, c):
    """Σ |differences| along one axis to both neighbours; a missing one counts as the other"""
    here = pixels[q, c]
    if known[q + step]:
        after = abs(pixels[q + step, c] - here)
        return after + abs(here - pixels[q - step, c]) if known[q - step] else 2 * after
    return 2 * abs(here - pixels[q - step, c]) if known[q - step] else np.float32(0)
