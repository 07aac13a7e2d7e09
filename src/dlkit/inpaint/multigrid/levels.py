"""The hierarchy of grids under a hole, and one V-cycle through it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlkit.inpaint.multigrid import loops, stencil

DEGREE = 3  # of the smoother's polynomial
BAND = {1: 6.0, 2: 12.0}  # of the eigenvalues, largest to smallest, the smoother damps: what the coarse grid cannot see
DIRECT = 64  # cells: so few are solved exactly


@dataclass
class Level:
    """One grid's cells and weights (see `loops`), and the memory that a cycle works in."""

    shape: tuple[int, int]
    index: np.ndarray  # uint32 [(h + 4) (w + 4)]
    place: np.ndarray  # int64 [n]
    offsets: np.ndarray  # int64 [K]
    kind: np.ndarray  # int32 [n]
    weights: np.ndarray  # float32 [kinds, K]
    power: int

    def __post_init__(self) -> None:
        n = self.place.size
        self.scale, radius = np.empty(n, np.float32), np.empty(-(-n // loops.BLOCK))
        loops.bounds(self.work, self.place, self.index, self.offsets, self.kind, self.weights, self.scale, radius)
        self.radius = float(radius.max(initial=0))
        self.shares = shares(self.shape[0]), shares(self.shape[1])

    @property
    def stride(self) -> int:
        return self.shape[1] + 2 * stencil.REACH

    @property
    def work(self) -> int:
        return self.place.size * self.offsets.size

    @property
    def operator(self) -> tuple[np.ndarray, ...]:
        return self.place, self.index, self.offsets, self.kind, self.weights

    def allocate(self, channels: int) -> None:
        self.x, self.new, self.d, self.b = (np.zeros((self.place.size + 1, channels), np.float32) for _ in range(4))


def shares(n: int) -> np.ndarray:
    """float32 [n + 3, 2]: along an axis of n cells, P's weights between cell i - 1 and its two parents, the first of which
    is i // 2 - 1. Where the grid ends, all goes to the nearest; 0 for the cells beyond it."""
    i = np.arange(n)
    weights = np.where((i % 2 == 0)[:, None], (0.25, 0.75), (0.75, 0.25))
    weights[0] = 0, 1
    if n % 2 == 0:
        weights[-1] = 1, 0
    return np.pad(weights, ((1, 2), (0, 0))).astype(np.float32)


def finest(hole: np.ndarray, power: int) -> Level:
    """The hole's own pixels, with the weights of L**power."""
    windows = stencil.table(hole.shape, power)
    used = np.argwhere(np.abs(windows).max(axis=(0, 1)) > 0) - stencil.REACH
    index, place = _numbered(hole)
    stride = hole.shape[1] + 2 * stencil.REACH
    i, j = np.divmod(place, stride)
    rows, columns = (stencil.kind_of(n) for n in hole.shape)
    kind = rows[i - stencil.REACH] * np.int32(windows.shape[1]) + columns[j - stencil.REACH]
    weights = windows[:, :, used[:, 0] + stencil.REACH, used[:, 1] + stencil.REACH]
    weights = np.ascontiguousarray(weights.reshape(-1, len(used)), np.float32)
    return Level(hole.shape, index, place, used[:, 0] * stride + used[:, 1], kind, weights, power)


def coarser(fine: Level) -> Level | None:
    """The grid of half the size; None where it would have no cell."""
    h, w = fine.shape
    rows, columns = -(-h // 2), -(-w // 2)
    stride = fine.stride
    here = (fine.index.reshape(-1, stride)[2:-2, 2:-2] < fine.place.size).astype(np.int8)
    state = np.full((2 * rows, 2 * columns), 2, np.int8)  # 0 known, 1 of the hole, 2 beyond the image
    state[:h, :w] = here
    squares = state.reshape(rows, 2, columns, 2)
    cells = (squares != 0).all(axis=(1, 3)) & (squares == 1).any(axis=(1, 3))
    if not cells.any():
        return None
    index, place = _numbered(cells)
    coarse_stride = columns + 2 * stencil.REACH
    weights = np.zeros((place.size, stencil.SIDE, stencil.SIDE), np.float32)
    loops.galerkin(
        16 * fine.work, fine.place, fine.index, stride, fine.offsets, fine.kind, fine.weights, *fine.shares,
        place, coarse_stride, index, weights,
    )  # fmt: skip
    around = np.arange(-stencil.REACH, stencil.REACH + 1)
    offsets = (around[:, None] * coarse_stride + around).ravel()
    kind = np.arange(place.size, dtype=np.int32)
    return Level((rows, columns), index, place, offsets, kind, weights.reshape(place.size, -1), fine.power)


def _numbered(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index, place) of `loops`"""
    padded = np.pad(cells, stencil.REACH).ravel()
    place = np.flatnonzero(padded)
    index = np.full(padded.size, place.size, np.uint32)
    index[place] = np.arange(place.size, dtype=np.uint32)
    return index, place


class Hierarchy:
    """All levels of a hole; `cycle` is the preconditioner."""

    def __init__(self, hole: np.ndarray, channels: int, power: int):
        self.channels = channels
        self.levels = [finest(hole, power)]
        while self.levels[-1].place.size > DIRECT and (level := coarser(self.levels[-1])) is not None:
            self.levels.append(level)
        for level in self.levels:
            level.allocate(channels)
        last = self.levels[-1]
        self.inverse = np.linalg.inv(dense(last)) if last.place.size <= DIRECT else None

    def cycle(self, b: np.ndarray) -> np.ndarray:
        """[n + 1, C]: nearly A⁻¹b, by a symmetric positive definite operator. In memory of the hierarchy's own."""
        np.copyto(self.levels[0].b, b, casting="same_kind")
        self._descend(0)
        return self.levels[0].x

    def _descend(self, number: int) -> None:
        level = self.levels[number]
        if self.inverse is not None and number == len(self.levels) - 1:
            n = level.place.size  # einsum, not BLAS: the same bits for any number of threads
            level.x[:n] = np.einsum("ij,jc->ic", self.inverse, level.b[:n])
            return
        smooth(level, from_zero=True)
        if number + 1 < len(self.levels):
            below = self.levels[number + 1]
            loops.residual[self.channels](level.work, level.x, level.b, level.d, *level.operator)
            where = level.stride, *level.shares
            loops.restrict(level.work, level.d, below.b, level.index, *where, below.place, below.stride)
            self._descend(number + 1)
            loops.prolong(level.work, below.x, level.x, level.place, *where, below.index, below.stride)
        smooth(level)


def smooth(level: Level, from_zero: bool = False) -> None:
    """Chebyshev iteration on [radius / BAND, radius] (Saad 2003, algorithm 12.1), from x or from 0."""
    centre = level.radius * (1 + 1 / BAND[level.power]) / 2
    half = level.radius * (1 - 1 / BAND[level.power]) / 2
    sigma = centre / half
    rho = 1 / sigma
    if from_zero:
        loops.first_step(level.place.size, level.x, level.d, level.b, level.scale, 1 / centre)
    else:
        _advance(level, 0.0, 1 / centre)
    for _ in range(DEGREE - 1):
        following = 1 / (2 * sigma - rho)
        _advance(level, following * rho, 2 * following / half)
        rho = following


def _advance(level: Level, keep: float, gain: float) -> None:
    loops.chebyshev[level.x.shape[1]](
        level.work, level.x, level.new, level.d, level.b, level.scale, keep, gain, *level.operator
    )
    level.x, level.new = level.new, level.x


def dense(level: Level) -> np.ndarray:
    """float64 [n, n]: A, for few cells."""
    n = level.place.size
    A = np.zeros((n, n + 1))
    for k, offset in enumerate(level.offsets):
        A[np.arange(n), level.index[level.place + offset]] = level.weights[level.kind, k]
    return A[:, :n]


def image_in_places(image: np.ndarray) -> np.ndarray:
    """float64 [(H + 4) (W + 4), C]: the image's pixels as `Level.place` counts."""
    border = (stencil.REACH, stencil.REACH)
    return np.pad(image.astype(np.float64), (border, border, (0, 0))).reshape(-1, image.shape[2])
