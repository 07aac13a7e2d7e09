"""A run's best network, asked about every example of one of its sets: where evaluation and error analysis begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlkit.data import Dataset, Source
from dlkit.errors import ConfigError, DataError
from dlkit.train.checkpoint import Checkpoint
from dlkit.train.config import TrainConfig
from dlkit.train.evaluation import Evaluation, evaluate
from dlkit.train.run import RunFolder
from dlkit.train.splits import SPLITS, load_data, load_like, split


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
    """The test set of a run, or another `part` (see splits.SPLITS), and what the network says; or another data set with the
    same classes: its test set, or all of it where it has none of its own.

    Raises : CheckpointError if there is no run, DataError if the data are not what the network was trained on, ConfigError
        for another part than "test" of other data.
    """
    run = RunFolder.open(run_path)
    checkpoint = run.load_best()
    config = checkpoint.config
    shape, classes = checkpoint.input_shape, checkpoint.classes
    if data is not None and not same_place(data, config.data):
        if part != "test":
            raise ConfigError(f"{part} is a part of the run's own data; of {data} all is examined, or its test set")
        dataset = load_like(data, shape, classes, checkpoint.features, config)
        source = dataset.train if dataset.test is None else dataset.test
    else:
        dataset = data_of(checkpoint, [part])
        source = source_of(dataset, config, part)
    result = evaluate(checkpoint.build(), source, checkpoint.normalizer)
    return Examined(run, checkpoint, dataset.name, part, source, result)


def data_of(checkpoint: Checkpoint, parts: Sequence[str] = SPLITS) -> Dataset:
    """What the run was made from.  Raises : DataError if that has changed so that one of `parts`, drawn anew, would be another."""
    config, shape, classes = checkpoint.config, checkpoint.input_shape, checkpoint.classes
    dataset = load_data(config)
    if dataset.train.shape != shape or dataset.classes != classes:
        raise DataError(
            f"{config.data}: examples of shape {dataset.train.shape} in {len(dataset.classes)} classes; the network "
            f"was trained on {shape} in {len(classes)}: the data have changed"
        )
    now = dataset.fingerprints()
    drawn_from = {"test": dataset.drawn, "val": "train" if dataset.dev is None else dataset.drawn}
    for part in parts:
        source = drawn_from.get(part, "train")
        if source is not None and checkpoint.data.get(source, now[source]) != now[source]:
            raise DataError(
                f"{config.dev_data if source == 'dev' else config.data}: the data have changed since the run: drawn anew, its "
                f"{part} set would hold examples that the network was trained on or chosen by; put back what they were, or "
                "give other examples with --data"
            )
    return dataset


def same_place(a: str, b: str) -> bool:
    """Whether these two name one data set."""
    return a == b or (Path(a).exists() and Path(b).exists() and Path(a).resolve() == Path(b).resolve())


def source_of(dataset: Dataset, config: TrainConfig, name: str) -> Source:
    """That of SPLITS.  Raises : DataError if the run has no such examples."""
    source = split(dataset, config).named(name)
    if source is None or not len(source):
        raise DataError(
            f"{dataset.name}: has no {name} set (test_split {config.test_split}, val_split {config.val_split}, "
            f"train_dev_split {config.train_dev_split or 0})"
        )
    return source
