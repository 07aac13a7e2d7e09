"""Biharmonic filling: values and slopes of the known pixels continued into the hole."""

from __future__ import annotations

import numpy as np

from dlkit.inpaint.method import Job, method
from dlkit.inpaint.multigrid import solve


@method("biharmonic", source="Damelin & Hoang 2018, Int. J. Math. Math. Sci., doi:10.1155/2018/3950312", margin=2)
def biharmonic(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """A thin plate over the hole, bent as little as possible: edges and slopes go on.

    L² u = 0 at the hole's pixels, which minimises Σ (L u)² over the whole image. Good for thin and scattered holes; in a
    deep one it may overshoot.
    """
    return solve(image, hole, 2, job)
