"""Where a network's error comes from: bias, variance, data mismatch or a dev set looked at too often.

    human ── avoidable bias ──> train ── variance ──> train-dev ── data mismatch ──> dev ── overfitting to dev ──> test

Each arrow is the difference of two errors; the largest says what to work on first. A difference smaller than what chance
does to sets of this size says nothing.
Source : Ng, Machine Learning Yearning, chapters 20-28 and 36-43
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from dlkit import random
from dlkit.data import Source, Subset
from dlkit.errors import ConfigError, DataError
from dlkit.train.evaluation import evaluate
from dlkit.train.examine import data_of
from dlkit.train.run import RunFolder
from dlkit.train.splits import split

HELPS = {
    "avoidable bias": (
        "a larger network (another --model, more --width or --hidden)",
        "longer training (--epochs) or another --lr, --schedule or --optimizer",
        "less regularisation (--weight-decay, --dropout, --augment, --label-smoothing)",
        "weights that were trained on more data (--from)",
    ),
    "variance": (
        "more training examples",
        "--augment, or more of it",
        "regularisation (--weight-decay, --dropout, --label-smoothing, early stopping with --patience)",
        "a smaller network, or frozen layers of a trained one (--from, --freeze)",
    ),
    "data mismatch": (
        "looking at what is different about the dev examples (dlkit errors RUN --split val)",
        "training examples more like them: collected, or made so by --augment or synthesis",
        "a part of the dev data's source among the training examples",
    ),
    "overfitting to dev": (
        "a larger dev set",
        "a fresh dev set, if many networks were compared on this one",
    ),
    "dev and test differ": (
        "dev and test examples from one source: what is chosen on dev need not be good on test",
        "looking at what is different about the test examples (dlkit errors RUN --split test)",
    ),
}


@dataclass(frozen=True)
class SetError:
    """deviation : standard error of the error, from the number of examples."""

    name: str
    error: float
    examples: int | None
    deviation: float


@dataclass(frozen=True)
class Gap:
    """value : the error of `after` less that of `before`; deviation : its standard error; clear : more than chance does."""

    name: str
    before: str
    after: str
    value: float
    deviation: float

    @property
    def clear(self) -> bool:
        return self.value > 2 * self.deviation


@dataclass
class Diagnosis:
    """largest : the largest gap's name, None if none is above chance; helps : what usually makes it smaller."""

    run: str
    data: str
    human_given: bool
    errors: list[SetError]
    gaps: list[Gap]
    largest: str | None
    helps: list[str]
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"gaps": [asdict(g) | {"clear": g.clear} for g in self.gaps]}


def diagnose(run_path: str, *, human: float | None = None, examples: int = 10_000) -> Diagnosis:
    """The errors of a run's best network on its train, train-dev, dev and test sets and the gaps between them.

    human : the error of people, or the least that is possible (Bayes); None: taken as 0.
    examples : at most this many of each set are asked, drawn at random.
    Raises : ConfigError, CheckpointError, DataError if there is no dev set to compare with.
    """
    if human is not None and not 0 <= human < 1:
        raise ConfigError(f"human (={human}) must be an error from 0 to below 1, such as 0.01")
    run = RunFolder.open(run_path)
    checkpoint = run.load_best()
    config = checkpoint.config
    dataset = data_of(checkpoint)
    splits = split(dataset, config)
    if splits.dev is None:
        raise DataError(f"{run_path}: was trained without a dev set; train it with --val-split 0.1 or --dev-data")
    model = checkpoint.build()
    errors = [SetError("human", human or 0.0, None, 0.0)]
    for name, source in (
        ("train", splits.train),
        ("train-dev", splits.train_dev),
        ("dev", splits.dev),
        ("test", splits.test),
    ):
        if source is not None and len(source):
            asked = _some(source, examples, config.seed)
            error = 1 - evaluate(model, asked, checkpoint.normalizer).accuracy
            errors.append(SetError(name, error, len(asked), math.sqrt(error * (1 - error) / len(asked))))
    return _judged(str(run), dataset.name, human is not None, errors, config.dev_data, config.test_data)


def _some(source: Source, most: int, seed: int) -> Source:
    if len(source) <= most:
        return source
    return Subset(source, np.sort(random.derive(seed, random.LIMIT).choice(len(source), most, replace=False)))


def _judged(
    run: str, data: str, human_given: bool, errors: list[SetError], dev_data: str | None, test_data: str | None
) -> Diagnosis:
    gaps = gaps_between(errors, bool(test_data))
    notes = []
    if not human_given:
        notes.append("human level not given: 0 % is assumed, so the avoidable bias may be smaller (--human 0.01)")
    if dev_data and not any(e.name == "train-dev" for e in errors):
        notes.append("no train-dev set: variance and data mismatch cannot be told apart (--train-dev-split 0.1)")
    largest = max(gaps, key=lambda g: g.value)
    if not largest.clear:
        return Diagnosis(run, data, human_given, errors, gaps, None, [], notes)
    return Diagnosis(run, data, human_given, errors, gaps, largest.name, list(HELPS[largest.name]), notes)


def gaps_between(errors: list[SetError], test_is_elsewhere: bool = False) -> list[Gap]:
    """From each set to the next. Without a train-dev set the step from train to dev counts as variance."""
    names = {
        ("human", "train"): "avoidable bias",
        ("train", "train-dev"): "variance",
        ("train", "dev"): "variance",
        ("train-dev", "dev"): "data mismatch",
        ("dev", "test"): "dev and test differ" if test_is_elsewhere else "overfitting to dev",
    }
    return [
        Gap(names[a.name, b.name], a.name, b.name, b.error - a.error, math.hypot(a.deviation, b.deviation))
        for a, b in itertools.pairwise(errors)
    ]
