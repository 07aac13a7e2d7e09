"""Which known patch each patch of the hole is most like, and what follows for the hole's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlkit.inpaint.exemplar import loops
from dlkit.inpaint.exemplar.levels import Level
from dlkit.inpaint.method import Job

SWEEPS = 4  # through the centres, a round
SPREAD = 10.0  # costs that count much alike, in units of their third quartile


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
        loops.measure(self.level.layers, self.level.centres, self.found, self.cost)

    def improve(self, job: Job) -> bool:
        """SWEEPS sweeps, the neighbours at first a few pixels away, so that a good match spreads fast. False if the time
        ran out."""
        for k in range(SWEEPS):
            if job.expired():
                return False
            new = np.empty_like(self.found), np.empty_like(self.cost)
            level, seed = self.level, int(job.rng.integers(1 << 62))
            loops.sweep(
                level.layers, level.whole, level.centres, level.index, self.found, self.cost, *new, max(4 >> k, 1), seed
            )
            self.found, self.cost = new
        return True

    def vote(self, sharp: bool = False) -> None:
        """Gives the hole's pixels their values, and the costs that follow."""
        level = self.level
        scale = SPREAD * float(np.quantile(self.cost, 0.75)) + 1e-6 if len(self.cost) else 1.0
        values = np.empty((len(level.pixels), level.layers.shape[2]), np.float32)
        loops.vote(level.layers, level.pixels, level.index, self.found, self.cost, level.depth, scale, sharp, values)
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
