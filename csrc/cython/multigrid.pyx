"""A grid under a hole, with the memory that a multigrid cycle works in (csrc/kernels/multigrid/).

What a plane and a packed array are stands in csrc/include/dl_multigrid.h. Methods release the GIL; all of a Grid's calls
must come from one thread at a time.
"""

import numpy as np

from libc.stdint cimport int32_t

cdef extern from "dl_multigrid.h" nogil:
    enum:
        DL_LANES
        DL_GROUP
        DL_BORDER
        DL_MARGIN
        DL_WINDOW
    struct dl_grid:
        long h, w
        long blocks, cells, channels, stride
        int reach
        const int32_t *number
        const int32_t *place
        const int32_t *kind
        const float *weights
        const float *inside
        const float *first
        const float *second
        const float *left
        const float *right
    struct dl_grid_kernels:
        void (*sums)(const dl_grid *, const float *, const unsigned char *, float *) noexcept nogil
        void (*read)(const dl_grid *, const float *, float *) noexcept nogil
        void (*set)(const dl_grid *, const float *, float *) noexcept nogil
        void (*add)(const dl_grid *, const float *, float *) noexcept nogil
        void (*bounds)(const dl_grid *, float *, float *, double *) noexcept nogil
        void (*start)(const dl_grid *, float *, float *, const float *, const float *, float) noexcept nogil
        void (*advance)(const dl_grid *, const float *, float *, const float *, const float *, float, float) noexcept nogil
        void (*residual)(const dl_grid *, const float *, float *, const float *) noexcept nogil
        void (*product)(const dl_grid *, const float *, double *, double *) noexcept nogil
        void (*dot)(const dl_grid *, const double *, const float *, double *) noexcept nogil
        void (*turn)(const dl_grid *, float *, const float *, const double *) noexcept nogil
        void (*step)(const dl_grid *, float *, double *, float *, const float *, const double *, const double *, double *) noexcept nogil
        void (*gather)(const dl_grid *, const dl_grid *, const float *, float *) noexcept nogil
        void (*spread)(const dl_grid *, const dl_grid *, float *, const float *) noexcept nogil
        void (*galerkin)(const dl_grid *, const dl_grid *, const int32_t *, float *) noexcept nogil
    const dl_grid_kernels *dl_grid_kernels_ "dl_grid_kernels"()

cdef const dl_grid_kernels *T = dl_grid_kernels_()

LANES, BORDER, MARGIN = DL_LANES, DL_BORDER, DL_MARGIN


cdef class Grid:
    """The cells of one grid, their weights A and what a cycle computes.

    number : int32 [h + 2 BORDER, stride], where in a plane a block begins      place : int32 [blocks], index into it, flat
    inside : float32 [blocks, LANES], 1 for the hole's cells
    down, across : float32 [2, h + 2 MARGIN] and [2, w + 2 MARGIN], P's shares
    x, y : float32 planes [channels, cells]     b : packed float32 [blocks, channels, LANES]
    """

    cdef dl_grid g
    cdef readonly object number, place, inside, down, across, kind, weights
    cdef readonly object x, y, b, scale
    cdef float[:, ::1] _x, _y, _scale
    cdef float[:, :, ::1] _b
    cdef readonly double radius

    def __init__(self, number, place, inside, down, across, long cells, long channels):
        cdef int32_t[:, ::1] number_ = number
        cdef int32_t[::1] place_ = place
        cdef float[:, ::1] inside_ = inside, down_ = down, across_ = across
        self.g.h, self.g.w = number.shape[0] - 2 * BORDER, across.shape[1] - 2 * MARGIN
        if not place.size or inside.shape != (place.size, LANES) or len(down) != 2 or len(across) != 2:
            raise ValueError(f"Grid: place {place.shape}, inside {inside.shape}")
        self.number, self.place, self.inside, self.down, self.across = number, place, inside, down, across
        self.g.blocks, self.g.cells, self.g.channels, self.g.stride = place.size, cells, channels, number.shape[1]
        self.g.number, self.g.place, self.g.inside = &number_[0, 0], &place_[0], &inside_[0, 0]
        self.g.first, self.g.second = &down_[0, DL_MARGIN], &down_[1, DL_MARGIN]
        self.g.left, self.g.right = &across_[0, DL_MARGIN], &across_[1, DL_MARGIN]

    def weigh(self, kind, weights, int reach) -> None:
        """kind : int32 [blocks]    weights : float32 [kinds, n, LANES], n = 5, 13 or 25 for a reach of 1, 2 or 4"""
        cdef int32_t[::1] kind_ = kind
        cdef float[:, :, ::1] weights_ = weights
        if weights.shape[1:] != ({1: 5, 2: 13, 4: DL_WINDOW}[reach], LANES) or kind.size != self.g.blocks:
            raise ValueError(f"Grid: kind {kind.shape}, weights {weights.shape} for a reach of {reach}")
        self.kind, self.weights = kind, weights
        self.g.kind, self.g.weights, self.g.reach = &kind_[0], &weights_[0, 0, 0], reach

    def allocate(self) -> None:
        """The memory of a cycle, and what its smoother must know of A: its diagonal, and `radius`, a bound of the eigenvalues
        of D⁻¹A (Gershgorin)."""
        cdef long n = self.g.blocks, C = self.g.channels
        self._x = self.x = np.zeros((C, self.g.cells), np.float32)
        self._y = self.y = np.zeros((C, self.g.cells), np.float32)
        self._b = self.b = np.zeros((n, C, LANES), np.float32)
        self._scale = self.scale = np.empty((n, LANES), np.float32)
        largest = self._per_group(1)
        cdef double[:, ::1] largest_ = largest
        with nogil:
            T.bounds(&self.g, &self._y[0, 0], &self._scale[0, 0], &largest_[0, 0])
        self.radius = largest.max()

    def positions(self):
        """int64 [blocks, LANES]: where in a plane the active blocks' cells stand"""
        return self.number.ravel()[self.place].astype(np.int64)[:, None] + np.arange(LANES)

    def galerkin(self, Grid fine) -> None:
        """Gives this grid PᵀAP of the one twice its size."""
        active = np.full(fine.g.cells // LANES, -1, np.int32)
        active[fine.number.ravel()[fine.place] // LANES] = np.arange(fine.g.blocks, dtype=np.int32)
        weights = np.empty((self.g.blocks, DL_WINDOW, LANES), np.float32)
        cdef int32_t[::1] active_ = active
        cdef float[:, :, ::1] weights_ = weights
        with nogil:
            T.galerkin(&fine.g, &self.g, &active_[0], &weights_[0, 0, 0])
        self.weigh(np.arange(self.g.blocks, dtype=np.int32), weights, 4)

    # -- an image: float32 [h, w, channels] --------------------------------------------------------------------

    def sums(self, const float[:, :, ::1] image, hole):
        """float32 [h / LANES, w / LANES, rounded up, channels + 1]: the sum of each square of LANES×LANES pixels, and how many of
        them lie outside the hole, bool [h, w]"""
        sums = np.empty(((self.g.h + DL_LANES - 1) // DL_LANES, self.g.stride - 2, self.g.channels + 1), np.float32)
        cdef const unsigned char[:, ::1] hole_ = hole.view(np.uint8)
        cdef float[:, :, ::1] sums_ = sums
        self._check_image(image)
        if hole_.shape[0] != self.g.h or hole_.shape[1] != self.g.w:
            raise ValueError("Grid: the hole has another shape")
        with nogil:
            T.sums(&self.g, &image[0, 0, 0], &hole_[0, 0], &sums_[0, 0, 0])
        return sums

    def read(self, const float[:, :, ::1] image):
        """float32 plane [channels, cells]: its pixels, as far as they are stored"""
        p = np.zeros((self.g.channels, self.g.cells), np.float32)
        cdef float[:, ::1] p_ = p
        self._check_image(image)
        with nogil:
            T.read(&self.g, &image[0, 0, 0], &p_[0, 0])
        return p

    def set(self, const float[:, :, ::1] means, float[:, :, ::1] image) -> None:
        """The image's cells = the mean of their square of LANES×LANES pixels; means : [h / LANES, w / LANES, rounded up, channels]"""
        self._check_image(image)
        if (
            means.shape[0] != (self.g.h + DL_LANES - 1) // DL_LANES
            or means.shape[1] != self.g.stride - 2
            or means.shape[2] != self.g.channels
        ):
            raise ValueError("Grid: the means have another shape")
        with nogil:
            T.set(&self.g, &means[0, 0, 0], &image[0, 0, 0])

    def add(self, float[:, :, ::1] u, float[:, :, ::1] image) -> None:
        """the image's cells += u, packed float32"""
        self._check_image(image)
        self._check_u(u)
        with nogil:
            T.add(&self.g, &u[0, 0, 0], &image[0, 0, 0])

    # -- a cycle: A x = b --------------------------------------------------------------------------------------

    def start(self, float gain) -> None:
        """x = gain · D⁻¹b: a step from x = 0"""
        with nogil:
            T.start(&self.g, &self._x[0, 0], &self._y[0, 0], &self._b[0, 0, 0], &self._scale[0, 0], gain)

    def advance(self, float keep, float gain) -> None:
        """x += keep · (the last step) + gain · D⁻¹(b - A x)"""
        with nogil:
            T.advance(&self.g, &self._x[0, 0], &self._y[0, 0], &self._b[0, 0, 0], &self._scale[0, 0], keep, gain)
        self.x, self.y = self.y, self.x
        self._x, self._y = self._y, self._x

    def descend(self, Grid coarse) -> None:
        """coarse.b = Pᵀ(b - A x); y is overwritten"""
        with nogil:
            T.residual(&self.g, &self._x[0, 0], &self._y[0, 0], &self._b[0, 0, 0])
            T.gather(&self.g, &coarse.g, &self._y[0, 0], &coarse._b[0, 0, 0])

    def ascend(self, Grid coarse) -> None:
        """x += P coarse.x"""
        with nogil:
            T.spread(&self.g, &coarse.g, &self._x[0, 0], &coarse._x[0, 0])

    # -- conjugate gradients; p : float32 plane, q, r : packed float64, alpha, beta : float64 [channels] ---------

    def product(self, float[:, ::1] p, double[:, :, ::1] q):
        """q = A p.  Returns : float64 [channels], p · q"""
        sums = self._per_group(self.g.channels)
        cdef double[:, ::1] sums_ = sums
        self._check(p, q)
        with nogil:
            T.product(&self.g, &p[0, 0], &q[0, 0, 0], &sums_[0, 0])
        return sums.sum(axis=0)

    def dot(self, double[:, :, ::1] r):
        """float64 [channels]: r · x"""
        sums = self._per_group(self.g.channels)
        cdef double[:, ::1] sums_ = sums
        self._check(None, r)
        with nogil:
            T.dot(&self.g, &r[0, 0, 0], &self._x[0, 0], &sums_[0, 0])
        return sums.sum(axis=0)

    def turn(self, float[:, ::1] p, const double[::1] beta) -> None:
        """p = x + beta · p"""
        self._check(p, None, beta)
        with nogil:
            T.turn(&self.g, &p[0, 0], &self._x[0, 0], &beta[0])

    def step(self, float[:, :, ::1] u, double[:, :, ::1] r, float[:, ::1] p, double[:, :, ::1] q, const double[::1] alpha):
        """u += alpha · p; r -= alpha · q; b = r.  Returns : the largest |alpha · p|.  u : packed float32"""
        largest = self._per_group(1)
        cdef double[:, ::1] largest_ = largest
        self._check(p, r, alpha)
        self._check(p, q)
        self._check_u(u)
        with nogil:
            T.step(&self.g, &u[0, 0, 0], &r[0, 0, 0], &self._b[0, 0, 0], &p[0, 0], &q[0, 0, 0], &alpha[0], &largest_[0, 0])
        return float(largest.max())

    cdef _per_group(self, long columns):
        return np.empty(((self.g.blocks + DL_GROUP - 1) // DL_GROUP, columns))

    cdef int _check_image(self, const float[:, :, ::1] image) except -1:
        if image.shape[0] != self.g.h or image.shape[1] != self.g.w or image.shape[2] != self.g.channels:
            raise ValueError("Grid: the image has another shape")
        return 0

    cdef int _check_u(self, const float[:, :, ::1] u) except -1:
        if u.shape[0] != self.g.blocks or u.shape[1] != self.g.channels or u.shape[2] != LANES:
            raise ValueError("Grid: u has another shape")
        return 0

    cdef int _check(self, float[:, ::1] plane=None, double[:, :, ::1] packed=None, const double[::1] each=None) except -1:
        if plane is not None and (plane.shape[0] != self.g.channels or plane.shape[1] != self.g.cells):
            raise ValueError("Grid: a plane has another shape")
        if packed is not None and (
            packed.shape[0] != self.g.blocks or packed.shape[1] != self.g.channels or packed.shape[2] != LANES
        ):
            raise ValueError("Grid: a packed array has another shape")
        if each is not None and each.shape[0] != self.g.channels:
            raise ValueError("Grid: not one number for each channel")
        return 0
