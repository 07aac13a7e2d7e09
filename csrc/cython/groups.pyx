"""Groups of similar patches (csrc/kernels/groups/): found, approximated by matrices of low rank, added up."""

import numpy as np

from libc.stdint cimport int64_t

cdef extern from "dl_groups.h" nogil:
    enum:
        DL_SIMILAR
        DL_SEARCH
        DL_PATCH
        DL_MOST_CHANNELS
        DL_BEHIND
    ctypedef int64_t dl_place[2]
    ctypedef float dl_row[1]  # of as many as the header says
    struct dl_groups:
        const float *image
        const float *grey
        long h, w, channels, size
        float noise
        const dl_place *leaders
        const int64_t *ends
        const int64_t *tops
        long bands, height
        float *sums
        float *weights
    struct dl_group_kernels:
        long (*similar)(const float *, long, long, long, long, long, dl_place *) noexcept nogil
        long (*leading)(dl_row *, float, dl_row *) noexcept nogil
        void (*approximate)(const dl_groups *) noexcept nogil
    const dl_group_kernels *dl_group_kernels_ "dl_group_kernels"()

cdef const dl_group_kernels *T = dl_group_kernels_()

SIMILAR, SEARCH, PATCH, BEHIND = DL_SIMILAR, DL_SEARCH, DL_PATCH, DL_BEHIND


def similar(const float[:, ::1] grey, long top, long left, long size):
    """int64 [n, 2]: the patch at (top, left) and those up to SEARCH pixels away most like it, the nearest first; n is at most
    SIMILAR.  grey : float32 [h, w + BEHIND]"""
    cdef long h = grey.shape[0], w = grey.shape[1] - DL_BEHIND
    if not (0 < size <= DL_PATCH and 0 <= top <= h - size and 0 <= left <= w - size):
        raise ValueError(f"similar: no patch of {size} pixels at ({top}, {left}) of {h}x{w}")
    places = np.empty((DL_SIMILAR, 2), np.int64)
    cdef int64_t[:, ::1] places_ = places
    return places[: T.similar(&grey[0, 0], h, w, size, top, left, <dl_place *>&places_[0, 0])]


def leading(A, float floor):
    """float32 [k, n]: the orthonormal eigenvectors of A, symmetric [n, n], n up to SIMILAR, whose eigenvalues exceed floor > 0."""
    n = len(A)
    if A.shape != (n, n) or n > DL_SIMILAR or not floor > 0:
        raise ValueError(f"leading: A {A.shape}, floor {floor}")
    cdef float[:, ::1] whole = np.zeros((DL_SIMILAR, DL_SIMILAR), np.float32)
    np.asarray(whole)[:n, :n] = A
    vectors = np.empty((DL_SIMILAR, DL_SIMILAR), np.float32)
    cdef float[:, ::1] vectors_ = vectors
    return vectors[: T.leading(<dl_row *>&whole[0, 0], floor, <dl_row *>&vectors_[0, 0]), :n]


def approximate(const float[:, :, ::1] image, const float[:, ::1] grey, const int64_t[:, ::1] leaders, const int64_t[::1] ends,
                const int64_t[::1] tops, float noise, long size, float[:, :, :, ::1] sums, float[:, :, ::1] weights):
    """sums[band] += weight · patch, weights[band] += weight, for every patch of the band's groups, each group by its singular
    values above what `noise` alone would have.

    image : float32 [h, w, channels]    grey : float32 [h, w + BEHIND]    size : of a patch
    leaders : int64 [groups, 2], row and column of the patches that lead a group
    ends, tops : int64 [bands], the group behind a band's last, the row its sums begin with
    sums : float32 [bands, height, w, channels]    weights : float32 [bands, height, w]
    """
    cdef dl_groups q
    cdef long group, band, first = 0
    q.h, q.w, q.channels, q.size, q.noise = image.shape[0], image.shape[1], image.shape[2], size, noise
    q.bands, q.height = ends.shape[0], sums.shape[1]
    if (
        grey.shape[0] != q.h or grey.shape[1] != q.w + DL_BEHIND
        or not 0 < size <= min(DL_PATCH, q.h, q.w) or not 0 < q.channels <= DL_MOST_CHANNELS
        or leaders.shape[1] != 2 or tops.shape[0] != q.bands
        or sums.shape[0] != q.bands or sums.shape[2] != q.w or sums.shape[3] != q.channels
        or weights.shape[0] != q.bands or weights.shape[1] != q.height or weights.shape[2] != q.w
    ):
        raise ValueError("approximate: the shapes do not fit each other")
    if not 1e-6 <= noise < 1e6:
        raise ValueError(f"approximate: noise {noise}")
    for band in range(q.bands):
        if not first <= ends[band] <= leaders.shape[0]:
            raise ValueError("approximate: ends do not rise within the groups")
        for group in range(first, ends[band]):
            if not (
                0 <= leaders[group, 0] <= q.h - size and 0 <= leaders[group, 1] <= q.w - size
                and 0 <= tops[band] <= max(leaders[group, 0] - DL_SEARCH, 0)
                and min(leaders[group, 0] + DL_SEARCH + size, q.h) <= tops[band] + q.height
            ):
                place = leaders[group, 0], leaders[group, 1]
                raise ValueError(f"approximate: the patches like that at {place} do not fit their band")
        first = ends[band]
    if not first:
        return
    q.image, q.grey, q.leaders, q.ends, q.tops = &image[0, 0, 0], &grey[0, 0], <const dl_place *>&leaders[0, 0], &ends[0], &tops[0]
    q.sums, q.weights = &sums[0, 0, 0, 0], &weights[0, 0, 0]
    with nogil:
        T.approximate(&q)
