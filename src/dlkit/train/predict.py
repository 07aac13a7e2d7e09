"""What a trained network says about files it has never seen."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.data import images
from dlkit.errors import DataError, DlkitError
from dlkit.nn import inference
from dlkit.train.evaluation import probabilities_of
from dlkit.train.run import RunFolder


@dataclass
class Prediction:
    """One file (or one row of a table of features): the likeliest class and every class's probability."""

    file: str
    label: str
    probability: float
    probabilities: dict[str, float]
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def predict(run_path: str, files: list[str]) -> list[Prediction]:
    """Classifies images (brought to the size and mode the network was trained on), or the rows of .npy / .csv files
    without a label column for a network trained on features.

    A file that cannot be read gives a Prediction with `error` set; the others are classified all the same.
    """
    checkpoint = RunFolder.open(run_path).load_best()
    model, classes, shape = checkpoint.build(), checkpoint.classes, checkpoint.input_shape
    out: list[Prediction] = []
    with inference(model):
        for name in files:
            try:
                rows = _read(Path(name), shape)
            except DlkitError as error:
                out.append(Prediction(name, "", 0.0, {}, str(error)))
                continue
            p = probabilities_of(model, checkpoint.normalizer(rows))
            for i, row in enumerate(p):
                best = int(row.argmax())
                label = name if len(p) == 1 else f"{name}[{i}]"
                out.append(Prediction(label, classes[best], float(row[best]), dict(zip(classes, map(float, row)))))
    return out


def _read(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if len(shape) == 3:
        return images.decode(data, shape, str(path))[0][None]
    if path.suffix.lower() not in (".npy", ".csv", ".tsv"):
        raise DataError(f"{path}: this network takes rows of features; give .npy, .csv or .tsv files")
    try:
        rows = np.load(io.BytesIO(data), allow_pickle=False) if path.suffix.lower() == ".npy" else _table(data)
    except (ValueError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a table of numbers ({error})") from None
    if rows.dtype.kind not in "iuf" or rows.ndim not in (1, 2) or not rows.size:
        raise DataError(f"{path}: holds {rows.dtype} of shape {rows.shape}; expected rows of {shape[0]} numbers")
    rows = np.atleast_2d(rows)
    if rows.shape[1:] != shape:
        raise DataError(f"{path}: rows have {rows.shape[1]} columns, the network takes {shape[0]}")
    with np.errstate(over="ignore"):
        rows = rows.astype(np.float32)
    if not np.isfinite(rows).all():
        raise DataError(
            f"{path}: holds NaN, infinite or too large numbers in row {int(np.argwhere(~np.isfinite(rows))[0, 0]) + 1}"
        )
    return rows


def _table(data: bytes) -> np.ndarray:
    """The numbers of a table with commas, semicolons or tabs; a first row with words in it is a header."""
    text = data.decode("utf-8-sig")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    if rows and not all(map(_is_number, rows[0])):
        rows = rows[1:]
    return np.array([[float(cell) for cell in row] for row in rows])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
