"""Harmonic filling: Laplace's equation inside the hole, the known pixels at its edge as boundary values."""

from __future__ import annotations

import numpy as np

from dlkit.inpaint.method import Job, method


@method("harmonic", source="Chan & Shen 2002, SIAM J. Appl. Math. 62(3), the harmonic model", margin=1)
def harmonic(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """The smoothest surface through the hole's edge: each pixel the mean of its neighbours inside the image."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import spsolve

    H, W, C = image.shape
    n = int(hole.sum())
    number = np.full((H + 2, W + 2), -2)  # -2: outside the image, -1: known
    number[1:-1, 1:-1] = np.where(hole, np.cumsum(hole).reshape(H, W) - 1, -1)
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    here = np.argwhere(hole) + 1
    degree, b = np.zeros(n), np.zeros((n, C))
    rows, columns = [], []
    for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        i, j = (here + step).T
        neighbour = number[i, j]
        degree += neighbour > -2
        b += np.where((neighbour == -1)[:, None], padded[i, j], 0)
        rows.append(np.flatnonzero(neighbour >= 0))
        columns.append(neighbour[neighbour >= 0])
    row = np.concatenate([np.arange(n), *rows])
    column = np.concatenate([np.arange(n), *columns])
    value = np.concatenate([degree, -np.ones(len(row) - n)])
    result = image.copy()
    result[hole] = spsolve(coo_matrix((value, (row, column))).tocsc(), b).reshape(n, C)
    return result
