"""The photo on all scales, with what the search compares: colours and texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, uniform_filter

from dlkit.inpaint.exemplar.loops import RADIUS
from dlkit.inpaint.mask import distance
from dlkit.inpaint.method import Job
from dlkit.inpaint.multigrid import solve

SHALLOW = 4.0  # pixels: the coarsest level's hole is no deeper
DEEPEST, LARGEST = 24.0, 20_000  # pixels: a hole so deep and large is also begun with at once
LEAST = 24  # pixels of its shorter side
TEXTURE = 5.0  # how much the features count beside the colours
SQUARE = (2 * RADIUS + 1, 2 * RADIUS + 1)


@dataclass
class Level:
    """One scale. layers : colours and texture features, float32 [H, W, C + 2]; hole, whole, centres, index: see `loops`."""

    layers: np.ndarray
    hole: np.ndarray

    def __post_init__(self) -> None:
        H, W = self.hole.shape
        inside = np.zeros((H, W), bool)
        inside[RADIUS : H - RADIUS, RADIUS : W - RADIUS] = True
        self.whole = inside & ~binary_dilation(self.hole, np.ones(SQUARE))
        self.pixels = np.argwhere(self.hole)
        self.centres = np.argwhere(inside & ~self.whole)
        self.index = np.full((H, W), -1, np.int64)
        self.index[tuple(self.centres.T)] = np.arange(len(self.centres))
        self.depth = distance(self.hole)

    def modest(self) -> bool:
        return self.depth.max() <= DEEPEST and len(self.pixels) <= LARGEST


def pyramid(image: np.ndarray, hole: np.ndarray, job: Job) -> list[Level]:
    """Levels from coarse to fine; the coarsest one's hole is filled harmonically, should the time run out, the others' with 0."""
    level = Level(np.concatenate([image, texture(image, hole)], axis=2), hole)
    levels = [level]
    while min(level.hole.shape) >= 2 * LEAST and level.depth.max() > SHALLOW:
        level = half(level)
        if not level.whole.any():
            break
        levels.insert(0, level)
    coarsest = levels[0]
    for c in range(coarsest.layers.shape[2]):
        layer = np.ascontiguousarray(coarsest.layers[..., c : c + 1])
        coarsest.layers[..., c : c + 1] = solve(layer, coarsest.hole, 1, job.silent())
    return levels


def texture(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """float32 [H, W, 2]: mean absolute slope down and across, over the known pixels of the patch around each pixel."""
    grey = image.mean(axis=2)
    known = ~hole
    features = []
    for axis in (0, 1):
        both = known & np.roll(known, -1, axis)
        slope = np.where(both, np.abs(np.roll(grey, -1, axis) - grey), 0)
        area = uniform_filter(both.astype(np.float32), SQUARE, mode="constant")
        mean = uniform_filter(slope.astype(np.float32), SQUARE, mode="constant")
        features.append(np.where(area > 1e-3, mean / np.maximum(area, 1e-3), 0))
    return (np.float32(TEXTURE) * np.stack(features, axis=2) * known[..., None]).astype(np.float32)


def half(level: Level) -> Level:
    """Half as large: means of the known ones of 2×2 pixels; a hole where most of them are hole. Texture: every second."""
    H, W = level.hole.shape
    room = ((0, H % 2), (0, W % 2), (0, 0))
    known = np.pad((~level.hole)[..., None].astype(np.float32), room)
    layers = np.pad(level.layers, room)

    def blocks(x: np.ndarray) -> np.ndarray:
        return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).sum(axis=(1, 3))

    count = blocks(known)
    hole = count[..., 0] < 2
    small = blocks(layers * known) / np.maximum(count, 1)
    small[hole] = 0
    return Level(small.astype(np.float32), hole)
