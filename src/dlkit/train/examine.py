"""A run's best network, asked about every example of one of its sets: where evaluation and error analysis begin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlkit.data import Dataset, Source
from dlkit.errors import DataError
from dlkit.train.checkpoint import Checkpoint
from dlkit.train.config import TrainConfig
from dlkit.train.evaluation import Evaluation, evaluate
from dlkit.train.run import RunFolder
from dlkit.train.splits import load_data, load_like, split


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


def examine(run_path: str, *, data: str | None = None, part: str = "test") -> Examined:
    """The test set of a run, or another `part` (see splits.SPLITS), or of another data set with the same classes, and what the network says.

    Raises : CheckpointError if there is no run, DataError if the data are not what the network was trained on.
    """
    run = RunFolder.open(run_path)
    checkpoint = run.load_best()
    config = checkpoint.config
    shape, classes = checkpoint.input_shape, checkpoint.classes
    if data is not None:
        dataset = load_like(data, shape, classes, config, config.test_split)
    else:
        dataset = load_data(config)
        if dataset.train.shape != shape or dataset.classes != classes:
            raise DataError(
                f"{config.data}: examples of shape {dataset.train.shape} in {len(dataset.classes)} classes; the network "
                f"was trained on {shape} in {len(classes)}: the data have changed"
            )
    source = source_of(dataset, config, part)
    result = evaluate(checkpoint.build(), source, checkpoint.normalizer)
    return Examined(run, checkpoint, dataset.name, part, source, result)


def source_of(dataset: Dataset, config: TrainConfig, name: str) -> Source:
    """That of SPLITS.  Raises : DataError if the run has no such examples."""
    source = split(dataset, config).named(name)
    if source is None or not len(source):
        raise DataError(
            f"{dataset.name}: has no {name} set (test_split {config.test_split}, val_split {config.val_split}, "
            f"train_dev_split {config.train_dev_split or 0})"
        )
    return source
