"""HDF5 in the layout of the cat photos.

train_*.h5 holds train_set_x uint8[N,H,W,C], train_set_y int[N] and list_classes; test_*.h5 the same with
test_.
Give the folder, or the train file with the test file beside it or test_set_x and test_set_y in it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import DataError
from ..dataset import Dataset
from . import Options
from .common import Pair, assemble, explained, number_classes

NAME = "HDF5 (train_*.h5 and test_*.h5)"
OPTIONS = frozenset({"image_size", "grey"})
SUFFIXES = (".h5", ".hdf5")
MAX_RATIO = 1100  # what deflate can pack at best


def accepts(path: Path) -> bool:
    if path.is_dir():
        return any(p.suffix.lower() in SUFFIXES for p in path.iterdir())
    return path.suffix.lower() in SUFFIXES


def read(path: Path, options: Options) -> Dataset:
    train_file = path
    if path.is_dir():
        found = sorted(p for p in path.glob("train*") if p.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"{path}: has no train*.h5; name the training file so")
        train_file = found[0]
    train, names = _read_part(train_file, "train")
    test_file = train_file.with_name(train_file.name.replace("train", "test", 1))
    test, inside = None, _has_test(train_file)
    test_file = train_file if inside else test_file
    if inside or (test_file != train_file and test_file.is_file()):
        test, test_names = _read_part(test_file, "test")
        if names and test_names and names != test_names:
            raise DataError(
                f"{test_file}: its list_classes {test_names} differ from training's {names}; make them equal"
            )
    labels, test_labels, classes = number_classes(
        train[1], test[1] if test else None, train_file, tuple(names) or options.classes
    )
    return assemble(
        options, (train[0], labels), (test[0], test_labels) if test and test_labels is not None else None, classes, []
    )


def _has_test(path: Path) -> bool:
    import h5py

    with explained(path, "an HDF5 file"), h5py.File(path, "r") as file:
        return "test_set_x" in file


def _read_part(path: Path, part: str) -> tuple[Pair, list[str]]:
    import h5py

    with explained(path, "an HDF5 file"), h5py.File(path, "r") as file:
        pixels = _array(file, f"{part}_set_x", path)
        labels = _array(file, f"{part}_set_y", path).reshape(-1)
        raw = _array(file, "list_classes", path).tolist() if "list_classes" in file else []
        names = [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in raw]
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise DataError(f"{path}: {part}_set_x is {pixels.dtype}{list(pixels.shape)}; uint8 [N,H,W,C] is needed")
    if labels.dtype.kind not in "iu":
        raise DataError(f"{path}: {part}_set_y is {labels.dtype}; whole numbers are needed")
    if len(pixels) != len(labels):
        raise DataError(f"{path}: {len(pixels)} images but {len(labels)} labels; the counts must be equal")
    return (pixels, labels), names


def _array(file, key: str, path: Path) -> np.ndarray:
    import h5py

    stored = file.get(key)
    if not isinstance(stored, h5py.Dataset):
        raise DataError(f"{path}: has no data set '{key}' (it has {', '.join(file) or 'none'}); rename or add it")
    if stored.external or stored.is_virtual:
        raise DataError(f"{path}: '{key}' points into other files, which is refused; store it in this file")
    if stored.nbytes > stored.id.get_storage_size() * MAX_RATIO:
        raise DataError(f"{path}: '{key}' declares {stored.nbytes} bytes, far more than it stores; the file is broken")
    return np.asarray(stored[()])
