"""The ONNX file a network comes from: what it wants of the data, and what it brings along."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.data.normalize import Normalizer
from dlkit.errors import ConfigError, OnnxError
from dlkit.train.config import TrainConfig

if TYPE_CHECKING:
    from dlkit.onnx.classifier import Classifier


@dataclass
class Origin:
    """data : the file with all its weights inside.  normalizer : how its input was prepared, if it says so."""

    path: str
    data: bytes
    classifier: Classifier
    normalizer: Normalizer | None

    @classmethod
    def open(cls, path: str, data: bytes | None = None) -> Origin:
        """The file at `path`, or `data` if that is what it held.  Raises : OnnxError."""
        from dlkit.onnx.classifier import open_classifier, read_network

        data = read_network(path) if data is None else data
        classifier = open_classifier(data, path)
        return cls(path, data, classifier, normalizer_of(classifier.normalizer, path))

    @property
    def name(self) -> str:
        return Path(self.path).stem

    def adapted(self, config: TrainConfig) -> TrainConfig:
        """`config` with images brought to the size and channels the network takes, unless it says otherwise."""
        shape = self.classifier.input_shape
        if len(shape) != 3:
            return config
        height, width, channels = shape
        changes: dict[str, Any] = {}
        if config.image_size is None and height is not None and height == width:
            changes["image_size"] = height
        if config.grey is None and channels in (1, 3):
            changes["grey"] = channels == 1
        return replace(config, **changes)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raises : ConfigError if examples of this shape do not fit the network."""
        wanted = self.classifier.input_shape
        if len(wanted) != len(shape) or any(w is not None and w != n for w, n in zip(wanted, shape)):
            sizes = "×".join("any" if n is None else str(n) for n in wanted)
            raise ConfigError(
                f"{self.path}: takes examples of {sizes} (height, width, channels, or features); "
                f"these are {'×'.join(map(str, shape))}"
            )

    def remarks(self, classes: list[str]) -> list[str]:
        had = self.classifier.outputs
        notes = [f"starts from {self.path}"]
        if had is not None and had != len(classes):
            notes.append(f"its last layer, for {had} classes, is replaced by a new one for {len(classes)}")
        elif self.classifier.classes is not None and self.classifier.classes != classes:
            notes.append("its last layer is kept, though its classes had other names")
        if self.normalizer is not None:
            notes.append(f"input normalised as the file says ({self.normalizer.mode})")
        return notes


def normalizer_of(state: dict[str, Any] | None, where: str) -> Normalizer | None:
    """Raises : OnnxError if the file's own description is damaged."""
    if state is None:
        return None
    try:
        return Normalizer.from_state(state)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise OnnxError(f"{where}: its description of the normalisation is damaged ({error})") from None
