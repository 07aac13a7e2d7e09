"""Exemplar filling: the hole is put together from patches of the same photo, from coarse to fine."""

from __future__ import annotations

import numpy as np

from dlkit.inpaint.method import Job, method


@method(
    "patchmatch",
    source="Wexler, Shechtman & Irani 2007; Barnes et al. 2009; Newson et al. 2014, SIAM J. Imaging Sci. 7(4)",
    pace=100.0,
    square=7,
    takes=("iterations",),
)
def patchmatch(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """Patches of the photo itself, chosen to fit each other and what surrounds them. Objects and large holes.

    On each scale in turn, two steps: for every 7×7 patch that touches the hole the most similar known patch (PatchMatch);
    then every pixel of the hole becomes the mean of what those patches say. The coarsest scale begins from its edge inwards,
    ring by ring of pixels, each from the patch most like what is known around it by then (Newson's initialisation). Beside the
    colours the mean slopes around a pixel are compared, or smooth patches would win everywhere. That beginning is made twice, on
    the scale where the hole is a few pixels deep and on one where it is not so small: the second sees more of what goes into the
    hole, the first how a wall goes on, and is kept if its patches fit clearly better.
    """
    from dlkit.inpaint.exemplar import filling  # Numba and SciPy: half a second

    return filling.put_together(image, hole, job)
