"""What a trained network says about files it has never seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.data import images
from dlkit.errors import ConfigError, DataError, DlkitError
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
    try:
        if path.suffix == ".npy":
            rows = np.load(path, allow_pickle=False)
        elif path.suffix == ".csv":
            lines = data.decode().strip().splitlines()
            header = any(not _is_number(c) for c in lines[0].split(",")) if lines else False
            rows = np.loadtxt(lines[header:], delimiter=",", ndmin=2)
        else:
            raise ConfigError(f"{path}: this network takes features; give .npy or .csv files")
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a table of numbers ({error})") from None
    rows = np.atleast_2d(np.asarray(rows))
    if rows.shape[1:] != shape:
        raise DataError(f"{path}: rows have {rows.shape[1]} columns, the network takes {shape[0]}")
    return rows.astype(np.float32)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
