"""The smooth surface in a hole: A u = 0 at the hole's pixels, A = L (harmonic) or L² (biharmonic), L the Laplacian.

Unknown are the hole's pixels alone, kept in rows of eight; the known ones go to the right-hand side. Solved by conjugate
gradients, for all channels at once, whose preconditioner is one V-cycle of multigrid:

    smoother    Chebyshev's polynomial in D⁻¹A: no order of pixels, so any number of threads gives the same bits
    coarse grid squares of 2×2 cells without a known one. Along the hole's edge, in thin strokes and between scattered
                pixels there are none: the smoother is enough there
    transfer    P, weights 3/4 and 1/4 each way (Chaikin's subdivision: what it makes of a coarse value is a quadratic
                B-spline, smooth enough for L²), and Pᵀ
    operator    Pᵀ A P (Galerkin), again at most 5×5 weights a cell: any hole, any number of levels

A photo of 13 megapixels with a hole of a tenth takes 8 cycles for L², one of 512×512 6.

Source : Trottenberg, Oosterlee & Schüller 2001, Multigrid, ch. 8; Adams, Brezina, Hu & Tuminaro 2003 for the smoother.

    stencil   A's weights, also at the image's edges        levels   the hierarchy of grids
    cg        conjugate gradients                           csrc/kernels/multigrid/   the loops, in C
"""

from __future__ import annotations

import numpy as np

from dlkit.errors import BackendError
from dlkit.inpaint.method import Job

__all__ = ["solve"]


def solve(image: np.ndarray, hole: np.ndarray, power: int, job: Job) -> np.ndarray:
    """As `cg.solve`.  Raises : BackendError where the compiled extension is missing; telea and navier-stokes do without."""
    try:
        from dlkit.inpaint.multigrid import cg
    except ImportError as error:
        raise BackendError(
            f"this filling needs dlkit's compiled extension ({error}); install dlkit again with a C compiler, or try"
            " --method telea or navier-stokes"
        ) from error
    return cg.solve(image, hole, power, job)
