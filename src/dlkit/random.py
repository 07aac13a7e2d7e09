"""The one tree of random numbers.

Everything random in dlkit is a branch of one seed, `numpy.random.SeedSequence((seed, *path))`:

    (seed, 0)                       the process-wide default: initial weights, dropout
    (seed, 1, epoch)                the order of the examples in an epoch
    (seed, 2, epoch, batch)         the augmentation of one batch
    (seed, 3)                       the examples a normalizer is fitted on
    (seed, 4)                       the filling of an image (dlkit.inpaint)
    (seed, 6, number)               the values of a trial (dlkit.search)
    (seed, 7, photo, number)        the holes that a network which fills is judged by
    (seed, 8)                       which examples are kept where each class is to have a few

A branch is named by where it is used, never by how much was drawn before, so any batch of any epoch can
be made again by itself: that is what makes a resumed run equal to an uninterrupted one.

`SeedSequence` pads short entropy with zeros, so (7, 1) and (7, 1, 0) are the same stream. Paths that
start with the same branch number must therefore all have the same length.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import index

import numpy as np

from dlkit.errors import ConfigError

DEFAULT, ORDER, AUGMENT, NORMALIZE, INPAINT, SEARCH, HOLES, LIMIT = 0, 1, 2, 3, 4, 6, 7, 8


def derive(seed: int, *path: int) -> np.random.Generator:
    """A fresh PCG64 generator for the branch `path` of `seed`.

    Raises ConfigError unless all are integers in [0, 2**32): a larger one would fill two 32-bit words
    of entropy and so collide with another, longer path.
    """
    return np.random.default_rng(np.random.SeedSequence(tuple(_word(n) for n in (seed, *path))))


def _word(n: int) -> int:
    try:
        word = index(n)
    except TypeError:
        word = -1
    if not 0 <= word < 2**32:
        raise ConfigError(f"seed {n!r}: expected an integer from 0 to 4294967295; choose another seed")
    return word


_default = derive(0, DEFAULT)


def seed(n: int) -> None:
    """Restart the process-wide default generator at branch (n, 0). Until called, n is 0."""
    global _default
    _default = derive(n, DEFAULT)


def generator() -> np.random.Generator:
    """The process-wide default generator. Ask for it at each use: `seed` and `using` replace it."""
    return _default


@contextmanager
def using(generator: np.random.Generator) -> Iterator[np.random.Generator]:
    """Make `generator` the default inside the block; the former one returns, untouched, after it.

    The default belongs to the process, not to a thread: background threads take their own from `derive`.
    """
    global _default
    former, _default = _default, generator
    try:
        yield generator
    finally:
        _default = former
