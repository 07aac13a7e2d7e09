"""One class for each example: the default task."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dlkit import nn, ops
from dlkit.data import Dataset, Source
from dlkit.data.augment import Augment
from dlkit.data.loader import Batch, Loader
from dlkit.data.normalize import Normalizer
from dlkit.errors import ConfigError, DataError
from dlkit.models import MODELS
from dlkit.models.user import UserModel, check_classifier
from dlkit.tensor import Tensor
from dlkit.train.config import TrainConfig, default_model
from dlkit.train.evaluation import evaluate
from dlkit.train.origin import Origin
from dlkit.train.splits import load_data, split
from dlkit.train.tasks.task import Row, Task, task


@task("classify", used_by="dlkit evaluate and dlkit predict")
class Classify(Task):
    """Cross-entropy; the best epoch is what the run's goal says (`--metric`, `--satisfy`): by default the highest
    validation accuracy, then the lowest validation loss."""

    loader: Loader

    @classmethod
    def load(cls, config: TrainConfig) -> Dataset:
        return load_data(config)

    def __init__(self, config: TrainConfig, data: Dataset, origin: Origin | None):
        if len(data.classes) < 2:
            raise DataError(
                f"{config.data}: all examples are of one class, {data.classes[0]!r}; at least two are needed"
            )
        if origin is not None:
            origin.check(data.train.shape)
        self.dataset, self.classes, self.input_shape = data, data.classes, data.train.shape
        self.features = data.features
        own = UserModel.of(config.model)
        name = own.path.stem if own else config.model or default_model(self.input_shape)
        self.model_name = (origin.name if origin else None) or name
        splits = split(data, config)
        self.train_source, self.train_dev_source, self.val_source = splits.train, splits.train_dev, splits.dev
        self.validated = self.val_source is not None
        self.goal = config.goal()
        self.goal.check(self.classes)
        asked = {str(a): "%" if a.metric.share else "" for a in self.goal.asked if a.metric.needs_data}
        self.quantities = {"loss": "", "accuracy": "%"} | asked
        self.normalizer = (origin.normalizer if origin else None) or Normalizer.fit(
            self.train_source, config.normalize, config.seed
        )
        self.loader = Loader(
            self.train_source,
            min(config.batch_size, len(self.train_source)),
            normalizer=self.normalizer,
            augment=Augment.parse(config.augment),
            seed=config.seed,
            drop_last=config.drop_last,
        )
        self.criterion = nn.CrossEntropyLoss(
            class_weights(config, self.train_source, len(self.classes)), config.label_smoothing
        )

    @classmethod
    def build(
        cls, config: TrainConfig, input_shape: tuple[int, ...], classes: int, network: bytes | None = None
    ) -> nn.Module:
        """Raises : ConfigError for a network that gives one example something else than a number for each class."""
        entry = MODELS.get(config.model or "")
        if entry is not None and entry.task != "classify":
            raise ConfigError(
                f"model {config.model!r} gives every pixel a class; dlkit train learns one for each image"
            )
        model = super().build(config, input_shape, classes, network)
        if (own := UserModel.of(config.model)) is not None:
            check_classifier(model, input_shape, classes, str(own))
        return model

    def fingerprints(self) -> dict[str, str]:
        return self.dataset.fingerprints()

    def restore(self, normalizer: Normalizer) -> None:
        self.normalizer = self.loader.normalizer = normalizer

    def inputs(self, batch: Batch, device: str) -> tuple[Tensor, ...]:
        return (Tensor(batch[0], device=device),)

    def loss(self, y: Tensor, batch: Batch) -> Tensor:
        return self.criterion(y, batch[1])

    def sums(self, y: Tensor, batch: Batch, loss: float) -> dict[str, float]:
        labels = batch[1]
        predicted = ops.argmax(y.detach(), axis=-1).numpy()
        return {"loss": loss * len(labels), "correct": int((predicted == labels).sum()), "seen": len(labels)}

    def train_row(self, sums: dict[str, float]) -> Row:
        return {"train_loss": sums["loss"] / sums["seen"], "train_accuracy": sums["correct"] / sums["seen"]}

    def validate(self, model: nn.Module, device: str, folder: Path) -> Row | None:
        if self.val_source is None:
            return None
        val = evaluate(model, self.val_source, self.normalizer, device=device)
        return _prefixed("val", self.goal.of_predictions(val, self.classes))

    def score(self, row: Row) -> tuple[float, ...]:
        return self.goal.score(_values(row))

    def objective(self, row: Row) -> float:
        return self.score(row)[1]

    def costs(self, model: nn.Module) -> Row:
        return self.goal.of_network(model, self.input_shape)

    def verdict(self, row: Row) -> Row:
        if not self.goal.conditions:
            return {}
        missed = self.goal.missed(_values(row))
        return {"satisfied": not missed, "missed": missed}

    def test(self, model: nn.Module, device: str, folder: Path) -> Row:
        if self.dataset.test is None or not len(self.dataset.test):
            return {}
        test = evaluate(model, self.dataset.test, self.normalizer, device=device)
        return _prefixed("test", self.goal.of_predictions(test, self.classes))

    def describe(self) -> str:
        train_dev = f"{len(self.train_dev_source):,} train-dev, " if self.train_dev_source else ""
        return (
            f"{self.dataset.name}: {len(self.train_source):,} training, {train_dev}{len(self.val_source or ()):,} validation, "
            f"{len(self.dataset.test or ()):,} test examples of {'×'.join(map(str, self.input_shape))}, "
            f"{len(self.classes)} classes"
        )

    def describe_row(self, row: Row) -> str:
        text = f"loss {row['train_loss']:.4f} accuracy {100 * row['train_accuracy']:.2f} %"
        return text + ("   validation " + self._in_words("val", row) if "val_loss" in row else "")

    def describe_test(self, metrics: Row) -> str | None:
        if metrics["test_accuracy"] is None:
            return None
        asked = "".join(f"   {self._shown(q, metrics[f'test_{q}'])}" for q in self._asked)
        return f"test accuracy {100 * metrics['test_accuracy']:.2f} %   loss {metrics['test_loss']:.4f}{asked}"

    @property
    def _asked(self) -> list[str]:
        return [q for q in self.quantities if q not in ("loss", "accuracy")]

    def _in_words(self, part: str, row: Row) -> str:
        return " ".join(self._shown(q, row[f"{part}_{q}"]) for q in self.quantities)

    def _shown(self, quantity: str, value: float) -> str:
        return f"{quantity} {100 * value:.2f} %" if self.quantities[quantity] == "%" else f"{quantity} {value:.4f}"


def _prefixed(part: str, values: dict[str, float]) -> Row:
    return {f"{part}_{name}": value for name, value in values.items()}


def _values(row: Row) -> dict[str, float]:
    """By the metrics' own names: the validation's, and what the network costs."""
    return {name.removeprefix("val_"): value for name, value in row.items()}


def class_weights(config: TrainConfig, source: Source, classes: int) -> np.ndarray | None:
    """For "balanced": N / (K · count of the class), so that each class weighs the same in sum."""
    if config.class_weights == "none":
        return None
    counts = np.bincount(source.labels, minlength=classes)
    return len(source) / (classes * np.maximum(counts, 1))
