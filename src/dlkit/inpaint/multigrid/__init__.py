"""The smooth surface in a hole: A u = 0 at the hole's pixels, A = L (harmonic) or L² (biharmonic), L the Laplacian.

Unknown are the hole's pixels alone, numbered row by row; the known ones go to the right-hand side. Solved by conjugate
gradients, for all channels at once, whose preconditioner is one V-cycle of multigrid:

    smoother    Chebyshev's polynomial in D⁻¹A: no order of pixels, so any number of threads gives the same bits
    coarse grid squares of 2×2 cells. A hole's cell is kept where it has at most one known pixel: along thin strokes the
                smoother is enough, and scattered pixels make no coarse grid at all
    transfer    P, weights 3/4 and 1/4 each way (Chaikin's subdivision: what it makes of a coarse value is a quadratic
                B-spline, smooth enough for L²), and Pᵀ
    operator    Pᵀ A P (Galerkin), again at most 5×5 weights a cell: any hole, any number of levels

A 12-megapixel photo with a hole of a tenth takes a dozen cycles, the same number as a small one.

Source : Trottenberg, Oosterlee & Schüller 2001, Multigrid, ch. 8; Adams, Brezina, Hu & Tuminaro 2003 for the smoother.

    stencil   A's weights, also at the image's edges        loops    what Numba compiles
    levels    the hierarchy of grids                        cg       conjugate gradients
"""

from dlkit.inpaint.multigrid.cg import solve

__all__ = ["solve"]
