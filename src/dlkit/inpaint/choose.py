"""Method "auto": which method suits this hole, and why."""

from __future__ import annotations

import numpy as np

from dlkit.inpaint.mask import distance
from dlkit.inpaint.method import METHODS, Job

THIN = 6.0  # pixels: no point of a stroke, scratch or letter lies deeper than that inside the hole
SCATTERED = 2.0  # pixels: 99 % of the hole lies no deeper; single pixels and small clusters


def choose(hole: np.ndarray, job: Job) -> tuple[str, str]:
    """(name of a registered method, the reason in words) for a hole that is neither empty nor everything.

    A network that the user trained on such photos knows more than any rule. Thin holes are continued from both sides,
    by similar patches of the same photo where there is time, else smoothly. A deep hole's inside is far from anything
    known: only exemplars put texture there, a smooth filling is a blur.
    """
    kind, words = shape_of(hole)
    wanted: tuple[str, ...] = {
        "scattered": ("nonlocal", "biharmonic", "harmonic"),
        "thin": ("nonlocal", "biharmonic", "telea"),
        "compact": ("patchmatch", "navier-stokes", "harmonic"),
    }[kind]
    if job.weights:
        wanted = ("net", *wanted)
    for name in wanted:
        if name in METHODS:
            return name, words
    return METHODS.names()[0], words


def shape_of(hole: np.ndarray) -> tuple[str, str]:
    """("scattered" | "thin" | "compact", in words)"""
    depth = distance(hole)[hole]
    deepest, typical = float(depth.max()), float(np.quantile(depth, 0.99))
    if typical <= SCATTERED:
        return "scattered", f"scattered pixels, {typical:.0f} from known ones"
    if deepest <= THIN:
        return "thin", f"thin strokes, at most {deepest:.0f} pixels deep"
    return "compact", f"a hole {deepest:.0f} pixels deep"
