"""Which values are tried. A plan is made before its first trial begins, so it does not depend on who runs what when."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from dlkit import random
from dlkit.errors import ConfigError
from dlkit.search.space import Space

MOST = 10_000  # trials; a larger grid is a mistake


def drawn(space: Space, count: int, seed: int, first: int = 0) -> list[dict[str, Any]]:
    """`count` trials at random; that of number n depends on (seed, n) alone, so more can be added later."""
    return [space.draw(_shares(seed, first + i)) for i in range(count)]


def _shares(seed: int, number: int) -> Iterator[float]:
    rng = random.derive(seed, random.SEARCH, number)
    while True:
        yield float(rng.random())


def grid(space: Space, points: int) -> list[dict[str, Any]]:
    """Every combination of `points` values of each range and all values of each choice.

    Raises : ConfigError if those are too many.
    """
    values = [found.grid(points) for found in space.ranges.values()]
    if (count := math.prod(map(len, values))) > MOST:
        sizes = " × ".join(str(len(v)) for v in values)
        raise ConfigError(
            f"the grid has {sizes} = {count:,} points, more than {MOST:,}; use --points, or --method random"
        )
    return [dict(zip(space.ranges, combination)) for combination in itertools.product(*values)]
