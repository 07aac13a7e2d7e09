"""Telea's filling: from the edge inwards, each new pixel a weighted mean of the known ones around it."""

from __future__ import annotations

import numpy as np

from dlkit.inpaint.method import Job, method


@method("telea", source="Telea 2004, J. Graphics Tools 9(1), 23-34", margin=5)
def telea(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """Fast marching: known pixels weighted by nearness, direction of the front and its distance.

    A pixel p is filled with Σ w(p, q) I(q) / Σ w over the known q within 3 pixels: w = |dir · dst · lev|,
    dir = (p - q) · ∇T along the front's normal, dst = 1 / |p - q|³, lev = 1 / (1 + |T(q) - T(p)|).

    The paper adds w ∇I(q) · (p - q). That term is left out: it carries the noise of single pixels inwards and cost 0.2 dB
    in large holes for 0.1 dB gained in thin ones. (OpenCV has it with the opposite sign: 0.2 dB less in thin holes.)
    """
    from dlkit.inpaint.marching import telea  # Numba: a quarter of a second

    return telea.march(image, hole, job)
