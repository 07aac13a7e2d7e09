"""The same fillings by OpenCV and scikit-image, where they are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

Peer = Callable[[np.ndarray, np.ndarray], np.ndarray]  # image uint8, hole bool -> filled uint8


def opencv_telea(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.inpaint(image, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)


def opencv_navier_stokes(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.inpaint(image, hole.astype(np.uint8), 3, cv2.INPAINT_NS)


def skimage_biharmonic(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    from skimage.restoration import inpaint_biharmonic

    filled = inpaint_biharmonic(image, hole, channel_axis=-1 if image.ndim == 3 else None)
    return np.rint(filled.clip(0, 1) * 255).astype(np.uint8)


PEERS: dict[str, Peer] = {
    "opencv-telea": opencv_telea,
    "opencv-navier-stokes": opencv_navier_stokes,
    "skimage-biharmonic": skimage_biharmonic,
}
NEEDS = {"opencv": "cv2", "skimage": "skimage"}


def available() -> list[str]:
    return [name for name in PEERS if importlib.util.find_spec(NEEDS[name.partition("-")[0]])]
