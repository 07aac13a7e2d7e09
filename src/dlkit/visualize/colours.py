"""Numbers over an image as colours on it."""

from __future__ import annotations

import numpy as np

LEAST_SIDE = 224  # pixels: smaller images are shown enlarged


def enlarged(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, C] with every pixel as large as makes the shorter side at least LEAST_SIDE."""
    scale = max(1, -(-LEAST_SIDE // min(image.shape[:2])))
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


def shades(values: np.ndarray) -> np.ndarray:
    """[H, W], not negative, as uint8 grey [H, W, 1]: 0 is black, the 99th percentile and above white, so that a single
    pixel does not leave the rest in the dark."""
    top = np.percentile(values, 99) or values.max() or 1.0
    return np.round(255 * np.clip(values / top, 0, 1)).astype(np.uint8)[..., None]


def overlaid(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """The image, uint8 [H, W, C], with heat on it, uint8 [H, W, 3]: cam [h, w] is enlarged bilinearly, its largest value is
    red and covers most, 0 leaves the image as it is."""
    import matplotlib

    heat = resized(cam, image.shape[:2])
    share = heat / (heat.max() or 1.0)
    colour = matplotlib.colormaps["turbo"](share)[..., :3]
    cover = 0.6 * np.minimum(2 * share, 1)[..., None]
    mixed = (1 - cover) * np.broadcast_to(image / 255, (*image.shape[:2], 3)) + cover * colour
    return np.round(255 * mixed).astype(np.uint8)


def resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float32 [h, w] brought to (H, W) bilinearly, pixel areas kept in place."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR))
