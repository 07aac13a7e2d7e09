"""Turn stored examples into the float32 numbers a network is trained on."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit import random
from dlkit.errors import ConfigError, DataError

MODES = ("standard", "scale", "none")
_CHUNK = 64  # examples decoded at once while fitting: bounds memory for large pictures


class Normalizer:
    """z = (x / unit - mean) / std, with `unit` 255 for images (1 for features or mode "none").

    `mean` and `std` are float64[C] for images, one number per channel, or float64[F] for features:

        mode        images              features
        standard    mean and std        mean and std
        scale       x / 255 alone       minimum and range, so that z is in [0, 1]
        none        x as it is          x as it is

    A constant channel or feature gets std 1, so that it becomes 0 and not infinity. The standard
    deviation is the population's (divided by n). Source: LeCun et al. 1998, "Efficient BackProp", 4.3.
    """

    def __init__(self, mode: str, mean: np.ndarray, std: np.ndarray, is_image: bool) -> None:
        if mode not in MODES:
            raise ConfigError(f"normalization {mode!r}: expected one of {', '.join(MODES)}; choose one")
        self.mode = mode
        self.is_image = bool(is_image)
        self.mean = np.asarray(mean, np.float64)
        self.std = np.asarray(std, np.float64)
        if self.mean.ndim != 1 or self.mean.shape != self.std.shape:
            raise ConfigError(
                f"normalization: mean {self.mean.shape} and std {self.std.shape}: "
                "expected two vectors of one length; fit the normalizer again"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all() and (self.std > 0).all()):
            raise ConfigError("normalization: expected finite means and positive stds; fit it again")
        self._rows: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @classmethod
    def fit(cls, source: Any, mode: str = "standard", seed: int = 0, limit: int = 5000) -> Normalizer:
        """Measure a Source on all its examples, or on `limit` drawn from branch (seed, 3) if it has more.

        Raises ConfigError for an unknown mode or limit < 1, DataError for no examples or for NaN and
        infinity among the features.
        """
        width = source.shape[-1]
        if mode not in MODES or mode == "none" or (mode == "scale" and source.is_image):
            return cls(mode, np.zeros(width), np.ones(width), source.is_image)
        if limit < 1:
            raise ConfigError(f"limit {limit!r}: expected 1 example or more to fit on; raise the limit")
        if len(source) == 0:
            raise DataError("normalization: the data set has no examples; expected 1 or more; check its path")
        chosen = np.arange(len(source))
        if len(source) > limit:
            chosen = np.sort(random.derive(seed, random.NORMALIZE).choice(len(source), limit, replace=False))
        chunks = (source.read(chosen[i : i + _CHUNK]) for i in range(0, len(chosen), _CHUNK))
        low, high, mean, std = _measure_images(chunks) if source.is_image else _measure_features(chunks)
        if mode == "scale":
            mean, std = low, high - low
        # Equal extremes, not std == 0, tell a constant: rounding leaves a constant's std a hair above 0.
        flat = (low == high) | (std < np.finfo(np.float32).tiny)
        return cls(mode, mean, np.where(flat, 1.0, std), source.is_image)

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Normalize a batch: x [B,H,W,C] uint8 or [B,F] float32 -> float32, same shape, contiguous.

        `out`: a C-contiguous float32 array of x's shape to write to. Raises ConfigError if the last axis
        is not the one fitted on, or `out` does not fit.
        """
        if x.ndim < 2 or x.shape[-1] != len(self.mean):
            raise ConfigError(
                f"normalization: got a batch {x.shape}, expected {len(self.mean)} "
                f"{'channels' if self.is_image else 'features'} on the last axis; fit it on this data"
            )
        if out is None:
            out = np.empty(x.shape, np.float32)
        elif out.shape != x.shape or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise ConfigError(
                f"normalization: out is {out.dtype}{out.shape}, expected contiguous float32{x.shape}; "
                "leave it out to have one made"
            )
        # One row per example: NumPy's inner loop then runs over H*W*C numbers instead of over C.
        size = int(np.prod(x.shape[1:]))
        rows, flat = x.reshape(len(x), size), out.reshape(len(x), size)
        first, second = self._row(size)
        np.copyto(flat, rows, casting="same_kind")
        if self.mode == "none":
            pass
        elif self.is_image:
            np.multiply(flat, first, out=flat)
            if self.mode != "scale":
                np.add(flat, second, out=flat)
        else:
            # Subtract first: with a mean far from 0, x * scale + offset would cancel in float32.
            np.subtract(flat, second, out=flat)
            np.multiply(flat, first, out=flat)
        return out

    def _row(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Factor and addend (images) or factor and subtrahend (features), float32[size], kept by size."""
        if size not in self._rows:
            if self.is_image:
                parts = 1 / (255 * self.std), -self.mean / self.std
            else:
                parts = 1 / self.std, self.mean
            # One channel: a plain number, which NumPy applies about twice as fast as a row.
            repeats = size // len(self.mean)
            rows = (p.astype(np.float32) for p in parts)
            first, second = (np.tile(p, repeats) if len(p) > 1 else p[0] for p in rows)
            self._rows = {size: (first, second)}  # one size only: pictures of many sizes must not pile up
            return first, second
        return self._rows[size]

    def state(self) -> dict[str, Any]:
        """Everything needed to make this normalizer again; plain JSON values, floats exact."""
        return {
            "mode": self.mode,
            "is_image": self.is_image,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Normalizer:
        """The inverse of `state`. Raises ConfigError if a key is missing."""
        missing = [key for key in ("mode", "is_image", "mean", "std") if key not in state]
        if missing:
            raise ConfigError(
                f"normalization state lacks {', '.join(missing)}; expected mode, is_image, mean, std; "
                "use what Normalizer.state() returned"
            )
        return cls(state["mode"], state["mean"], state["std"], state["is_image"])


def _measure_images(chunks: Any) -> tuple[np.ndarray, ...]:
    """low, high, mean and std of x/255, float64[C] each, exact up to the last rounding: from histograms."""
    counts: Any = 0
    for x in chunks:
        counts = counts + np.stack([np.bincount(c.ravel(), minlength=256) for c in np.moveaxis(x, -1, 0)])
    levels = np.arange(256) / 255
    total = counts.sum(1)
    mean = counts @ levels / total
    std = np.sqrt((counts * (levels - mean[:, None]) ** 2).sum(1) / total)
    low = np.argmax(counts > 0, axis=1) / 255
    high = (255 - np.argmax(counts[:, ::-1] > 0, axis=1)) / 255
    return low, high, mean, std


def _measure_features(chunks: Any) -> tuple[np.ndarray, ...]:
    """low, high, mean and std, float64[F] each. Chunks are merged as in Chan, Golub, LeVeque 1979."""
    n, low, high, mean, squares = 0, np.inf, -np.inf, 0.0, 0.0
    for x in chunks:
        x = x.astype(np.float64)
        if not np.isfinite(x).all():
            raise DataError("normalization: found NaN or infinity in the features; clean the data first")
        m, centre = len(x), x.mean(0)
        delta = centre - mean
        squares = squares + ((x - centre) ** 2).sum(0) + delta**2 * (n * m / (n + m))
        mean = mean + delta * (m / (n + m))
        n += m
        low, high = np.minimum(low, x.min(0)), np.maximum(high, x.max(0))
    return np.asarray(low), np.asarray(high), np.asarray(mean), np.sqrt(squares / n)
