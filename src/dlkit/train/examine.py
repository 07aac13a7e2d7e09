"""A run's best network, asked about every example of one of its sets: where evaluation and error analysis begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.data import Dataset, Source
from dlkit.errors import DataError
from dlkit.train.checkpoint import Checkpoint
from dlkit.train.config import TrainConfig
from dlkit.train.evaluation import Evaluation, evaluate
from dlkit.train.run import RunFolder
from dlkit.train.tasks.classify import Classify, split_validation


@dataclass
class Examined:
    """source : the examples of `split`, in the order of `result`."""

    run: RunFolder
    checkpoint: Checkpoint
    data: str
    split: str
    source: Source
    result: Evaluation

    @property
    def classes(self) -> list[str]:
        return self.checkpoint.classes

    @property
    def mistakes(self) -> np.ndarray:
        """int64: which examples were taken for another class."""
        return np.flatnonzero(self.result.predictions != self.result.labels)


def examine(run_path: str, *, data: str | None = None, split: str = "test") -> Examined:
    """The test (or val, train) set of a run, or of another data set with the same classes, and what the network says.

    Raises : CheckpointError if there is no run, DataError if the data are not what the network was trained on.
    """
    run = RunFolder.open(run_path)
    checkpoint = run.load_best()
    config = checkpoint.config
    if data is not None:
        config = TrainConfig.from_dict({**config.to_dict(), "data": data, **_same_shape(checkpoint.input_shape)})
    dataset = Classify.load(config)
    if dataset.train.shape != checkpoint.input_shape or dataset.classes != checkpoint.classes:
        raise DataError(
            f"{config.data}: examples of shape {dataset.train.shape} in classes {_few(dataset.classes)}; the network "
            f"was trained on {checkpoint.input_shape} in {_few(checkpoint.classes)}"
        )
    source = _source(dataset, config, split)
    result = evaluate(checkpoint.build(), source, checkpoint.normalizer)
    return Examined(run, checkpoint, dataset.name, split, source, result)


def _same_shape(input_shape: tuple[int, ...]) -> dict[str, Any]:
    if len(input_shape) != 3:
        return {}
    if input_shape[0] != input_shape[1]:
        return {"grey": input_shape[2] == 1}
    return {"image_size": input_shape[0], "grey": input_shape[2] == 1}


def _source(dataset: Dataset, config: TrainConfig, split: str) -> Source:
    train, val = split_validation(dataset, config)
    source = {"train": train, "val": val, "test": dataset.test}[split]
    if source is None or not len(source):
        raise DataError(
            f"{dataset.name}: has no {split} set (test_split {config.test_split}, val_split {config.val_split})"
        )
    return source


def _few(classes: list[str]) -> str:
    return ", ".join(classes[:6]) + (f", ... ({len(classes)})" if len(classes) > 6 else "")
