"""Photos of any size, without classes: a folder or zip of images however deep, or the images of any other data set.

`len(photos)`, `photos.sizes[i]` (height, width), `photos.read(i)` -> uint8 [H, W, C], `photos.name(i)`.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from . import images
from .formats.common import explained
from .formats.imagefolder import FolderOpener, ZipOpener
from .sources import Source

LONGEST = 1024  # pixels: larger photos are reduced; a camera's own pixels hold little that a network could learn
CACHE_BYTES = 2**30  # of decoded pixels; what is beyond that is decoded anew


class Photos(ABC):
    sizes: list[tuple[int, int]]
    channels: int

    def __len__(self) -> int:
        return len(self.sizes)

    @abstractmethod
    def read(self, i: int) -> np.ndarray:
        """uint8 [H, W, C], not to be changed; safe from several threads."""

    @abstractmethod
    def name(self, i: int) -> str: ...


class SourcePhotos(Photos):
    """The images of a data set that has classes, which are not looked at."""

    def __init__(self, source: Source):
        self.source = source
        self.sizes = [source.shape[:2]] * len(source)  # type: ignore[list-item]
        self.channels = source.shape[2]

    def read(self, i: int) -> np.ndarray:
        return self.source.read([i])[0]

    def name(self, i: int) -> str:
        return self.source.name(i)


class FilePhotos(Photos):
    """Image files, their headers read at once and each decoded when first asked for."""

    def __init__(self, files: Sequence[str], opener: FolderOpener | ZipOpener, grey: bool | None):
        self.files, self._open = files, opener
        probed = [images.probe(opener(file), opener.where(file)) for file in files]
        self.channels = probed[0][2] if grey is None else 1 if grey else 3
        self.sizes = [reduced(height, width) for height, width, _ in probed]
        self.reduced = sum(size != shape[:2] for size, shape in zip(self.sizes, probed))
        self._kept: dict[int, np.ndarray] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def read(self, i: int) -> np.ndarray:
        if i in self._kept:
            return self._kept[i]
        file = self.files[i]
        pixels, _, _ = images.decode(self._open(file), (*self.sizes[i], self.channels), self._open.where(file))
        with self._lock:
            if i not in self._kept and self._bytes + pixels.nbytes <= CACHE_BYTES:
                self._kept[i] = pixels
                self._bytes += pixels.nbytes
        return pixels

    def name(self, i: int) -> str:
        return self._open.where(self.files[i])


def reduced(height: int, width: int) -> tuple[int, int]:
    """The size of a photo whose longer side is at most LONGEST."""
    shrink = max(height, width) / LONGEST
    return (height, width) if shrink <= 1 else (max(1, round(height / shrink)), max(1, round(width / shrink)))


def open_photos(path: Path, grey: bool | None = None) -> FilePhotos:
    """All images below a folder or in a zip.  Raises : DataError if there are none, or one cannot be read."""
    with explained(path, "a folder or .zip of photos"):
        opener = FolderOpener(path) if path.is_dir() else ZipOpener(path)
    files = sorted(file for file in opener.files if _is_photo(file))
    if not files:
        raise DataError(f"{path}: holds no images; give a folder or .zip of photos")
    return FilePhotos(files, opener, grey)


def _is_photo(file: str) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in file.split("/"))
    return not hidden and os.path.splitext(file)[1].lower() in images.SUFFIXES
