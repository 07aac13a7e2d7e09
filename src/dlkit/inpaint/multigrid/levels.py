"""The hierarchy of grids under a hole, and one V-cycle through it."""

from __future__ import annotations

import numpy as np

from dlkit._native.multigrid import BORDER, LANES, MARGIN, Grid
from dlkit.inpaint.multigrid import stencil

DEGREE = 4  # of the smoother's polynomial
BAND = {1: 6.0, 2: 20.0}  # of the eigenvalues, largest to smallest, the smoother damps: what the coarse grid cannot see


class Level(Grid):
    """The grid of some cells, bool [h, w]; still without weights."""

    def __init__(self, cells: np.ndarray, channels: int):
        self.cells = cells
        h, w = cells.shape
        columns = -(-w // LANES)
        padded = np.zeros((h, columns * LANES), bool)
        padded[:, :w] = cells
        active = np.zeros((h + 2 * BORDER, columns + 2), bool)
        active[BORDER:-BORDER, 1:-1] = padded.view(np.uint64) != 0
        beside = active.copy()
        beside[:, 1:] |= active[:, :-1]
        beside[:, :-1] |= active[:, 1:]
        stored = beside.copy()
        for rows in (1, 2):
            stored[rows:] |= beside[:-rows]
            stored[:-rows] |= beside[rows:]
        number = np.zeros(active.shape, np.int32)
        count = np.count_nonzero(stored)
        number[stored] = np.arange(LANES, (count + 1) * LANES, LANES, dtype=np.int32)
        place = np.flatnonzero(active).astype(np.int32)
        lanes = padded.reshape(-1, LANES)[np.flatnonzero(active[BORDER:-BORDER, 1:-1])]
        size = (count + 1) * LANES + 3 * LANES
        super().__init__(number, place, lanes.astype(np.float32), shares(h), shares(w), size, channels)

    @property
    def rows_and_columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the active blocks, in blocks: int [n] each."""
        rows, columns = np.divmod(self.place, self.number.shape[1])
        return rows - BORDER, columns - 1


def shares(n: int) -> np.ndarray:
    """float32 [2, n + 2 MARGIN]: along an axis of n cells, P's weights between cell i, at MARGIN + i, and its two parents, the first
    of which is (i + 1) // 2 - 1. Where the grid ends, all goes to the nearest; 0 for the cells beyond it."""
    weights = np.zeros((2, n + 2 * MARGIN), np.float32)
    cells = weights[:, MARGIN : MARGIN + n]
    cells[:, ::2] = [[0.25], [0.75]]
    cells[:, 1::2] = [[0.75], [0.25]]
    cells[:, 0] = 0, 1
    if n % 2 == 0:
        cells[:, -1] = 1, 0
    return weights


def finest(hole: np.ndarray, channels: int, power: int) -> Level:
    """The hole's own pixels, with the weights of L**power."""
    level = Level(hole, channels)
    windows = stencil.table(hole.shape, power)
    around = np.abs(np.arange(stencil.SIDE) - stencil.REACH)
    y, x = np.nonzero(around[:, None] + around <= power)
    row_kinds, column_kinds = (stencil.kind_of(n) for n in hole.shape)
    padded = np.zeros(-(-column_kinds.size // LANES) * LANES, np.int32)
    padded[: column_kinds.size] = column_kinds
    blocks = padded.reshape(-1, LANES)
    _, example, pattern = np.unique(blocks @ stencil.SIDE ** np.arange(LANES), return_index=True, return_inverse=True)
    rows, columns = level.rows_and_columns
    kind = row_kinds[rows] * len(example) + pattern[columns]
    weights = windows[:, blocks[example]][..., y, x].transpose(0, 1, 3, 2)  # [row kinds, patterns, weights, LANES]
    level.weigh(kind.astype(np.int32), np.ascontiguousarray(weights.reshape(-1, y.size, LANES), np.float32), power)
    level.allocate()
    return level


def coarser(fine: Level) -> Level | None:
    """The grid of half the size; None where it would have no cell."""
    cells = full_squares(fine.cells)
    if not cells.any():
        return None
    level = Level(cells, fine.b.shape[1])
    level.galerkin(fine)
    level.allocate()
    return level


def full_squares(cells: np.ndarray) -> np.ndarray:
    """Which squares of 2×2 cells are full, as far as the grid goes."""
    h, w = cells.shape
    if h % 2 or w % 2:
        cells = np.pad(cells, ((0, h % 2), (0, w % 2)), constant_values=True)
    rows = cells[::2] & cells[1::2]
    return rows[:, ::2] & rows[:, 1::2]


class Hierarchy:
    """All levels of a hole; `cycle` is the preconditioner."""

    def __init__(self, hole: np.ndarray, channels: int, power: int):
        self.power = power
        self.levels = [finest(hole, channels, power)]
        # down to a single cell: of two dozen open to one side the smoother leaves the slopes that run on
        while np.count_nonzero(self.levels[-1].cells) > 1 and (level := coarser(self.levels[-1])) is not None:
            self.levels.append(level)

    def cycle(self, number: int = 0) -> None:
        """From a level's `b`, nearly A⁻¹b into its `x`, by a symmetric positive definite operator."""
        level = self.levels[number]
        self.smooth(level, from_zero=True)
        if number + 1 < len(self.levels):
            below = self.levels[number + 1]
            level.descend(below)
            self.cycle(number + 1)
            level.ascend(below)
        self.smooth(level)

    def smooth(self, level: Level, from_zero: bool = False) -> None:
        """Chebyshev iteration on [radius / BAND, radius] (Saad 2003, algorithm 12.1), from x or from 0."""
        centre = level.radius * (1 + 1 / BAND[self.power]) / 2
        half = level.radius * (1 - 1 / BAND[self.power]) / 2
        sigma = centre / half
        rho = 1 / sigma
        if from_zero:
            level.start(1 / centre)
        else:
            level.advance(0.0, 1 / centre)
        for _ in range(DEGREE - 1):
            following = 1 / (2 * sigma - rho)
            level.advance(following * rho, 2 * following / half)
            rho = following
