"""The idx files of MNIST and its relatives, gzipped or not.

    magic   0, 0, 8 (uint8), number of dimensions
    sizes   one big-endian uint32 per dimension
    bytes   the product of the sizes, exactly
A folder holds train-images-idx3-ubyte(.gz) and train-labels-idx1-ubyte(.gz), and the same for t10k-
(or test-).
One images file with its labels file beside it will do too.
"""

from __future__ import annotations

import gzip
import math
import re
from pathlib import Path

import numpy as np

from ...errors import DataError
from ..dataset import Dataset
from . import Options
from .common import Pair, assemble, explained, number_classes

NAME = "idx files (MNIST layout)"
OPTIONS = frozenset({"image_size", "grey"})
FILE = re.compile(r"(?P<part>.*?)(?P<kind>images|labels)[-._]idx\d(-ubyte)?(\.gz)?$")
MAX_GZIP_RATIO = 1100  # deflate cannot pack tighter than 1032 to 1
CHUNK = 1 << 24


def accepts(path: Path) -> bool:
    if path.is_dir():
        return any(FILE.fullmatch(p.name) for p in path.glob("*idx*"))
    return FILE.fullmatch(path.name) is not None


def read(path: Path, options: Options) -> Dataset:
    if path.is_dir():
        files = {
            (m["part"].rstrip("-_."), m["kind"]): p for p in sorted(path.glob("*idx*")) if (m := FILE.fullmatch(p.name))
        }
        train = _pair(path, files, "train")
        has_test = next((part for part in ("t10k", "test") if (part, "images") in files), None)
        test = _pair(path, files, has_test) if has_test else None
    else:
        train, test = _beside(path), None
    if test and train[0].shape[1:] != test[0].shape[1:]:
        raise DataError(
            f"{path}: training images are {train[0].shape[1:]} but test images {test[0].shape[1:]};"
            " both must have one size"
        )
    labels, test_labels, classes = number_classes(train[1], test[1] if test else None, path, options.classes)
    return assemble(
        options, (train[0], labels), (test[0], test_labels) if test and test_labels is not None else None, classes, []
    )


def _pair(folder: Path, files: dict[tuple[str, str], Path], part: str) -> Pair:
    for kind in ("images", "labels"):
        if (part, kind) not in files:
            raise DataError(f"{folder}: has no {part}-{kind}-idx{3 if kind == 'images' else 1}-ubyte(.gz); add it")
    return _matching(files[part, "images"], files[part, "labels"])


def _beside(path: Path) -> Pair:
    match = FILE.fullmatch(path.name)
    assert match is not None  # `accepts` saw to it
    if match["kind"] == "labels":
        raise DataError(f"{path}: holds labels only; give the images file beside it, or the folder")
    for other in sorted(path.parent.glob("*labels*idx*")):
        found = FILE.fullmatch(other.name)
        if found and found["kind"] == "labels" and found["part"] == match["part"]:
            return _matching(path, other)
    raise DataError(f"{path}: has no labels file beside it; put {match['part']}labels-idx1-ubyte(.gz) there")


def _matching(image_file: Path, label_file: Path) -> Pair:
    pixels = read_array(image_file, (3, 4))
    labels = read_array(label_file, (1,))
    if len(pixels) != len(labels):
        raise DataError(
            f"{image_file}: {len(pixels)} images but {len(labels)} labels in {label_file.name};"
            " the counts must be equal"
        )
    return pixels, labels


def read_array(path: Path, ndims: tuple[int, ...]) -> np.ndarray:
    """The uint8 array of one idx file. Never allocates more than the file can really hold."""
    with explained(path, "an idx file"), open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        capacity = path.stat().st_size * (MAX_GZIP_RATIO if packed else 1)
        with gzip.GzipFile(fileobj=raw) if packed else raw as file:
            shape = _header(file.read(4), file.read, path, ndims)
            size = math.prod(shape)
            if size > capacity:
                raise DataError(f"{path}: declares {size} bytes ({shape}), far more than it holds; the file is broken")
            data = bytearray()
            while chunk := file.read(min(CHUNK, size + 1 - len(data))):
                data += chunk
            if len(data) != size:
                held = f"{len(data)}" if len(data) < size else "more"
                raise DataError(f"{path}: declares {size} data bytes ({shape}) but holds {held}; fetch it again")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _header(magic: bytes, read, path: Path, ndims: tuple[int, ...]) -> tuple[int, ...]:
    if len(magic) < 4 or magic[:3] != b"\x00\x00\x08" or magic[3] not in ndims:
        raise DataError(
            f"{path}: begins with {magic.hex() or 'nothing'}, not with an idx header of bytes"
            f" (00 00 08 0{ndims[0]}); check that it is the right file"
        )
    sizes = read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(f"{path}: ends inside its header; fetch it again")
    return tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
