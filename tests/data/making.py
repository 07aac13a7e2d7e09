"""Small files for the data tests."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image


def image_bytes(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def grey(value: int = 7, size: tuple[int, int] = (4, 5)) -> bytes:
    return image_bytes(np.full(size, value, np.uint8))


def rgb(value: int = 7, size: tuple[int, int] = (4, 5)) -> bytes:
    return image_bytes(np.full((*size, 3), value, np.uint8))


def idx_bytes(array: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    shape = array.shape if shape is None else shape
    return struct.pack(f">I{len(shape)}I", 0x800 + len(shape), *shape) + array.tobytes()


def write_mnist(folder: Path, packed: bool = True, train: int = 30, test: int = 10) -> np.ndarray:
    """An MNIST-like folder of random images; returns the training images."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    kept = None
    for part, count in (("train", train), ("t10k", test)):
        pixels = rng.integers(0, 256, (count, 6, 5), np.uint8)
        kept = pixels if kept is None else kept
        labels = np.arange(count, dtype=np.uint8) % 10
        for name, array in ((f"{part}-images-idx3-ubyte", pixels), (f"{part}-labels-idx1-ubyte", labels)):
            data = idx_bytes(array)
            (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)
    return kept


def write_tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
