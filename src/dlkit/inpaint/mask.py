"""From a mask's pixels to the hole, and what is asked about its shape."""

from __future__ import annotations

import numpy as np

from dlkit.errors import ConfigError

FILL_FROM = 128  # mask values from here on mean "fill", as in other tools


def hole_of(mask: np.ndarray, invert: bool = False) -> np.ndarray:
    """mask : uint8 [H, W], white (128 and above) = fill; the opposite with `invert`.  Returns : bool [H, W]"""
    return (mask < FILL_FROM) if invert else (mask >= FILL_FROM)


def resize(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The nearest pixel's value for each of `shape` = (H, W) pixels: no new values appear."""
    rows, columns = (((np.arange(n) + 0.5) * old / n).astype(np.intp) for n, old in zip(shape, mask.shape))
    return mask[rows[:, None], columns]


def grow(hole: np.ndarray, radius: int) -> np.ndarray:
    """The hole and all pixels within `radius` of it (Euclidean).  Raises : ConfigError for a negative radius."""
    if radius < 0:
        raise ConfigError(f"grow {radius}: expected 0 or more pixels")
    return hole if radius == 0 else distance(~hole) <= radius


def distance(inside: np.ndarray) -> np.ndarray:
    """float32 [H, W]: Euclidean distance to the nearest pixel outside, 0 there; beyond the image's edge lies nothing.

    Source : Felzenszwalb & Huttenlocher 2012 via SciPy's exact transform.
    """
    from scipy.ndimage import distance_transform_edt

    if inside.all():
        return np.full(inside.shape, np.inf, np.float32)
    return distance_transform_edt(inside).astype(np.float32)


def feather_weights(hole: np.ndarray, width: int) -> np.ndarray:
    """float32 [H, W]: how much of the filling to take; rises from the hole's edge to 1 at `width` pixels inside."""
    return np.minimum(distance(hole) / np.float32(width + 1), np.float32(1))


def box_of(hole: np.ndarray, margin: int | None) -> tuple[slice, slice]:
    """The smallest rectangle around the hole and `margin` pixels more, within the image; None: the whole image."""
    if margin is None:
        return slice(0, hole.shape[0]), slice(0, hole.shape[1])
    spans = []
    for axis in (1, 0):
        where = np.flatnonzero(hole.any(axis=axis))
        spans.append(slice(max(int(where[0]) - margin, 0), min(int(where[-1]) + margin + 1, hole.shape[1 - axis])))
    return spans[0], spans[1]
