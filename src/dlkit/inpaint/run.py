"""One filling, arrays in, arrays out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from dlkit import threads as threading
from dlkit.backends import current_backend
from dlkit.errors import ConfigError, DataError, DTypeError, ShapeError
from dlkit.inpaint.choose import choose
from dlkit.inpaint.mask import box_of, feather_weights
from dlkit.inpaint.method import METHODS, Job, Method

FULL = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}


@dataclass(frozen=True)
class Result:
    """image : as the input, its hole filled        method, reason : what filled it, and why that
    seconds : of the filling alone                  hole_fraction : share of the pixels that were filled, 0..1
    finished : False if the time ran out first and this is the best so far"""

    image: np.ndarray
    method: str
    reason: str
    seconds: float
    hole_fraction: float
    finished: bool = True


def inpaint(
    image: np.ndarray,
    hole: np.ndarray,
    method: str = "auto",
    *,
    quality: str = "normal",
    seed: int = 0,
    feather: int = 0,
    iterations: int | None = None,
    weights: str | None = None,
    device: str = "cpu",
    threads: int = 0,
    timeout: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> Result:
    """Fills the pixels of `image` where `hole` is True; all others come back bit for bit.

    image : uint8, uint16 or float32 in 0..1; [H, W] or [H, W, C], C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA; alpha
        is kept as it is
    hole : bool [H, W]
    feather : width in pixels, inside the hole, over which the filling is blended into what was there
    timeout : seconds after which a method returns the best it has
    threads : 0 is OMP_NUM_THREADS or one per core; the result does not depend on it
    progress : called with the share done, 0..1

    Raises : ShapeError, DTypeError or ConfigError for a wrong call, BackendError for an unknown device; DataError if
        nothing is left to fill from.
    """
    started = time.monotonic()
    check(image, hole)
    if not (isinstance(feather, Integral) and feather >= 0):
        raise ConfigError(f"feather {feather}: expected 0 or more pixels")
    if timeout is not None and not timeout > 0:
        raise ConfigError(f"timeout {timeout}: expected a positive number of seconds")
    if method != "auto":
        check_use(METHODS[method], iterations=iterations, weights=weights)
    threading.set_num_threads(threads)
    current_backend(device)  # an error for a device that is not there, also from methods that do not ask
    deadline = None if timeout is None else started + timeout
    job = Job(quality, seed, growing(progress), deadline, threading.num_threads(), device, weights, iterations)
    fraction = np.count_nonzero(hole) / hole.size
    if not hole.any():
        job.progress(1.0)
        return Result(image.copy(), "none", "the mask is empty: the image is copied", 0.0, fraction)
    name, reason = choose(hole, job) if method == "auto" else (method, "asked for")
    filled = fill(METHODS[name], image, hole, job, feather)
    return Result(filled, name, reason, time.monotonic() - started, fraction, not job.expired())


def check_use(method: Method, **given: Any) -> None:
    """Raises ConfigError for an option that this method would not look at."""
    for name, value in given.items():
        if value is not None and name not in method.takes:
            able = ", ".join(n for n in METHODS.names() if name in METHODS[n].takes)
            raise ConfigError(
                f"{name} was given, but method '{method.name}' does not use it; leave it out ({able} would)"
            )


def growing(progress: Callable[[float], None] | None) -> Callable[[float], None]:
    """Passes on a share done only if it is more than before: an estimate may fall back, a bar should not."""
    highest = 0.0

    def report(fraction: float) -> None:
        nonlocal highest
        if progress is not None and fraction > highest:
            highest = min(fraction, 1.0)
            progress(highest)

    return report


def check(image: np.ndarray, hole: np.ndarray) -> None:
    """Raises unless these arrays can be filled."""
    if image.dtype not in FULL:
        raise DTypeError(f"image is {image.dtype}; give uint8, uint16 or float32 (in 0..1)")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 2, 3, 4)):
        raise ShapeError(f"image has shape {image.shape}; give [H, W] or [H, W, C] with 1 to 4 channels")
    if hole.dtype != bool or hole.shape != image.shape[:2]:
        raise ShapeError(f"hole is {hole.dtype}{list(hole.shape)}; give bool{list(image.shape[:2])}, as the image")
    if not hole.size:
        raise ShapeError(f"image has shape {image.shape}: no pixels")
    if hole.all():
        raise DataError(
            "the mask covers the whole image, nothing is left to fill from; white marks what is filled:"
            " --invert-mask turns it around"
        )


def fill(method: Method, image: np.ndarray, hole: np.ndarray, job: Job, feather: int = 0) -> np.ndarray:
    """A copy of `image` with its hole filled; the method sees the hole's box and its margin, in float32."""
    full = FULL[image.dtype]
    result = image.copy()
    box = box_of(hole, method.margin)
    channels = result[..., None] if image.ndim == 2 else result[..., : image.shape[2] - (image.shape[2] in (2, 4))]
    part, inside = np.ascontiguousarray(channels[box]), np.ascontiguousarray(hole[box])
    pixels = np.flatnonzero(inside)  # as an index of whole pixels, many times faster than the mask
    known = part.astype(np.float32) / np.float32(full)
    whole(known)[pixels] = np.void(known[0, 0].nbytes)  # all its bytes 0
    if image.dtype == np.float32:
        if not np.isfinite(part if feather else known).all():
            where = "" if feather else " outside the mask"
            raise DataError(f"the image holds NaN or infinite values{where}; correct them first")
        if known.min() < -0.001 or known.max() > 1.001:
            raise DataError(f"the image's values go from {known.min():.3g} to {known.max():.3g}; float32 is 0..1 here")
    new = rows(method.fill(known, inside, job)).take(pixels, axis=0).clip(0, 1) * full
    if feather:
        weight = feather_weights(inside, feather).ravel()[pixels, None]
        new = weight * new + (1 - weight) * rows(part)[pixels]
    whole(part)[pixels] = whole((new if full == 1.0 else np.rint(new)).astype(part.dtype))
    channels[box] = part
    job.progress(1.0)
    return result


def rows(image: np.ndarray) -> np.ndarray:
    """[H W, C], the same memory"""
    return image.reshape(-1, image.shape[2])


def whole(pixels: np.ndarray) -> np.ndarray:
    """[...]: the pixels [..., C], each one item of as many bytes, the same memory"""
    return pixels.reshape(-1, pixels.shape[-1]).view(f"V{pixels.shape[-1] * pixels.itemsize}")[:, 0]
