"""Where examples come from: arrays in memory, image files decoded once, or a view of either.

A source has
    shape       per example, (H, W, C) for images or (F,) for features
    labels      int64[N]
    is_image    uint8 images, or else float32 features
    read(indices) -> [B, *shape]     a fresh array, uint8 or float32; safe from several threads
    name(i)     what to call example i in a message
    remarks()   what there is to know about the examples read so far
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import DataError, UsageError
from . import images


class Source(ABC):
    shape: tuple[int, ...]
    labels: np.ndarray
    is_image: bool

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """[B, *shape] in the order of `indices` (integers in 0..N-1; UsageError otherwise)."""

    @abstractmethod
    def name(self, i: int) -> str:
        """A name for example i, for messages."""

    def remarks(self) -> list[str]:
        return []

    def _checked(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        index = np.asarray(indices)
        if index.size == 0:
            return np.zeros(0, np.int64)
        if index.ndim != 1 or index.dtype.kind not in "iu":
            raise UsageError(f"indices are {index.dtype}{list(index.shape)}; give a 1-D list of integers")
        if index.min() < 0 or index.max() >= len(self):
            raise UsageError(
                f"index {index.min() if index.min() < 0 else index.max()} is outside 0..{len(self) - 1};"
                f" this source has {len(self)} examples"
            )
        return index.astype(np.int64)


def as_labels(labels: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """`labels` as int64[count]; DataError if they are not whole numbers, one per example."""
    array = np.asarray(labels)
    if array.dtype.kind not in "iu" and array.size:
        raise DataError(f"labels are {array.dtype}; whole numbers 0..classes-1 are needed, convert them first")
    if array.shape != (count,):
        raise DataError(f"labels have shape {list(array.shape)} but there are {count} examples; give one for each")
    return np.ascontiguousarray(array, dtype=np.int64)


class ArraySource(Source):
    """Examples in memory: uint8 [N,H,W] or [N,H,W,C] images, or [N,F] features kept as float32."""

    def __init__(
        self,
        inputs: np.ndarray,
        labels: Sequence[int] | np.ndarray,
        names: Sequence[str] | None = None,
    ) -> None:
        array = np.asarray(inputs)
        self.is_image = array.dtype == np.uint8 and array.ndim in (3, 4)
        if self.is_image:
            array = array[..., None] if array.ndim == 3 else array
        elif array.ndim == 2 and array.dtype.kind in "fiub":
            array = array.astype(np.float32, copy=False)
        else:
            raise DataError(
                f"inputs are {array.dtype}{list(array.shape)}; uint8 [N,H,W] or [N,H,W,C] images or"
                " [N,F] numbers are needed"
            )
        self._inputs = np.ascontiguousarray(array)
        self.shape = array.shape[1:]
        self.labels = as_labels(labels, len(array))
        if names is not None and len(names) != len(array):
            raise DataError(f"{len(names)} names were given for {len(array)} examples; give one for each")
        self._names = names

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return self._inputs[self._checked(indices)]

    def name(self, i: int) -> str:
        return self._names[i] if self._names is not None else f"example {i}"


_UNREAD, _BUSY, _READ = 0, 1, 2


class ImageFilesSource(Source):
    """Image files decoded when first read, each at most once, into one uint8 cache [N,H,W,C].

    `opener(file) -> bytes` reads a file from a folder or an archive. Images of another size are resized,
    of another mode converted to grey (C=1) or RGB (C=3); `resized` and `converted` count them.
    A file that cannot be decoded raises DataError naming it.
    """

    is_image = True

    def __init__(
        self,
        files: Sequence[str],
        labels: Sequence[int] | np.ndarray,
        shape: tuple[int, int, int],
        opener: Callable[[str], bytes],
    ) -> None:
        if len(shape) != 3 or shape[2] not in (1, 3) or min(shape) < 1:
            raise DataError(f"image shape {shape} is not (height, width, 1 or 3); give image_size and grey")
        self.files = files
        self.labels = as_labels(labels, len(files))
        self.shape = tuple(shape)
        self.resized = 0
        self.converted = 0
        self._open = opener
        self._where = getattr(opener, "where", str)
        self._cache = images.empty_cache(len(files), self.shape)
        self._state = np.zeros(len(files), np.uint8)
        self._changed = threading.Condition()

    @property
    def decoded(self) -> np.ndarray:
        """bool[N]: which images lie in the cache."""
        return self._state == _READ

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        index = self._checked(indices)
        if not (self._state[index] == _READ).all():
            self._decode(index)
        return self._cache[index]

    def name(self, i: int) -> str:
        return str(self.files[i])

    def remarks(self) -> list[str]:
        height, width, channels = self.shape
        counted = (
            (self.resized, f"resized to {height}×{width}"),
            (self.converted, f"converted to {'grey' if channels == 1 else 'RGB'}"),
        )
        return [f"{n} image{'s were' if n > 1 else ' was'} {what}" for n, what in counted if n]

    def _decode(self, index: np.ndarray) -> None:
        """Bring `index` into the cache: claim what nobody has, decode it, then wait for other threads."""
        while True:
            with self._changed:
                mine = np.unique(index[self._state[index] == _UNREAD])
                self._state[mine] = _BUSY
                if mine.size == 0:
                    if (self._state[index] == _READ).all():
                        return
                    self._changed.wait()
                    continue
            try:
                for i in mine:
                    self._decode_one(int(i))
            finally:
                with self._changed:
                    # After an error the rest of the claim goes back, so that a waiting thread meets it too.
                    self._state[mine[self._state[mine] == _BUSY]] = _UNREAD
                    self._changed.notify_all()

    def _decode_one(self, i: int) -> None:
        file = self.files[i]
        pixels, resized, converted = images.decode(self._open(file), self.shape, self._where(file))
        self._cache[i] = pixels
        with self._changed:
            self.resized += resized
            self.converted += converted
            self._state[i] = _READ


class Subset(Source):
    """The examples `indices` of another source, without copying them; `labels` are theirs here, if not the same."""

    def __init__(
        self, source: Source, indices: Sequence[int] | np.ndarray, labels: Sequence[int] | np.ndarray | None = None
    ) -> None:
        self.source = source
        self.indices = source._checked(indices)
        self.shape = source.shape
        self.is_image = source.is_image
        self.labels = source.labels[self.indices] if labels is None else as_labels(labels, len(self.indices))

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return self.source.read(self.indices[self._checked(indices)])

    def name(self, i: int) -> str:
        return self.source.name(int(self.indices[i]))

    def remarks(self) -> list[str]:
        return self.source.remarks()
