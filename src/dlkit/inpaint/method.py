"""What a filling method is, and the one list of them.

    @method("harmonic", source="Chan & Shen 2002", margin=1)
    def harmonic(image, hole, job): ...

image : float32 [H, W, C] in 0..1, C = 1 or 3; known pixels exact, those of the hole 0. Not to be changed.
hole : bool [H, W], True = fill; at least one pixel is True and at least one is False.
job : what the user asked for, how to report progress, when to stop.
Returns : float32 [H, W, C]; only its hole pixels are used, clipped to 0..1.

Everything around that is done by `dlkit.inpaint.run`: files, alpha, orientation, 16 bits, cropping, feathering. A method
is a file in `methods/`; importing `dlkit.inpaint` imports them all, so what takes long to import (Numba, SciPy) is imported
where it is used.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import numpy as np

from dlkit import random
from dlkit.errors import ConfigError
from dlkit.registry import Registry

QUALITIES = ("fast", "normal", "best")


def _silent(fraction: float) -> None:
    """Progress that nobody watches."""


@dataclass
class Job:
    """One filling: what was asked for, and the way back to who asked.

    quality : "fast", "normal" or "best"
    seed, rng : all randomness comes from `rng`, the branch (seed, 4) of dlkit.random; derive further ones from `seed`
    progress : progress(fraction) with a growing fraction in 0..1, called now and then from the calling thread
    deadline : a time.monotonic() after which the method returns the best it has; None: no limit
    threads : how many work (already set for the kernels); the result must not depend on it
    device : where tensors live, for methods that compute with them
    weights : a run folder of `dlkit train --task inpaint`, or None
    iterations : for methods that iterate; None: by quality
    """

    quality: str = "normal"
    seed: int = 0
    progress: Callable[[float], None] = _silent
    deadline: float | None = None
    threads: int = 1
    device: str = "cpu"
    weights: str | None = None
    iterations: int | None = None
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise ConfigError(f"quality {self.quality!r}: expected one of {', '.join(QUALITIES)}")
        if self.iterations is not None and not (isinstance(self.iterations, Integral) and self.iterations >= 1):
            raise ConfigError(f"iterations {self.iterations}: expected a whole number of at least 1")
        self.rng = random.derive(self.seed, random.INPAINT)

    def expired(self) -> bool:
        """Whether the deadline has passed: return the best result so far."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def silent(self) -> Job:
        """The same, for a part of the work whose progress nobody hears of."""
        return replace(self, progress=_silent)

    def remaining(self) -> float:
        """Seconds until the deadline, infinite without one."""
        return float("inf") if self.deadline is None else self.deadline - time.monotonic()


Fill = Callable[[np.ndarray, np.ndarray, Job], np.ndarray]


@dataclass(frozen=True)
class Method:
    """A filling method.

    margin : how many known pixels around the hole's box it looks at; None: the whole image
    pace : seconds for a megapixel of squares of 8×8 pixels that the hole touches, in colour on two cores; "auto" asks when
        time is short
    square : side in pixels of a wholly known square that it cannot do without
    takes : options that only some methods use
    """

    name: str
    fill: Fill
    source: str
    margin: int | None = None
    pace: float = 0.0
    square: int = 0
    takes: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.fill) or "").partition("\n")[0]


METHODS: Registry[Method] = Registry("method")


def method(name: str, *, source: str, **properties: Any) -> Callable[[Fill], Fill]:
    """Puts the decorated function into METHODS; properties: margin, pace, square, takes."""

    def register(fill: Fill) -> Fill:
        METHODS.add(name, Method(name, fill, source, **properties))
        return fill

    return register
