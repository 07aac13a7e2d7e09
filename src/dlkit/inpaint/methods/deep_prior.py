"""Deep Image Prior: a network that has seen nothing but this photo, fitted to its known pixels."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from dlkit import random
from dlkit.inpaint.method import Job, method
from dlkit.inpaint.multigrid import solve
from dlkit.inpaint.tiles import in_tiles, starts
from dlkit.models import Hourglass
from dlkit.optim import Adam
from dlkit.tensor import Tensor


@dataclass(frozen=True)
class Size:
    """Of the network: channels of each scale and of its skip connections; and for how long it is fitted."""

    channels: int
    skip: int
    iterations: int


SIZES = {"fast": Size(16, 16, 1000), "normal": Size(32, 32, 1800), "best": Size(64, 64, 5000)}
SCALES = 5
INPUT_CHANNELS = 32
INPUT = 0.1  # the input is uniform in 0..0.1
JITTER = 0.03  # standard deviation of what is added to it, another in each iteration
RATE = 0.01  # of Adam
FALL, LAST = 0.3, 0.1  # over this last share of the iterations the rate falls to this share, along half a cosine
BETAS = (0.9, 0.95)  # the usual 0.999 remembers the large gradients of the beginning: more than twice the iterations
MEMORY = 0.98  # how much of the mean of its drawings each iteration keeps
HELD_BACK = 0.03  # share of the known pixels that say when to stop
LOOK = 25  # iterations between two looks at them
TILE = 768  # pixels: a larger image is fitted in tiles, each by a network of its own


@method(
    "deep-prior",
    source="Ulyanov, Vedaldi & Lempitsky 2018, Deep Image Prior, CVPR",
    margin=64,
    pace=2500.0,
    takes=("iterations",),
)
def deep_prior(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """An hourglass network learns to draw the known pixels from noise; what it draws in the hole is the filling. Slow.

    A convolutional network fits structure long before it fits noise, and the hole as well as its surroundings. The result
    is a running mean of its drawings, at the iteration where known pixels that it was not shown are drawn best: later it
    only learns the others by heart.
    """
    if max(hole.shape) <= TILE:
        return fitted(image, hole, job)
    film = solve(image, hole, 1, job.silent())
    left = iter(range(len(starts(hole.shape[0], TILE)) * len(starts(hole.shape[1], TILE)), 0, -1))

    def fill(part: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """One tile, within its share of the time; its progress is told tile by tile."""
        deadline = time.monotonic() + 0.95 * job.remaining() / next(left)
        return part if gap.all() else fitted(part, gap, replace(job.silent(), deadline=deadline))

    tiled = in_tiles(film, hole, fill, job, 0.0, TILE)
    return film if tiled is None else tiled


def fitted(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """float32 [H, W, C]: the drawing that comes nearest to the pixels held back."""
    size = SIZES[job.quality]
    prior = Prior(image, hole, size, job)
    iterations = job.iterations or size.iterations
    lowest, best = np.inf, image
    for turn in range(1, iterations + 1):
        prior.iterate()
        last = turn == iterations or job.expired()
        if turn % LOOK == 0 or last:
            if (missed := prior.missed()) < lowest:
                lowest, best = missed, prior.mean.copy()
            job.progress(turn / iterations)
        if last:
            break
    return best


class Prior:
    """A network and the image it learns to draw. `mean` is the running mean of its drawings, float32 [H, W, C]."""

    def __init__(self, image: np.ndarray, hole: np.ndarray, size: Size, job: Job) -> None:
        H, W, C = image.shape
        self.image, self.job = image, job
        self.planned = job.iterations or size.iterations
        with random.using(job.rng):
            scales = min(SCALES, max(min(H, W).bit_length() - 2, 1))  # the smallest has some pixels left
            self.network = Hourglass(
                size.channels,
                input_channels=INPUT_CHANNELS,
                output_channels=C,
                scales=scales,
                skip=size.skip,
                enlarge="nearest",
            ).to(job.device)
        shape = (1, H, W, INPUT_CHANNELS)
        self.input = job.rng.uniform(0, INPUT, shape).astype(np.float32)
        self.noise = np.float32(JITTER) * job.rng.standard_normal(shape, dtype=np.float32)
        shown = ~hole & (job.rng.random(hole.shape) >= HELD_BACK)
        if not shown.any():
            shown = ~hole
        held = ~hole & ~shown
        self.asked = held if held.any() else shown
        self.weight = Tensor((shown / (C * shown.sum()))[None, ..., None].astype(np.float32), device=job.device)
        self.target = Tensor(np.where(shown[..., None], image, 0)[None], device=job.device)
        self.optimizer = Adam(self.network.parameters(), lr=RATE, betas=BETAS)
        self.mean = np.zeros_like(image)
        self.turns = 0

    def iterate(self) -> None:
        """One step of Adam on the squared error of the pixels shown."""
        H, W = self.image.shape[:2]
        # fresh noise for 32 channels takes a fifth of the step; one noise, moved to another place, came within 0.2 dB
        moved = np.roll(self.noise, (self.job.rng.integers(H), self.job.rng.integers(W)), axis=(1, 2))
        moved += self.input
        y = self.network(Tensor(moved, device=self.job.device))
        error = y - self.target
        loss = (error * error * self.weight).sum()
        fallen = min(max(0.0, (self.turns / self.planned - 1) / FALL + 1), 1.0)
        self.optimizer.lr = RATE * (LAST + (1 - LAST) * (1 + math.cos(math.pi * fallen)) / 2)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        keep = MEMORY if self.turns else 0.0
        self.mean = np.float32(keep) * self.mean + np.float32(1 - keep) * y.numpy()[0]
        self.turns += 1

    def missed(self) -> float:
        """The mean squared error of `mean` at the known pixels that the network was not shown."""
        return float(np.mean((self.mean[self.asked] - self.image[self.asked]) ** 2))
