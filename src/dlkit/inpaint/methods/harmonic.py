"""Harmonic filling: Laplace's equation inside the hole, the known pixels at its edge as boundary values."""

from __future__ import annotations

import numpy as np

from dlkit.inpaint.method import Job, method
from dlkit.inpaint.multigrid import solve


@method("harmonic", source="Chan & Shen 2002, SIAM J. Appl. Math. 62(3), the harmonic model", margin=1)
def harmonic(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """A soap film over the hole: each pixel is the mean of its neighbours.

    L u = 0 at the hole's pixels, L the Laplacian of the pixel grid. Continuous at the edge of the hole, never above or
    below the known values; no slopes are continued.
    """
    return solve(image, hole, 1, job)
