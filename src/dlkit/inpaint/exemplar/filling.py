"""From the first guess on the coarsest scale to the whole photo."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation

from dlkit.errors import DataError
from dlkit.inpaint.exemplar import loops
from dlkit.inpaint.exemplar.levels import Level, pyramid
from dlkit.inpaint.exemplar.matches import Matches
from dlkit.inpaint.method import Job
from dlkit.inpaint.multigrid import solve

ROUNDS = {"fast": (6, 2), "normal": (12, 4), "best": (24, 8)}  # of matching and voting: coarsest level, finest
CLEARLY = 0.6  # of the costs: then the coarser beginning is the better one
FILM = 0.1  # of a harmonic film through the hole's edge in the result: 0.4 dB nearer to the truth, and hardly seen
COMPARISONS = 40_000_000  # of patches, at most, for its first filling


def put_together(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """As the method "patchmatch"."""
    levels = pyramid(image, hole, job)
    if not levels[0].whole.any():
        raise DataError("patchmatch found no known square of 7×7 pixels to copy; try --method nonlocal or biharmonic")
    turns = [job.iterations or round(n) for n in np.linspace(*ROUNDS[job.quality], len(levels))]
    second = max((k for k, level in enumerate(levels) if level.modest()), default=0)
    again = [Level(levels[second].layers.copy(), levels[second].hole)] if second else []
    work = sum(n * len(level.centres) for n, level in zip(turns + turns[second : second + 1], levels + again))
    done = 0

    def climb(matches: Matches, turns: list[int], levels: list[Level]) -> Matches:
        """From `matches` on the first of these levels up to the last."""
        nonlocal done
        for level, n in zip(levels, turns, strict=True):
            if job.expired():
                break
            if level is not matches.level:
                matches = matches.finer(level, job.rng)
                matches.vote()
            for turn in range(n):
                if not matches.improve(job):
                    break
                matches.vote(sharp=len(level.hole) == len(hole) and turn == n - 1)
                done += len(level.centres)
                job.progress(done / max(work, 1))
        return matches

    matches = climb(peeled(levels[0], job), turns[: second + 1], levels[: second + 1])
    if again and not job.expired():
        finer = climb(peeled(again[0], job), turns[second : second + 1], again)
        if matches.cost.sum() > CLEARLY * finer.cost.sum() and not job.expired():  # cut short it has holes of its own
            matches = finer
    matches = climb(matches, [0, *turns[second + 1 :]], [matches.level, *levels[second + 1 :]])
    filled = matches.level.layers[..., : image.shape[2]]
    if len(filled) < len(image):  # the time ran out on the way up
        return enlarged_to(hole.shape, filled)
    return filled if job.expired() else (1 - FILM) * filled + FILM * solve(image, hole, 1, job.silent())


def enlarged_to(shape: tuple[int, ...], image: np.ndarray) -> np.ndarray:
    """[H, W, C] as large as the finest level: each pixel becomes those that it was halved from."""
    while len(image) < shape[0]:
        image = image.repeat(2, axis=0).repeat(2, axis=1)
    return image[: shape[0], : shape[1]]


def peeled(level: Level, job: Job) -> Matches:
    """Fills a level from its edge inwards, and begins with what that found."""
    known = ~level.hole
    candidates = some(np.argwhere(level.whole), max(COMPARISONS // len(level.pixels), 1), job.rng)
    matches = Matches.anywhere(level, job.rng)
    while not known.all() and not job.expired():
        ring = np.argwhere(binary_dilation(known, np.ones((3, 3))) & ~known)
        found = np.empty_like(ring)
        loops.peel(level.layers, known, ring, candidates, found)
        level.layers[tuple(ring.T)] = level.layers[tuple(found.T)]
        known[tuple(ring.T)] = True
        n = level.index[tuple(ring.T)]
        matches.found[n[n >= 0]] = found[n >= 0]
    matches.measure()
    return matches


def some(places: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """All of them, or as many at random."""
    return places if len(places) <= most else places[np.sort(rng.choice(len(places), most, replace=False))]
