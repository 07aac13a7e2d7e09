"""How good a filling is: nearness to the truth, and whether it looks like the photo.

A blur is near the truth and does not look like it; a texture may look right and be far off. So PSNR stands beside two
measures of looks, all in grey levels 0..255 and inside the hole only.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import distance_transform_edt

RING = 16  # pixels around the hole with which its gradients are compared
PATCH = 7
DIRECTIONS = 256
MOST_PATCHES = 20_000


def psnr(filled: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> float:
    """dB over the hole's pixels, all channels together."""
    error = np.mean((filled[hole].astype(np.float64) - truth[hole]) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def grey(image: np.ndarray) -> np.ndarray:
    """float64 [H, W]: luminance (Rec. 601)."""
    x = image.astype(np.float64)
    return x if x.ndim == 2 else x[..., :3] @ (0.299, 0.587, 0.114) if x.shape[2] >= 3 else x[..., 0]


def gradient_ratio(filled: np.ndarray, hole: np.ndarray) -> float:
    """Mean gradient magnitude inside the hole over that in a ring around it: 1 is as lively as the photo, 0 flat."""
    y, x = np.gradient(grey(filled))
    magnitude = np.hypot(y, x)
    ring = ~hole & (distance_transform_edt(~hole) <= RING)
    return float(magnitude[hole].mean() / max(magnitude[ring].mean(), 1e-9))


def sliced_wasserstein(filled: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> float:
    """Distance, in grey levels, between the 7×7 patches centred in the hole and the true ones, as distributions.

    The mean over 256 unit directions of the Wasserstein-1 distance of the patches' projections (Rabin et al. 2011);
    for at most 20,000 patches, evenly chosen.
    """
    a, b = _patches(filled, hole), _patches(truth, hole)
    directions = np.random.default_rng(0).normal(size=(PATCH * PATCH, DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    distance = np.abs(np.sort(a @ directions, axis=0) - np.sort(b @ directions, axis=0))
    return float(distance.mean())


def _patches(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    windows = sliding_window_view(np.pad(grey(image), PATCH // 2, mode="reflect"), (PATCH, PATCH))
    centres = np.argwhere(hole)
    centres = centres[:: -(-len(centres) // MOST_PATCHES)]
    return windows[centres[:, 0], centres[:, 1]].reshape(len(centres), -1)
