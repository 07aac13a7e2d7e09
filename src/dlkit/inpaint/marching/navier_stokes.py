"""Means along the isophotes, by Numba; the method "navier-stokes" gives the formula."""

# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np
from numba import prange

from dlkit.inpaint.marching.front import March
from dlkit.inpaint.method import Job
from dlkit.jit import jit, kernel, renamed


def march(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """As the method "navier-stokes"."""
    front = March.into(image, hole, job, outward=False)
    rows, columns, steps = front.disc()
    near = np.zeros(front.known.size, np.bool_)
    reach(front.order, steps, near)
    places = np.flatnonzero(near)
    slot = np.zeros(near.size, np.uint32)
    slot[places] = np.arange(places.size, dtype=np.uint32)
    state = np.zeros((places.size, image.shape[2], 4), np.float32)
    start(16 * state.size, places, front.pixels, front.known, front.stride, state)
    square = rows * rows + columns * columns
    to_row, to_column = ((x / np.sqrt(square)).astype(np.float32) for x in (rows, columns))
    weight = (1 / (1 + square * square)).astype(np.float32)
    fill = fill_of[image.shape[2]]
    for part in front.chunks(job):
        fill(part, front.pixels, front.known, near, front.stride, slot, state, steps, to_row, to_column, weight)
    return front.image(image.shape)


@jit
def reach(order, steps, near):
    """near = within the disc of a pixel of the hole"""
    for p in order:
        near[p] = True
        for step in steps:
            near[p + step] = True


@kernel
def start(places, pixels, known, stride, state):
    """state [slot, C, 4] of the known pixels: see `observe`"""
    for s in prange(places.size):
        if known[places[s]]:
            observe(pixels, known, places[s], stride, state, s)


@jit
def observe(pixels, known, q, stride, state, s):
    """For each channel q's brightness, the sum of its |differences| down and across, and 1 over their length.

    A missing neighbour counts as the one on the other side.
    """
    q = np.uintp(q)
    up, below, down_scale = both(known, q, np.uintp(stride))
    left, right, across_scale = both(known, q, np.uintp(1))
    for c in range(pixels.shape[1]):
        here = pixels[q, c]
        down = down_scale * (abs(here - pixels[up, c]) + abs(pixels[below, c] - here))
        across = across_scale * (abs(here - pixels[left, c]) + abs(pixels[right, c] - here))
        state[s, c, 0], state[s, c, 1], state[s, c, 2] = here, down, across
        state[s, c, 3] = np.float32(1) / np.sqrt(max(down * down + across * across, np.float32(1e-20)))


@jit
def both(known, q, step):
    """(the neighbour before or q, the neighbour after or q, 1 or for a missing one 2)"""
    before, after = q - step, q + step
    if known[before]:
        return (before, after, np.float32(1)) if known[after] else (before, q, np.float32(2))
    return q, after if known[after] else q, np.float32(2)


@jit
def weigh(state, s, c, to_row, to_column, weight):
    along = abs(to_row * state[s, c, 2] - to_column * state[s, c, 1])  # isophotes stand at right angles to the gradient
    return weight * (along * state[s, c, 3] if along > np.float32(0.01) else np.float32(1e-6))


C = 3  # replaced: the loop is compiled for grey and for RGB, its sums in registers


def _fill(order, pixels, known, near, stride, slot, state, steps, to_row, to_column, weight):
    least = np.float32(1e-20)
    for p in order:
        t0, t1, t2 = np.float32(0), np.float32(0), np.float32(0)
        w0, w1, w2 = least, least, least
        for k in range(steps.size):
            q = np.uintp(p + steps[k])
            if known[q] == 0:
                continue
            s = slot[q]
            w = weigh(state, s, 0, to_row[k], to_column[k], weight[k])
            t0, w0 = t0 + w * state[s, 0, 0], w0 + w
            if C == 3:
                w = weigh(state, s, 1, to_row[k], to_column[k], weight[k])
                t1, w1 = t1 + w * state[s, 1, 0], w1 + w
                w = weigh(state, s, 2, to_row[k], to_column[k], weight[k])
                t2, w2 = t2 + w * state[s, 2, 0], w2 + w
        known[p] = 1
        pixels[p, 0] = t0 / w0
        if C == 3:
            pixels[p, 1], pixels[p, 2] = t1 / w1, t2 / w2
        for q in (p, p - stride, p - 1, p + 1, p + stride):  # whose variation this has changed
            if known[q] and near[q]:
                observe(pixels, known, q, stride, state, slot[q])


fill_of = {channels: jit(renamed(_fill, f"fill_{channels}", _fill, C=channels)) for channels in (1, 3)}
