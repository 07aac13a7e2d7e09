"""Exemplar filling: the hole is put together from patches of the same photo, from coarse to fine."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import binary_dilation, uniform_filter

from dlkit.errors import DataError
from dlkit.inpaint import exemplar
from dlkit.inpaint.exemplar import RADIUS
from dlkit.inpaint.mask import distance
from dlkit.inpaint.method import Job, method
from dlkit.inpaint.multigrid import solve

ROUNDS = {"fast": (6, 2), "normal": (12, 4), "best": (24, 8)}  # of matching and voting: coarsest level, finest
SWEEPS = 4  # through the centres, a round
SHALLOW = 4.0  # pixels: the coarsest level's hole is no deeper
DEEPEST, LARGEST = 24.0, 20_000  # pixels: a hole so deep and large is also begun with at once
CLEARLY = 0.6  # of the costs: then the coarser beginning is the better one
LEAST = 24  # pixels of its shorter side
FILM = 0.1  # of a harmonic film through the hole's edge in the result: 0.4 dB nearer to the truth, and hardly seen
COMPARISONS = 40_000_000  # of patches, at most, for its first filling
SPREAD = 10.0  # costs that count much alike, in units of their third quartile
TEXTURE = 5.0  # how much the features count beside the colours
SQUARE = (2 * RADIUS + 1, 2 * RADIUS + 1)


@dataclass
class Level:
    """One scale. layers : colours and texture features, float32 [H, W, C + 2]; hole, whole, centres, index: see exemplar."""

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


@method(
    "patchmatch",
    source="Wexler, Shechtman & Irani 2007; Barnes et al. 2009; Newson et al. 2014, SIAM J. Imaging Sci. 7(4)",
)
def patchmatch(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """Patches of the photo itself, chosen to fit each other and what surrounds them. Objects and large holes.

    On each scale in turn, two steps: for every 7×7 patch that touches the hole the most similar known patch (PatchMatch);
    then every pixel of the hole becomes the mean of what those patches say. The coarsest scale begins from its edge inwards,
    ring by ring of pixels, each from the patch most like what is known around it by then (Newson's initialisation). Beside the
    colours the mean slopes around a pixel are compared, or smooth patches would win everywhere. That beginning is made twice, on
    the scale where the hole is a few pixels deep and on one where it is not so small: the second sees more of what goes into the
    hole, the first how a wall goes on, and is kept if its patches fit clearly better.
    """
    levels = pyramid(image, hole, job)
    if not levels[0].whole.any():
        raise DataError("patchmatch found no known square of 7×7 pixels to copy; try --method nonlocal or biharmonic")
    turns = [job.iterations or round(n) for n in np.linspace(*ROUNDS[job.quality], len(levels))]
    second = max((k for k, level in enumerate(levels) if level.modest()), default=0)
    again = [Level(levels[second].layers.copy(), levels[second].hole)] if second else []
    work = sum(n * len(level.centres) for n, level in zip(turns + turns[second : second + 1], levels + again))
    done = 0

    def climb(matches: Matches, turns: list[int], levels: list[Level]) -> Matches:
        """From `matches` on the first of these levels up to the last."""
        nonlocal done
        for level, n in zip(levels, turns, strict=True):
            if level is not matches.level:
                matches = matches.finer(level, job.rng)
                matches.vote()
            for turn in range(n):
                if job.expired():
                    break
                matches.improve(job.rng)
                matches.vote(sharp=len(level.hole) == len(hole) and turn == n - 1)
                done += len(level.centres)
                job.progress(done / max(work, 1))
        return matches

    matches = climb(peeled(levels[0], job), turns[: second + 1], levels[: second + 1])
    if again and not job.expired():
        finer = climb(peeled(again[0], job), turns[second : second + 1], again)
        if matches.cost.sum() > CLEARLY * finer.cost.sum() and not job.expired():  # cut short it has holes of its own
            matches = finer
    matches = climb(matches, [0, *turns[second + 1 :]], [matches.level, *levels[second + 1 :]])
    film = solve(image, hole, 1, silent(job))
    return (1 - FILM) * matches.level.layers[..., : image.shape[2]] + FILM * film


def peeled(level: Level, job: Job) -> Matches:
    """Fills a level from its edge inwards, and begins with what that found."""
    known = ~level.hole
    candidates = some(np.argwhere(level.whole), max(COMPARISONS // len(level.pixels), 1), job.rng)
    matches = Matches.anywhere(level, job.rng)
    while not known.all() and not job.expired():
        ring = np.argwhere(binary_dilation(known, np.ones((3, 3))) & ~known)
        found = np.empty_like(ring)
        exemplar.peel(level.layers, known, ring, candidates, found)
        level.layers[tuple(ring.T)] = level.layers[tuple(found.T)]
        known[tuple(ring.T)] = True
        n = level.index[tuple(ring.T)]
        matches.found[n[n >= 0]] = found[n >= 0]
    matches.measure()
    return matches


def some(places: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """All of them, or as many at random."""
    return places if len(places) <= most else places[np.sort(rng.choice(len(places), most, replace=False))]


def silent(job: Job) -> Job:
    return replace(job, progress=lambda fraction: None)


@dataclass
class Matches:
    """For each centre of a level the middle of the known patch most like it, and the sum of squared differences."""

    level: Level
    found: np.ndarray
    cost: np.ndarray

    @staticmethod
    def anywhere(level: Level, rng: np.random.Generator) -> Matches:
        known = np.argwhere(level.whole)
        return Matches.at(level, known[rng.integers(0, len(known), len(level.centres))])

    @staticmethod
    def at(level: Level, found: np.ndarray) -> Matches:
        matches = Matches(level, np.ascontiguousarray(found), np.empty(len(found), np.float32))
        matches.measure()
        return matches

    def measure(self) -> None:
        exemplar.measure(self.level.layers, self.level.centres, self.found, self.cost)

    def improve(self, rng: np.random.Generator) -> None:
        """SWEEPS sweeps, the neighbours at first a few pixels away, so that a good match spreads fast."""
        for k in range(SWEEPS):
            new = np.empty_like(self.found), np.empty_like(self.cost)
            level, seed = self.level, int(rng.integers(1 << 62))
            exemplar.sweep(
                level.layers, level.whole, level.centres, level.index, self.found, self.cost, *new, max(4 >> k, 1), seed
            )
            self.found, self.cost = new

    def vote(self, sharp: bool = False) -> None:
        """Gives the hole's pixels their values, and the costs that follow."""
        level = self.level
        scale = SPREAD * float(np.quantile(self.cost, 0.75)) + 1e-6 if len(self.cost) else 1.0
        values = np.empty((len(level.pixels), level.layers.shape[2]), np.float32)
        exemplar.vote(level.layers, level.pixels, level.index, self.found, self.cost, level.depth, scale, sharp, values)
        level.layers[tuple(level.pixels.T)] = values
        self.measure()

    def finer(self, level: Level, rng: np.random.Generator) -> Matches:
        """The same matches on the next finer level; those that are not known patches there start anywhere."""
        above = np.minimum(level.centres // 2, np.array(self.level.hole.shape) - 1)
        n = self.level.index[tuple(above.T)]
        found = 2 * self.found[n] + level.centres % 2
        inside = (n >= 0) & (found < level.hole.shape).all(axis=1)
        found[~inside] = 0
        inside &= level.whole[tuple(found.T)]
        known = np.argwhere(level.whole)
        lost = int((~inside).sum())
        found[~inside] = known[rng.integers(0, len(known), lost)]
        return Matches.at(level, found)


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
        coarsest.layers[..., c : c + 1] = solve(layer, coarsest.hole, 1, silent(job))
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
