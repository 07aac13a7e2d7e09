"""NumPy archives: x_train, y_train[, x_test, y_test] or x, y; `images`/`labels` and capitals work too.

uint8 [N,H,W(,C)] are images; so are floats of that shape, turned to uint8 from 0..1. [N,F] are features.
Labels are whole numbers or strings. Pickled objects are refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import DataError
from ..dataset import Dataset
from . import Options
from .common import Pair, assemble, explained, name_classes, number_classes

NAME = "NumPy .npz"
OPTIONS = frozenset({"image_size", "grey"})
INPUTS, LABELS = ("x", "images", "inputs", "data"), ("y", "labels", "targets")


def accepts(path: Path) -> bool:
    return path.suffix.lower() == ".npz" and not path.is_dir()


def read(path: Path, options: Options) -> Dataset:
    arrays = _read_all(path)
    train = _find(arrays, "train", path) or _find(arrays, "", path)
    if train is None:
        raise DataError(f"{path}: holds {', '.join(arrays) or 'nothing'}; x_train and y_train, or x and y, are needed")
    test = _find(arrays, "test", path)
    test_labels = test[1] if test else None
    if train[1].dtype.kind == "U":
        if test_labels is not None and test_labels.dtype.kind != "U":
            raise DataError(f"{path}: training labels are strings but test labels {test_labels.dtype}; use one kind")
        labels, test_labels, classes = name_classes(train[1], test_labels, path)
    else:
        labels, test_labels, classes = number_classes(train[1], test_labels, path, options.classes)
    return assemble(
        options, (train[0], labels), (test[0], test_labels) if test and test_labels is not None else None, classes, []
    )


def _read_all(path: Path) -> dict[str, np.ndarray]:
    import zipfile

    with explained(path, "a NumPy .npz file"):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                _check_header(archive, member, path)
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}


def _check_header(archive, member, path: Path) -> None:
    """NumPy allocates what the header declares before it reads: compare with what the archive holds first."""
    if not member.filename.endswith(".npy"):
        return
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        form = np.lib.format
        reader = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
        shape, _, dtype = reader(file)
    if dtype.hasobject:
        raise DataError(f"{path}: '{member.filename[:-4]}' holds Python objects, which are refused; save plain arrays")
    declared = dtype.itemsize * int(np.prod(shape, dtype=object))
    if declared > member.file_size:
        raise DataError(
            f"{path}: '{member.filename[:-4]}' declares {declared} bytes but holds {member.file_size}; save it again"
        )


def _find(arrays: dict[str, np.ndarray], part: str, path: Path) -> Pair | None:
    """The pair called x_train/y_train, train_images/train_labels, X/y ...; None if neither half is there."""
    by_name = {key.lower(): key for key in arrays}

    def key_of(stems: tuple[str, ...]) -> str | None:
        wanted = [name for s in stems for name in (f"{s}_{part}", f"{part}_{s}")] if part else stems
        return next((by_name[name] for name in wanted if name in by_name), None)

    x, y = key_of(INPUTS), key_of(LABELS)
    if x is None and y is None:
        return None
    if x is None or y is None:
        raise DataError(f"{path}: holds '{x or y}' without its {'inputs' if x is None else 'labels'}; save both")
    labels = _labels(arrays[y], f"{path}: '{y}'")
    inputs = _inputs(arrays[x], f"{path}: '{x}'")
    if len(inputs) != len(labels):
        raise DataError(f"{path}: '{x}' has {len(inputs)} examples but '{y}' {len(labels)}; the counts must be equal")
    return inputs, labels


def _labels(labels: np.ndarray, where: str) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"{where} has shape {list(labels.shape)}; one label per example, [N], is needed (argmax one-hot)"
        )
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8", "replace")
    if labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.rint(labels)).all():
        return labels.astype(np.int64)
    if labels.dtype.kind == "b":
        return labels.astype(np.int64)
    if labels.dtype.kind not in "iuU":
        raise DataError(f"{where} is {labels.dtype}; labels must be whole numbers or strings")
    return labels


def _inputs(inputs: np.ndarray, where: str) -> np.ndarray:
    if inputs.dtype.kind not in "fiub" or inputs.ndim not in (2, 3, 4):
        raise DataError(
            f"{where} is {inputs.dtype}{list(inputs.shape)}; images [N,H,W(,C)] or numbers [N,F] are needed"
        )
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise DataError(f"{where} holds NaN or infinity; remove or fill those values")
    if inputs.ndim == 2:
        with np.errstate(over="ignore"):
            features = inputs.astype(np.float32)
        if not np.isfinite(features).all():
            raise DataError(f"{where} holds numbers beyond float32's range; scale them down")
        return features
    if inputs.dtype == np.uint8 or inputs.size == 0:
        return inputs.astype(np.uint8)
    low, high = inputs.min(), inputs.max()
    if inputs.dtype.kind in "fb" and low >= 0 and high <= 1:
        return np.rint(inputs.astype(np.float32) * 255).astype(np.uint8)
    whole = inputs.dtype.kind != "f" or (inputs == np.rint(inputs)).all()
    if low < 0 or high > 255 or not whole:
        raise DataError(
            f"{where} has pixels in {low}..{high} ({inputs.dtype}); 0..1, or whole numbers 0..255, are needed"
        )
    return inputs.astype(np.uint8)
