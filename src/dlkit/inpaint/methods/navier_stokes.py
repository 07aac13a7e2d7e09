"""Navier-Stokes filling: from the edge inwards along the lines of equal brightness."""

from __future__ import annotations

import numpy as np

from dlkit.inpaint.method import Job, method


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
    from dlkit.inpaint.marching import navier_stokes  # Numba: a quarter of a second

    return navier_stokes.march(image, hole, job)
