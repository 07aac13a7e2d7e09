"""CIFAR-10's binary batches, straight from the tar archive or from a folder.

Each record is one label byte and 3072 pixel bytes: 32×32 red, then green, then blue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import DataError
from ..dataset import Dataset
from . import Options
from .common import Pair, assemble, explained, number_classes

NAME = "CIFAR-10 binary batches (.tar.gz or folder)"
OPTIONS = frozenset({"image_size", "grey"})
BATCH = re.compile(r"(data_batch_\d+|test_batch)\.bin")
META = "batches.meta.txt"
RECORD = 1 + 3 * 32 * 32
MAX_BATCH = 60_000 * RECORD
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def accepts(path: Path) -> bool:
    if path.is_dir():
        return any(BATCH.fullmatch(p.name) for p in path.glob("*.bin"))
    return path.name.endswith((".tar.gz", ".tgz", ".tar"))


def read(path: Path, options: Options) -> Dataset:
    with explained(path, NAME):
        batches = dict(_from_folder(path) if path.is_dir() else _from_tar(path))
    classes = tuple(batches.pop(META, b"").decode("utf-8", "replace").split()) or options.classes or CLASSES
    train, test = _records(path, batches, "data_"), _records(path, batches, "test_")
    if train is None:
        raise DataError(f"{path}: holds no data_batch_1.bin; give CIFAR-10's binary archive")
    labels, test_labels, names = number_classes(train[1], test[1] if test else None, path, classes)
    return assemble(
        options, (train[0], labels), (test[0], test_labels) if test and test_labels is not None else None, names, []
    )


def _from_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in path.iterdir():
        if BATCH.fullmatch(file.name) or file.name == META:
            _check_size(path, file.name, file.stat().st_size)
            yield file.name, file.read_bytes()


def _from_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    import tarfile

    with tarfile.open(path, "r|*") as archive:  # a stream: nothing is read twice, nothing written to disk
        for member in archive:
            name = member.name.rsplit("/", 1)[-1]
            if not member.isreg() or member.issparse() or not (BATCH.fullmatch(name) or name == META):
                continue
            _check_size(path, name, member.size)
            stream = archive.extractfile(member)
            data = stream.read() if stream else b""
            if len(data) != member.size:
                raise DataError(f"{path}: ends inside {name}; fetch it again")
            yield name, data


def _check_size(path: Path, name: str, size: int) -> None:
    if size > MAX_BATCH:
        raise DataError(f"{path}: {name} has {size} bytes, at most {MAX_BATCH} were expected; the file is not CIFAR-10")


def _records(path: Path, batches: dict[str, bytes], part: str) -> Pair | None:
    batches = {name: data for name, data in sorted(batches.items()) if name.startswith(part)}
    for name, data in batches.items():
        if len(data) == 0 or len(data) % RECORD:
            raise DataError(f"{path}: {name} has {len(data)} bytes, no multiple of {RECORD}; fetch it again")
    if not batches:
        return None
    table = np.frombuffer(b"".join(batches.values()), np.uint8).reshape(-1, RECORD)
    pixels = np.ascontiguousarray(table[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return pixels, table[:, 0]
