"""A large image in tiles that overlap, put together again without seams."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dlkit.inpaint.method import Job

TILE = 384  # pixels: what a network sees at once
OVERLAP = 64  # over which one tile fades into the next


def in_tiles(
    image: np.ndarray,
    hole: np.ndarray,
    fill: Callable[[np.ndarray, np.ndarray], np.ndarray],
    job: Job,
    done: float,
    tile: int = TILE,
) -> np.ndarray | None:
    """float32 [H, W, C], the hole's pixels filled tile by tile; only tiles with a part of it are looked at.

    done : the share of all work behind us; this is the rest. None if the time ran out before the last tile.
    """
    total, weight = np.zeros_like(image), np.zeros((*hole.shape, 1), np.float32)
    places = [(i, j) for i in starts(hole.shape[0], tile) for j in starts(hole.shape[1], tile)]
    todo = [(i, j) for i, j in places if hole[i : i + tile, j : j + tile].any()]
    for number, (i, j) in enumerate(todo):
        if job.expired():
            return None
        box = slice(i, i + tile), slice(j, j + tile)
        fade = faded(hole[box].shape[0])[:, None, None] * faded(hole[box].shape[1])[:, None]
        total[box] += fade * fill(image[box], hole[box])
        weight[box] += fade
        job.progress(done + (1 - done) * (number + 1) / len(todo))
    result = image.copy()
    result[hole] = total[hole] / weight[hole]
    return result


def starts(length: int, tile: int = TILE) -> list[int]:
    """Where tiles begin along one side: each OVERLAP into the one before, the last flush with the end."""
    if length <= tile:
        return [0]
    count = -(-(length - OVERLAP) // (tile - OVERLAP))
    return [round(k * (length - tile) / (count - 1)) for k in range(count)]


def faded(length: int) -> np.ndarray:
    """float32 [length]: rises from just above 0 to 1 over OVERLAP pixels, and falls again."""
    nearest_end = np.minimum(np.arange(1, length + 1), np.arange(length, 0, -1))
    return np.minimum(nearest_end / np.float32(OVERLAP), 1).astype(np.float32)
