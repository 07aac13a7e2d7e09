"""Filling from patches of the same photo.

    filling   the beginning on the coarsest scale, and the way up        levels   the photo on all scales
    matches   which known patch each patch is most like; votes           loops    search and voting, by Numba

Source : Wexler, Shechtman & Irani 2007; Barnes et al. 2009; Newson et al. 2014, SIAM J. Imaging Sci. 7(4).
"""
