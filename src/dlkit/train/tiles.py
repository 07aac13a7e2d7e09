"""Many small images as one, and numbers as colours: filters, feature maps."""

from __future__ import annotations

import math

import numpy as np

MOST = 64  # tiles in one picture


def filter_tiles(weight: np.ndarray, scale: int = 8) -> np.ndarray:
    """The filters [R, S, C, K] of a convolution as a picture, uint8 [H, W, 3 or 1].

    With three input channels each filter is a colour tile; otherwise a row shows one input channel, a column one filter,
    at most MOST tiles. Grey is 0, brighter is positive, darker negative, the largest weight of the picture at full
    brightness.
    """
    size = np.abs(weight).max() or 1.0
    pixels = np.round(127.5 + 127.5 * weight / size).astype(np.uint8)
    c, k = weight.shape[2:]
    if c == 3:
        return tiled(pixels.transpose(3, 0, 1, 2)[:MOST], scale=scale)
    columns = min(k, MOST if c > 1 else k)
    rows = max(1, min(c, MOST // columns))
    shown = pixels[:, :, :rows, :columns].transpose(2, 3, 0, 1).reshape(-1, *weight.shape[:2], 1)
    return tiled(shown[: max(MOST, columns)], columns if rows > 1 else None, scale)


def map_tiles(maps: np.ndarray, scale: int = 1) -> np.ndarray:
    """Feature maps [H, W, K] as a picture, uint8 [., ., 1]: each from black (its smallest value) to white."""
    shown = maps.transpose(2, 0, 1)[:MOST]
    low = shown.min(axis=(1, 2), keepdims=True)
    span = shown.max(axis=(1, 2), keepdims=True) - low
    pixels = np.round(255 * (shown - low) / np.where(span > 0, span, 1))
    return tiled(pixels.astype(np.uint8)[..., None], scale=scale)


def tiled(images: np.ndarray, columns: int | None = None, scale: int = 1, gap: int = 2) -> np.ndarray:
    """uint8 [N, H, W, C] in rows of `columns` (by default about as many as rows), every pixel `scale` wide, dark gaps."""
    n, h, w, c = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = -(-n // columns)
    large = images.repeat(scale, axis=1).repeat(scale, axis=2)
    h, w = h * scale + gap, w * scale + gap
    out = np.full((rows * h - gap, columns * w - gap, c), 24, np.uint8)
    for i, image in enumerate(large):
        y, x = i // columns * h, i % columns * w
        out[y : y + h - gap, x : x + w - gap] = image
    return out
