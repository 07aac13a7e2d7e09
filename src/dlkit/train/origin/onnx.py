"""The ONNX file a network comes from: what it wants of the data, and what it brings along."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import random
from dlkit.data.normalize import Normalizer
from dlkit.errors import ConfigError, OnnxError
from dlkit.nn import INITS, Module
from dlkit.tensor import Tensor
from dlkit.train.config import TrainConfig
from dlkit.train.origin.base import Origin, replaced, with_image_shape

if TYPE_CHECKING:
    from dlkit.onnx.classifier import Classifier


@dataclass
class OnnxOrigin(Origin):
    """data : the file with all its weights inside.  normalizer : how its input was prepared, if it says so."""

    path: str
    data: bytes
    classifier: Classifier
    normalizer: Normalizer | None

    @classmethod
    def open(cls, path: str, data: bytes | None = None) -> OnnxOrigin:
        """The file at `path`, or `data` if that is what it held.  Raises : OnnxError."""
        from dlkit.onnx.classifier import open_classifier, read_network

        data = read_network(path) if data is None else data
        classifier = open_classifier(data, path)
        return cls(path, data, classifier, normalizer_of(classifier.normalizer, path))

    @property
    def name(self) -> str:  # type: ignore[override]
        return Path(self.path).stem

    def adapted(self, config: TrainConfig) -> TrainConfig:
        return replace(config, **with_image_shape(config, self.classifier.input_shape))  # type: ignore[arg-type]

    def check(self, shape: tuple[int, ...]) -> None:
        wanted = self.classifier.input_shape
        if len(wanted) != len(shape) or any(w is not None and w != n for w, n in zip(wanted, shape)):
            sizes = "×".join("any" if n is None else str(n) for n in wanted)
            raise ConfigError(
                f"{self.path}: takes examples of {sizes} (height, width, channels, or features); "
                f"these are {'×'.join(map(str, shape))}"
            )

    def fill(self, model: Module, input_shape: tuple[int, ...], head: set[str], classes: list[str]) -> None:
        """The network was built from the file; only a last layer for other classes, as many as before, is drawn anew."""
        had = self.classifier.outputs
        if had == len(classes) and replaced(had, classes, self.classifier.classes):
            for name, p in model.named_parameters():
                if name in head:
                    p.data = Tensor(_drawn(p.shape, p.dtype), device=p.device).data

    def remarks(self, classes: list[str]) -> list[str]:
        notes = [f"starts from {self.path}"]
        if note := replaced(self.classifier.outputs, classes, self.classifier.classes):
            notes.append(note)
        if self.normalizer is not None:
            notes.append(f"input normalised as the file says ({self.normalizer.mode})")
        return notes


def _drawn(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    if len(shape) < 2:
        return np.zeros(shape, dtype)
    return INITS["xavier_uniform"](shape, random.generator()).astype(dtype)


def normalizer_of(state: dict[str, Any] | None, where: str) -> Normalizer | None:
    """Raises : OnnxError if the file's own description is damaged."""
    if state is None:
        return None
    try:
        return Normalizer.from_state(state)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise OnnxError(f"{where}: its description of the normalisation is damaged ({error})") from None
