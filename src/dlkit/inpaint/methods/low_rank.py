"""Non-local filling: similar patches of a photo, laid under each other, make a matrix of low rank."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dlkit.errors import DataError
from dlkit.inpaint.mask import box_of, distance
from dlkit.inpaint.method import Job, method
from dlkit.inpaint.methods.patchmatch import patchmatch
from dlkit.inpaint.multigrid import solve

ROUNDS = {"fast": 12, "normal": 24, "best": 48}
NOISE = 0.1, 0.008  # what counts as noise in the first round and in the last; 0..1
STEP = 1.5  # how far a round goes: past the new value, which saves rounds
START = 0.05  # share of the time that the start is taken to need
MARGIN = 32  # pixels around the hole's box; groups see up to 25
THIN = 2.0  # pixels: up to this depth the biharmonic filling is the best guess
WIDE = 6.0  # pixels: a hole deeper than this has a middle without known pixels within reach of a group
FOUND = 0.5  # there, the share of what patches found anywhere in the photo say


@method(
    "nonlocal",
    source="Zhang, Zhao & Gao 2014, IEEE Trans. Image Process. 23(8), group-based sparse representation",
    pace=60.0,
    takes=("iterations",),
)
def nonlocal_(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """What is alike elsewhere decides: groups of similar patches, made simple, again and again. Thin or scattered holes.

    From a smooth filling on, each round groups every patch that touches the hole with those around it that are
    most like it, drops the group's singular values below a threshold, and puts what is left back into the hole, averaged
    over all patches that cover a pixel. The threshold falls from round to round: first only what all have in
    common survives, at last the detail. Wide holes, where that leaves a blur, get the mean with the filling of "patchmatch".
    """
    depth = distance(hole)
    if depth.max() <= WIDE:
        return low_rank(image, hole, job)
    simple = low_rank(image, hole, replace(job, progress=lambda fraction: job.progress(0.6 * fraction)))
    if job.expired():
        return simple
    try:
        found = patchmatch(image, hole, replace(job, progress=lambda fraction: job.progress(0.6 + 0.4 * fraction)))
    except DataError:  # no whole patch is left to copy
        return simple
    share = FOUND * np.clip(depth / THIN - 1, 0, 1)[..., None].astype(np.float32)
    return (1 - share) * simple + share * found


def low_rank(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """float32 [H, W, C]: all rounds, or those that there is time for, in the hole's box and a margin."""
    box = box_of(hole, MARGIN)
    filled = image.copy()
    filled[box] = all_rounds(np.ascontiguousarray(image[box]), np.ascontiguousarray(hole[box]), job)
    return filled


def all_rounds(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    filled = start(image, hole, replace(job, progress=lambda fraction: job.progress(START * fraction)))
    from dlkit.inpaint.groups import Grouping  # compiled; where it is missing, so is what `start` needs, which says so

    rounds = job.iterations or ROUNDS[job.quality]
    grouping = Grouping(hole)
    for turn, noise in enumerate(np.geomspace(*NOISE, rounds)):
        for fraction in grouping.round(filled, noise, turn):
            job.progress(START + (1 - START) * (turn + fraction) / rounds)
            if job.expired():
                return filled
        new = grouping.mean(filled)
        filled[hole] = (filled[hole] + STEP * (new[hole] - filled[hole])).clip(0, 1)
    return filled


def start(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """Biharmonic near the edge of the hole; further in, where it may overshoot, the mean with the harmonic filling."""
    filled = solve(image, hole, 2, job)
    depth = distance(hole)
    if depth.max() > THIN:
        half = np.clip((depth - THIN) / THIN, 0, 1)[..., None] / 2
        filled = (1 - half) * filled + half * solve(image, hole, 1, job)
    return filled.clip(0, 1).astype(np.float32)
