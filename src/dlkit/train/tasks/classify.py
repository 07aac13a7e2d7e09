"""One class for each example: the default task."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from dlkit import nn, ops
from dlkit.data import Dataset, Source, Subset, load, stratified_split
from dlkit.data.augment import Augment
from dlkit.data.loader import Batch, Loader
from dlkit.data.normalize import Normalizer
from dlkit.errors import ConfigError, DataError
from dlkit.tensor import Tensor
from dlkit.train.config import TrainConfig, default_model
from dlkit.train.evaluation import evaluate
from dlkit.train.origin import Origin
from dlkit.train.tasks.task import Row, Task, task


@task("classify", used_by="dlkit evaluate and dlkit predict")
class Classify(Task):
    """Cross-entropy; the best epoch has the highest validation accuracy, then the lowest validation loss."""

    quantities: ClassVar[dict[str, str]] = {"loss": "", "accuracy": "%"}
    loader: Loader

    @classmethod
    def load(cls, config: TrainConfig) -> Dataset:
        size = None if config.image_size is None else (config.image_size, config.image_size)
        return load(
            config.data,
            image_size=size,
            grey=config.grey,
            label=config.label,
            test_split=config.test_split,
            seed=config.seed,
            mirror=config.mirror,
        )

    def __init__(self, config: TrainConfig, data: Dataset, origin: Origin | None):
        if len(data.classes) < 2:
            raise DataError(
                f"{config.data}: all examples are of one class, {data.classes[0]!r}; at least two are needed"
            )
        if origin is not None:
            origin.check(data.train.shape)
        self.dataset, self.classes, self.input_shape = data, data.classes, data.train.shape
        self.model_name = origin.name if origin else config.model or default_model(self.input_shape)
        self.train_source, self.val_source = split_validation(data, config)
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
        return {"val_loss": val.loss, "val_accuracy": val.accuracy}

    def score(self, row: Row) -> tuple[float, ...]:
        return row["val_accuracy"], -row["val_loss"]

    def test(self, model: nn.Module, device: str, folder: Path) -> Row:
        if self.dataset.test is None or not len(self.dataset.test):
            return {}
        test = evaluate(model, self.dataset.test, self.normalizer, device=device)
        return {"test_loss": test.loss, "test_accuracy": test.accuracy}

    def describe(self) -> str:
        return (
            f"{self.dataset.name}: {len(self.train_source):,} training, {len(self.val_source or ()):,} validation, "
            f"{len(self.dataset.test or ()):,} test examples of {'×'.join(map(str, self.input_shape))}, "
            f"{len(self.classes)} classes"
        )

    def describe_row(self, row: Row) -> str:
        text = f"loss {row['train_loss']:.4f} accuracy {100 * row['train_accuracy']:.2f} %"
        if "val_loss" in row:
            text += f"   validation loss {row['val_loss']:.4f} accuracy {100 * row['val_accuracy']:.2f} %"
        return text

    def describe_test(self, metrics: Row) -> str | None:
        if metrics["test_accuracy"] is None:
            return None
        return f"test accuracy {100 * metrics['test_accuracy']:.2f} %   loss {metrics['test_loss']:.4f}"


def split_validation(dataset: Dataset, config: TrainConfig) -> tuple[Source, Source | None]:
    """(training, validation) from the training set; None if none is wanted.

    Raises : ConfigError if the split would leave nothing on one side.
    """
    if not config.val_split:
        return dataset.train, None
    keep, held = stratified_split(dataset.train.labels, config.val_split, config.seed)
    if not len(keep) or not len(held):
        raise ConfigError(
            f"val_split (={config.val_split}) of {len(dataset.train)} examples leaves nothing on one side; "
            "use --val-split 0"
        )
    return Subset(dataset.train, keep), Subset(dataset.train, held)


def class_weights(config: TrainConfig, source: Source, classes: int) -> np.ndarray | None:
    """For "balanced": N / (K · count of the class), so that each class weighs the same in sum."""
    if config.class_weights == "none":
        return None
    counts = np.bincount(source.labels, minlength=classes)
    return len(source) / (classes * np.maximum(counts, 1))
