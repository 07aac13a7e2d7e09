"""Method "auto": which method suits this hole, and why."""

from __future__ import annotations

import numpy as np

from dlkit.inpaint.mask import distance
from dlkit.inpaint.method import METHODS, Job

SCATTERED = 2.0  # pixels: 99 % of the hole lies no deeper: single pixels and small clusters
THIN = 6.0  # pixels: nothing lies deeper: letters, scratches
WIDE = 48.0  # pixels: deeper than that a film from both sides says nothing
LONG = 5.5  # times as large as a disc of its depth: a stroke of a brush, not a hole

# For each shape the best method first; one that the time does not allow is passed over. The last ones are always to be
# had and fast.
BEST = {
    # Every unknown pixel has known ones beside it. Similar patches of the photo average the noise out; without them a
    # plate through the known values is nearest to the truth.
    "scattered": ("nonlocal", "biharmonic", "harmonic"),
    # Edges run into the hole from both sides: patches know how they go on, a plate continues their slope.
    "thin": ("nonlocal", "biharmonic", "harmonic"),
    # Too deep for slopes, which overshoot: groups of patches from a start that is half a film, and half of it patches found
    # elsewhere, against the blur. A film alone comes near.
    "wide": ("nonlocal", "harmonic"),
    # Far from anything known a smooth filling is a blur: only patches look like the photo. Lines that run on look less
    # wrong than a film.
    "deep": ("patchmatch", "navier-stokes", "harmonic"),
}


def choose(hole: np.ndarray, job: Job) -> tuple[str, str]:
    """(name of a registered method, the reason in words) for a hole that is neither empty nor everything."""
    shape, words = shape_of(hole)
    if job.weights:
        return METHODS["net"].name, f"{words}, by the network given"
    registered = [METHODS[name] for name in BEST[shape] if name in METHODS]
    known = [method for method in registered if has_known_square(hole, method.square)]
    if known[0] is not registered[0]:
        words += f"; no known square for {registered[0].name}"
    work = touched(hole) / 1e6 * 2 / job.threads
    chosen = next((method for method in known if method.pace * work < job.remaining()), known[-1])
    if chosen is not known[0]:
        words += f"; no time for {known[0].name}"
    return chosen.name, words


def touched(hole: np.ndarray) -> int:
    """Pixels of all squares of 8×8 that have one of the hole."""
    rows, columns = (np.arange(0, n, 8) for n in hole.shape)
    return 64 * int(
        np.count_nonzero(np.logical_or.reduceat(np.logical_or.reduceat(hole, rows, axis=0), columns, axis=1))
    )


def has_known_square(hole: np.ndarray, side: int) -> bool:
    """Whether a square of so many pixels a side has none of the hole."""
    known = ~hole
    for _ in range(2):  # along the rows, then along the columns
        places = len(known) - side + 1
        if places < 1:
            return False
        rows = known[:places].copy()
        for k in range(1, side):
            rows &= known[k : k + places]
        known = rows.T
    return bool(known.any())


def shape_of(hole: np.ndarray) -> tuple[str, str]:
    """(a key of BEST, in words)"""
    depth = distance(hole)[hole]
    deepest, most = float(depth.max()), float(np.quantile(depth, 0.99))
    if most <= SCATTERED:
        return "scattered", "scattered pixels or fine lines"
    if deepest <= THIN:
        return "thin", f"thin strokes, at most {deepest:.0f} pixels deep"
    if deepest <= WIDE and is_long(hole, deepest):
        return "wide", f"wide strokes, {deepest:.0f} pixels deep"
    return "deep", f"a hole {deepest:.0f} pixels deep"


def is_long(hole: np.ndarray, deepest: float) -> bool:
    """Whether the hole, or the largest of several, is a stroke: much larger than a disc of its depth."""
    from scipy.ndimage import label

    parts, _ = label(hole)
    return np.bincount(parts[hole]).max() > LONG * np.pi * deepest**2
