"""Initial weights: each rule draws an array of a given shape. Linear weights are [I, O], filters [R, S, C/G, K].

fan_in is what one output is summed from (I, or R·S·C/G), fan_out what one input feeds (O, or R·S·K/G). A rule computes them
from the shape, with G = 1, unless they are given: grouped and transposed convolutions know better.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dlkit.registry import Registry

Fans = tuple[float, float]
Init = Callable[..., np.ndarray]  # (shape, rng, fans=None)
INITS: Registry[Init] = Registry("initialisation")


def _init(f: Init) -> Init:
    return INITS.add(f.__name__, f)


def fans_of(shape: tuple[int, ...]) -> Fans:
    """(fan_in, fan_out) of a weight of this shape."""
    receptive = math.prod(shape[:-2])
    return receptive * shape[-2], receptive * shape[-1]


@_init
def zeros(shape, rng, fans=None):
    """All zero: what a course shows to fail, because every unit of a layer stays the same."""
    return np.zeros(shape)


@_init
def normal(shape, rng, fans=None):
    """N(0, 0.01²), the small random numbers of AlexNet (Krizhevsky et al. 2012)."""
    return 0.01 * rng.standard_normal(shape)


@_init
def xavier_uniform(shape, rng, fans=None):
    """U(±√(6 / (fan_in + fan_out))), Glorot & Bengio 2010, equation 16."""
    limit = math.sqrt(6 / sum(fans or fans_of(shape)))
    return rng.uniform(-limit, limit, shape)


@_init
def xavier_normal(shape, rng, fans=None):
    """N(0, 2 / (fan_in + fan_out)), Glorot & Bengio 2010, equation 12."""
    return math.sqrt(2 / sum(fans or fans_of(shape))) * rng.standard_normal(shape)


@_init
def he_uniform(shape, rng, fans=None):
    """U(±√(6 / fan_in)), He et al. 2015, equation 10 with a uniform draw."""
    limit = math.sqrt(6 / (fans or fans_of(shape))[0])
    return rng.uniform(-limit, limit, shape)


@_init
def he_normal(shape, rng, fans=None):
    """N(0, 2 / fan_in), He et al. 2015, equation 10: keeps the variance through ReLUs."""
    return math.sqrt(2 / (fans or fans_of(shape))[0]) * rng.standard_normal(shape)


@_init
def lecun_uniform(shape, rng, fans=None):
    """U(±1 / √fan_in), close to LeCun et al. 1998 (Efficient BackProp); also PyTorch's default."""
    limit = 1 / math.sqrt((fans or fans_of(shape))[0])
    return rng.uniform(-limit, limit, shape)
