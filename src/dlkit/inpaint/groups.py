"""Groups of similar patches: found, approximated by a matrix of low rank, and averaged where they overlap.

The loops are in C (csrc/kernels/groups/). All sums are taken within bands of rows, one thread each, and then added band by band:
the result does not depend on how many threads there are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dlkit._native.groups import BEHIND, PATCH, SEARCH, approximate

SPACING = 4  # pixels between the patches that lead a group
BAND = 3  # rows of groups in a band
BATCH = 16  # bands at a time; between batches the user may interrupt
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601


class Grouping:
    """The groups around a hole.    hole : bool [H, W]"""

    def __init__(self, hole: np.ndarray) -> None:
        self.hole = hole
        self.size = min(PATCH, *hole.shape)
        self.touching = _windows_with(hole, self.size)

    def round(self, image: np.ndarray, noise: float, turn: int) -> Iterator[float]:
        """Approximates all groups once; yields the share done. `mean` then has the result.

        image : float32 [H, W, C], the hole filled so far        noise : standard deviation of what is to be dropped
        turn : number of the round; the patches that lead a group move with it
        """
        C = image.shape[2]
        self.total, self.weight = np.zeros(image.shape, np.float32), np.zeros((*self.hole.shape, 1), np.float32)
        grey = np.pad(image @ LUMINANCE if C == 3 else image[..., 0], ((0, 0), (0, BEHIND)))
        bands = self._bands(turn % SPACING)
        for first in range(0, len(bands), BATCH):
            batch = bands[first : first + BATCH]
            leaders = np.concatenate(batch)
            ends = np.cumsum([len(band) for band in batch])
            tops = np.array([max(band[0, 0] - SEARCH, 0) for band in batch])
            height = max(band[-1, 0] + SEARCH + self.size - top for band, top in zip(batch, tops))
            sums = np.zeros((len(batch), height, *image.shape[1:]), np.float32)
            weights = np.zeros((len(batch), height, image.shape[1]), np.float32)
            approximate(image, grey, leaders, ends, tops, noise, self.size, sums, weights)
            for whole, parts in ((self.total, sums), (self.weight, weights[..., None])):
                for top, part in zip(tops, parts):
                    rows = whole[top : top + height]
                    rows += part[: len(rows)]
            yield (first + len(batch)) / len(bands)

    def mean(self, image: np.ndarray) -> np.ndarray:
        """float32 [H, W, C]: the mean of all patches over a pixel; `image` where there is none."""
        reached = self.weight > 0
        return np.where(reached, self.total / np.where(reached, self.weight, 1), image)

    def _bands(self, offset: int) -> list[np.ndarray]:
        """Upper left corners of the patches that lead a group, int64 [n, 2], for each band that has any."""
        rows, columns = (_grid(n, offset, min(SPACING, self.size)) for n in self.touching.shape)
        bands = []
        for k in range(0, len(rows), BAND):
            i, j = np.nonzero(self.touching[np.ix_(rows[k : k + BAND], columns)])
            if len(i):
                bands.append(np.stack([rows[k + i], columns[j]], axis=1))
        return bands


def _grid(n: int, offset: int, spacing: int) -> np.ndarray:
    """Every so many of 0..n-1 from `offset` on, and both ends, which nothing else would reach."""
    return np.unique(np.concatenate([[0], np.arange(offset % spacing, n, spacing), [n - 1]]))


def _windows_with(hole: np.ndarray, size: int) -> np.ndarray:
    """bool [H - size + 1, W - size + 1]: whether the window from here on has a pixel of the hole."""
    sums = np.pad(hole.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))
    return sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size] > 0
