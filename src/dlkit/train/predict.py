"""What a trained network says about files it has never seen."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.data import images
from dlkit.data.normalize import Normalizer
from dlkit.errors import DataError, DlkitError, OnnxError
from dlkit.nn import Module, inference
from dlkit.tensor import Tensor
from dlkit.train.evaluation import probabilities_of
from dlkit.train.origin.onnx import OnnxOrigin
from dlkit.train.run import RunFolder
from dlkit.train.splits import check_features


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


@dataclass
class Predictor:
    """A network that is ready to be asked. `notes` say what had to be assumed."""

    model: Module
    classes: list[str]
    input_shape: tuple[int, ...]
    normalizer: Normalizer
    notes: list[str] = field(default_factory=list)
    features: list[str] | None = None

    @classmethod
    def open(cls, path: str) -> Predictor:
        """The best network of a run folder, or the one in an ONNX file."""
        if path.lower().endswith(".onnx"):
            return cls.from_onnx(path)
        checkpoint = RunFolder.open(path).load_best()
        known = checkpoint.classes, checkpoint.input_shape, checkpoint.normalizer
        return cls(checkpoint.build(), *known, features=checkpoint.features)

    @classmethod
    def from_onnx(cls, path: str) -> Predictor:
        """A file that does not say how its input is prepared gets pixels from 0 to 1, and numbered classes."""
        origin = OnnxOrigin.open(path)
        classifier, notes = origin.classifier, []
        shape = tuple(n for n in classifier.input_shape if n is not None)
        if len(shape) != len(classifier.input_shape) or (len(shape) == 3 and shape[2] not in (1, 3)):
            raise OnnxError(f"{path}: does not say how large its images are; only networks of one size can be asked")
        model = classifier.module()
        outputs = _outputs(model, shape, path)
        classes = classifier.classes or [str(i) for i in range(outputs)]
        if len(classes) != outputs:
            raise OnnxError(f"{path}: names {len(classes)} classes, but makes {outputs} outputs")
        if classifier.classes is None:
            notes.append(f"{path} names no classes; they are numbered")
        normalizer = origin.normalizer
        if normalizer is None:
            is_image = len(shape) == 3
            normalizer = Normalizer("scale" if is_image else "none", np.zeros(shape[-1]), np.ones(shape[-1]), is_image)
            notes.append(f"{path} does not say how its input is prepared; {_assumed(is_image)}")
        elif len(normalizer.mean) != shape[-1] or normalizer.is_image != (len(shape) == 3):
            raise OnnxError(f"{path}: its normalisation is not made for examples of {'×'.join(map(str, shape))}")
        return cls(model, classes, shape, normalizer, notes)

    def __call__(self, file: str) -> list[Prediction]:
        """One Prediction for an image, one for each row of a table."""
        rows = _read(Path(file), self.input_shape, self.features)
        with inference(self.model):
            p = probabilities_of(self.model, self.normalizer(rows))
        out = []
        for i, row in enumerate(p):
            best = int(row.argmax())
            label = file if len(p) == 1 else f"{file}[{i}]"
            probabilities = dict(zip(self.classes, map(float, row)))
            out.append(Prediction(label, self.classes[best], float(row[best]), probabilities))
        return out


def _assumed(is_image: bool) -> str:
    return "pixels are taken from 0 to 1" if is_image else "features are taken as they are"


def _outputs(model: Module, shape: tuple[int, ...], path: str) -> int:
    """How many classes the network tells apart, found by asking it."""
    with inference(model):
        y = model(Tensor(np.zeros((1, *shape), np.float32)))
    if y.ndim != 2 or y.shape[0] != 1:
        raise OnnxError(f"{path}: its output for one example has shape {y.shape}; a classifier's is (1, classes)")
    return y.shape[1]


def predict(run_path: str, files: list[str]) -> list[Prediction]:
    """Classifies images (brought to the size and mode the network was trained on), or the rows of .npy / .csv files
    without a label column for a network trained on features. `run_path` is a run folder or an ONNX file.

    A file that cannot be read gives a Prediction with `error` set; the others are classified all the same.
    """
    return predict_with(Predictor.open(run_path), files)


def predict_with(predictor: Predictor, files: list[str]) -> list[Prediction]:
    out: list[Prediction] = []
    for name in files:
        try:
            out += predictor(name)
        except DlkitError as error:
            out.append(Prediction(name, "", 0.0, {}, str(error)))
    return out


def _read(path: Path, shape: tuple[int, ...], features: list[str] | None) -> np.ndarray:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if len(shape) == 3:
        return images.decode(data, shape, str(path))[0][None]
    if path.suffix.lower() not in (".npy", ".csv", ".tsv"):
        raise DataError(f"{path}: this network takes rows of features; give .npy, .csv or .tsv files")
    try:
        if path.suffix.lower() == ".npy":
            rows, named = np.load(io.BytesIO(data), allow_pickle=False), None
        else:
            rows, named = _table(data, features)
    except (ValueError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a table of numbers ({error})") from None
    if rows.dtype.kind not in "iuf" or rows.ndim not in (1, 2) or not rows.size:
        raise DataError(f"{path}: holds {rows.dtype} of shape {rows.shape}; expected rows of {shape[0]} numbers")
    rows = np.atleast_2d(rows)
    if rows.shape[1:] != shape:
        raise DataError(f"{path}: rows have {rows.shape[1]} columns, the network takes {shape[0]}")
    check_features(str(path), named, features)
    with np.errstate(over="ignore"):
        rows = rows.astype(np.float32)
    if not np.isfinite(rows).all():
        raise DataError(
            f"{path}: holds NaN, infinite or too large numbers in row {int(np.argwhere(~np.isfinite(rows))[0, 0]) + 1}"
        )
    return rows


def _table(data: bytes, features: list[str] | None) -> tuple[np.ndarray, list[str] | None]:
    """The numbers of a table with commas, semicolons or tabs; and its header: a first row of words alone, or `features`."""
    text = data.decode("utf-8-sig")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    named, first = None, [cell.strip() for cell in rows[0]] if rows else []
    if rows and (first == features or not any(map(_is_number, first))):
        named, rows = first, rows[1:]
    return np.array([[float(cell) for cell in row] for row in rows]), named


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
