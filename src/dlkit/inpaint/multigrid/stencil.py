"""The weights of L and L² at a pixel, in a 5×5 window. At the image's edges a pixel just has fewer neighbours."""

from __future__ import annotations

import functools

import numpy as np

REACH = 2
SIDE = 2 * REACH + 1


def laplacian(shape: tuple[int, int]) -> np.ndarray:
    """float64 [H W, H W]: (L u)_i = Σ over i's neighbours j inside the grid of u_i - u_j; for small grids."""
    number = np.arange(shape[0] * shape[1]).reshape(shape)
    L = np.zeros((number.size, number.size))
    for a, b in ((number[1:], number[:-1]), (number[:, 1:], number[:, :-1])):
        i, j = a.ravel(), b.ravel()
        np.add.at(L, (i, i), 1)
        np.add.at(L, (j, j), 1)
        L[i, j] = L[j, i] = -1
    return L


def table(shape: tuple[int, int], power: int) -> np.ndarray:
    """float64 [rows, columns, 5, 5]: the weights of L**power around each pixel of a grid of at most 5×5.

    Where pixels lie in a larger grid, `kind_of` tells which of these has the same surroundings.
    """
    return _table(min(shape[0], SIDE), min(shape[1], SIDE), power)


@functools.cache
def _table(rows: int, columns: int, power: int) -> np.ndarray:
    A = np.linalg.matrix_power(laplacian((rows, columns)), power).reshape(rows, columns, rows, columns)
    weights = np.zeros((rows, columns, rows + 2 * REACH, columns + 2 * REACH))
    weights[:, :, REACH : REACH + rows, REACH : REACH + columns] = A
    windows = np.zeros((rows, columns, SIDE, SIDE))
    for i in range(rows):
        for j in range(columns):
            windows[i, j] = weights[i, j, i : i + SIDE, j : j + SIDE]
    windows.flags.writeable = False
    return windows


def kind_of(n: int) -> np.ndarray:
    """int32 [n]: the coordinate 0..4 in `table`'s grid that is as far from both ends, up to REACH."""
    i = np.arange(n, dtype=np.int32)
    return i if n <= SIDE else np.where(i < REACH, i, np.maximum(i - (n - SIDE), REACH)).astype(np.int32)
