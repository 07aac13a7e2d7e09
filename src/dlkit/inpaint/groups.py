"""Groups of similar patches: found, approximated by a matrix of low rank, and averaged where they overlap.

All sums are taken within bands of rows, one thread each, and then added band by band: the result does not depend on
how many threads there are.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import prange

from dlkit.jit import jit

PATCH = 6  # its side
WINDOW = 10  # pixels around a patch in which similar ones are sought
SIMILAR = 24  # patches of a group
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
        self.total = np.zeros((*self.hole.shape, C + 1), np.float32)
        grey = np.ascontiguousarray(image @ LUMINANCE if C == 3 else image[..., 0])
        bands = self._bands(turn % SPACING)
        for first in range(0, len(bands), BATCH):
            batch = bands[first : first + BATCH]
            leaders = np.concatenate(batch)
            ends = np.cumsum([len(band) for band in batch])
            tops = np.array([max(band[0, 0] - WINDOW, 0) for band in batch])
            height = max(band[-1, 0] + WINDOW + self.size - top for band, top in zip(batch, tops))
            sums = np.zeros((len(batch), height, *self.total.shape[1:]), np.float32)
            approximate(image, grey, self.hole, leaders, ends, tops, np.float32(noise), self.size, sums)
            for top, part in zip(tops, sums):
                rows = self.total[top : top + height]
                rows += part[: len(rows)]
            yield (first + len(batch)) / len(bands)

    def mean(self, image: np.ndarray) -> np.ndarray:
        """float32 [H, W, C]: the mean of all patches over a pixel of the hole; `image` where there is none."""
        weight = self.total[..., -1:]
        return np.where(weight > 0, self.total[..., :-1] / np.where(weight > 0, weight, 1), image)

    def _bands(self, offset: int) -> list[np.ndarray]:
        """Upper left corners of the patches that lead a group, int64 [n, 2], for each band that has any."""
        rows, columns = (_grid(n, offset) for n in self.touching.shape)
        bands = []
        for k in range(0, len(rows), BAND):
            i, j = np.nonzero(self.touching[np.ix_(rows[k : k + BAND], columns)])
            if len(i):
                bands.append(np.stack([rows[k + i], columns[j]], axis=1))
        return bands


def _grid(n: int, offset: int) -> np.ndarray:
    """Every SPACING-th of 0..n-1 from `offset` on, and both ends, which nothing else would reach."""
    return np.unique(np.concatenate([[0], np.arange(offset, n, SPACING), [n - 1]]))


def _windows_with(hole: np.ndarray, size: int) -> np.ndarray:
    """bool [H - size + 1, W - size + 1]: whether the window from here on has a pixel of the hole."""
    sums = np.pad(hole.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))
    return sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size] > 0


@jit(parallel=True, reassociate=True)
def approximate(image, grey, hole, leaders, ends, tops, noise, size, sums):
    """sums[band] += weight · [value, 1] of every patch of its groups, at the pixels of the hole."""
    C = image.shape[2]
    length = size * size * C
    for band in prange(ends.size):
        top = tops[band]
        places = np.empty((SIMILAR, 2), np.int64)
        distances = np.empty(SIMILAR, np.float32)
        patches = np.empty((SIMILAR, length), np.float32)
        mean = np.empty(length, np.float32)
        for g in range(ends[band - 1] if band else 0, ends[band]):
            n = similar(grey, leaders[g, 0], leaders[g, 1], size, places, distances)
            mean[:] = 0
            for k in range(n):
                t = 0
                for i in range(places[k, 0], places[k, 0] + size):
                    for j in range(places[k, 1], places[k, 1] + size):
                        for c in range(C):
                            patches[k, t] = image[i, j, c]
                            mean[t] += image[i, j, c]
                            t += 1
            for t in range(length):
                mean[t] /= n
            for k in range(n):
                for t in range(length):
                    patches[k, t] -= mean[t]
            # a matrix of noise alone has singular values up to about this (Marchenko & Pastur)
            threshold = noise * (np.sqrt(np.float32(n)) + np.sqrt(np.float32(length)))
            squares, vectors = np.linalg.eigh(np.dot(patches[:n], patches[:n].T))
            rank = 0
            while rank < n and squares[n - 1 - rank] > threshold * threshold:
                rank += 1
            kept = np.ascontiguousarray(vectors[:, n - rank :])
            simple = np.dot(np.dot(kept, kept.T), patches[:n])
            weight = np.float32(1) / (1 + rank)  # the simpler a group, the surer it is
            for k in range(n):
                t = 0
                for i in range(places[k, 0], places[k, 0] + size):
                    for j in range(places[k, 1], places[k, 1] + size):
                        if hole[i, j]:
                            for c in range(C):
                                sums[band, i - top, j, c] += weight * (simple[k, t + c] + mean[t + c])
                            sums[band, i - top, j, C] += weight
                        t += C


@jit(reassociate=True)
def similar(grey, top, left, size, places, distances):
    """How many patches were found (at most len(places)): the leader first, then the nearest in the window, in order."""
    most = distances.size
    places[0, 0], places[0, 1] = top, left
    distances[0] = -1
    n = 1
    for i in range(max(top - WINDOW, 0), min(top + WINDOW, grey.shape[0] - size) + 1):
        for j in range(max(left - WINDOW, 0), min(left + WINDOW, grey.shape[1] - size) + 1):
            limit = distances[n - 1] if n == most else np.float32(np.inf)
            distance = np.float32(0)
            for r in range(size):
                for s in range(size):
                    step = grey[i + r, j + s] - grey[top + r, left + s]
                    distance += step * step
                if distance >= limit:
                    break
            if distance >= limit or (i == top and j == left):
                continue
            n += n < most
            k = n - 1
            while distances[k - 1] > distance:
                distances[k] = distances[k - 1]
                places[k, 0], places[k, 1] = places[k - 1, 0], places[k - 1, 1]
                k -= 1
            distances[k] = distance
            places[k, 0], places[k, 1] = i, j
    return n
