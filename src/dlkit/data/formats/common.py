"""What several formats share: labels to class numbers, arrays to a Dataset."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ...errors import DataError, DlkitError
from .. import images
from ..dataset import Dataset, hold_out
from ..sources import ArraySource
from . import Options

Pair = tuple[np.ndarray, np.ndarray]


@contextmanager
def explained(path: Path | str, what: str) -> Iterator[None]:
    """Whatever a library raises on a broken file becomes one DataError naming it."""
    try:
        yield
    except DlkitError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {what} was expected there") from None
    except PermissionError:
        raise DataError(f"{path}: may not be read; check its permissions") from None
    except MemoryError:
        raise DataError(f"{path}: there is not enough memory to read it; give a smaller file") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: not readable as {what} ({reason}); fetch or make the file again") from None


def number_classes(
    train: np.ndarray, test: np.ndarray | None, where: Path | str, classes: tuple[str, ...] | None
) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Integer labels as int64 0..K-1 and the class names.

    With `classes` every label must lie in 0..len(classes)-1. Without, the training labels say what there is:
    0..max, or 1..max where there is no 0 and no gap. More than ten classes must leave no gap: then a
    wild number is far likelier than a class without examples.
    """
    if len(train) == 0:
        raise DataError(f"{where}: holds no training examples; give a file with at least one")
    start, present = 0, np.unique(train)
    if classes is None:
        whole_from_one = present[0] == 1 and len(present) == present[-1] > 1
        start = 1 if whole_from_one else 0
        if present[-1] > 9 and len(present) != present[-1] - start + 1:
            missing = int(np.flatnonzero(np.arange(start, start + len(present)) != present)[0]) + start
            raise DataError(
                f"{where}: label {int(present[-1])} is out of range: no example has label {missing};"
                " number the classes 0, 1, 2, ..."
            )
        classes = tuple(str(k) for k in range(start, int(present[-1]) + 1))
    for part, labels in (("train", train), ("test", test)):
        if labels is None or len(labels) == 0:
            continue
        low, high = int(labels.min()), int(labels.max())
        if low < start or high >= start + len(classes):
            raise DataError(
                f"{where}: {part} label {low if low < start else high} is out of range"
                f" {start}..{start + len(classes) - 1} ({len(classes)} classes); correct the labels"
            )
    shifted = None if test is None else test.astype(np.int64) - start
    return train.astype(np.int64) - start, shifted, list(classes)


def name_classes(
    train: np.ndarray, test: np.ndarray | None, where: Path | str
) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """String labels as int64 0..K-1 by sorted name; whole numbers sort as numbers."""
    names = sorted(set(train.tolist()), key=_number_first)
    rank = {name: k for k, name in enumerate(names)}
    unknown = sorted(set(test.tolist()) - set(rank)) if test is not None else []
    if unknown:
        raise DataError(f"{where}: test has class '{unknown[0]}', which training has not; correct the labels")

    def numbers(part: np.ndarray) -> np.ndarray:
        return np.array([rank[name] for name in part.tolist()], np.int64)

    return numbers(train), None if test is None else numbers(test), names


def _number_first(name: str) -> tuple[int, int, str]:
    try:
        return 0, int(name), name
    except ValueError:
        return 1, 0, name


def assemble(
    options: Options,
    train: Pair,
    test: Pair | None,
    classes: list[str],
    notes: list[str],
    *,
    test_split: float | None = None,
    seed: int | None = None,
) -> Dataset:
    """A Dataset of arrays, images fitted to the options; without a test pair a part is held back."""
    sources = []
    for inputs, labels in (train, *([test] if test else [])):
        if inputs.dtype == np.uint8 and inputs.ndim in (3, 4):
            inputs = inputs[..., None] if inputs.ndim == 3 else inputs
            if inputs.shape[3] not in (1, 3):
                raise DataError(
                    f"{options.name}: images of shape {list(inputs.shape[1:])} have {inputs.shape[3]}"
                    " channels;"
                    " 1 (grey) or 3 (RGB) are needed, channels last"
                )
            if 0 in inputs.shape[1:]:
                raise DataError(f"{options.name}: images of shape {list(inputs.shape[1:])} are empty; give real ones")
            if options.image_size or options.grey is not None:
                inputs = images.fit(inputs, options.image_size, options.grey)
        sources.append(ArraySource(inputs, labels))
    if test:
        return Dataset(options.name, classes, sources[0], sources[1], notes)
    split = options.test_split if test_split is None else test_split
    return hold_out(options.name, classes, sources[0], split, options.seed if seed is None else seed, notes)
