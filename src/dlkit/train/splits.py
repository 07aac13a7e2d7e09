"""Which examples a network learns from, which choose it and which judge it: train, train-dev, dev and test.

    train       what it learns from
    train-dev   of the same source, but not learnt from: the step from train to here is variance
    dev         chooses the best epoch and, by who looks at it, everything else; "validation" in other words
    test        looked at once

By default all are parts of one source. `--dev-data` and `--test-data` bring dev and test from where the network is to
work; the step from train-dev to dev is then data mismatch (Ng, Machine Learning Yearning, chapters 36-43).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dlkit.data import Dataset, Source, Subset, load, stratified_split
from dlkit.data.select import at_most, of_classes
from dlkit.errors import ConfigError, DataError
from dlkit.train.config import TrainConfig

SPLITS = ("train", "train-dev", "val", "test")


@dataclass
class Splits:
    """None where there is no such set."""

    train: Source
    train_dev: Source | None
    dev: Source | None
    test: Source | None

    def named(self, name: str) -> Source | None:
        """That of SPLITS."""
        return {"train": self.train, "train-dev": self.train_dev, "val": self.dev, "test": self.test}[name]


def load_data(config: TrainConfig) -> Dataset:
    """The data set, with `dev` and `test` from other sources where the configuration names them.

    Raises : ConfigError, DataError if the other sources have other classes or are the same.
    """
    _check_paths(config)
    elsewhere = config.dev_data is not None or config.test_data is not None
    size = None if config.image_size is None else (config.image_size, config.image_size)
    dataset = load(
        config.data,
        image_size=size,
        grey=config.grey,
        label=config.label,
        test_split=0 if elsewhere else config.test_split,
        seed=config.seed,
        mirror=config.mirror,
    )
    if config.classes is not None:
        dataset = of_classes(dataset, [name.strip() for name in config.classes.split(",")])
    if elsewhere:
        dataset = _with_others(dataset, config)
    if config.limit_per_class is not None:
        dataset = replace(dataset, train=at_most(dataset.train, config.limit_per_class, config.seed))
    return dataset


def split(dataset: Dataset, config: TrainConfig) -> Splits:
    """Holds back dev (unless it comes from elsewhere) and train-dev from the training set, stratified by class.

    Raises : ConfigError if that would leave nothing on one side.
    """
    train, dev, train_dev = dataset.train, dataset.dev, None
    if dev is None and config.val_split:
        train, dev = _hold_back(train, "val_split", config.val_split, config.seed)
    share = config.train_dev_split
    if share is None:
        share = config.val_split if dataset.dev is not None else 0.0
    if share:
        train, train_dev = _hold_back(train, "train_dev_split", share, config.seed)
    return Splits(train, train_dev, dev, dataset.test)


def _hold_back(source: Source, option: str, share: float, seed: int) -> tuple[Source, Source]:
    keep, held = stratified_split(source.labels, share, seed)
    if not len(keep) or not len(held):
        flag = option.replace("_", "-")
        raise ConfigError(f"{option} (={share}) of {len(source)} examples leaves nothing on one side; use --{flag} 0")
    return Subset(source, keep), Subset(source, held)


def load_like(
    what: str,
    shape: tuple[int, ...],
    classes: list[str],
    features: list[str] | None,
    config: TrainConfig,
    test_split: float = 0.0,
) -> Dataset:
    """Another data set than the run's own, with examples of this shape in these classes, in this order.

    Raises : DataError that names the classes or features which differ.
    """
    other = load(what, label=config.label, test_split=test_split, seed=config.seed)
    if other.train.shape != shape and other.train.is_image and len(shape) == 3:
        size, grey = (shape[0], shape[1]), shape[2] == 1
        other = load(what, image_size=size, grey=grey, test_split=test_split, seed=config.seed)
    if other.train.shape != shape:
        raise DataError(f"{what}: examples of shape {other.train.shape}; those trained on have {shape}")
    check_features(what, other.features, features)
    if config.classes is not None and set(classes) <= set(other.classes):
        return of_classes(other, classes)
    lacks = [name for name in classes if name not in other.classes]
    besides = [name for name in other.classes if name not in classes]
    if lacks or besides:
        differences = [f"lacks {_few(lacks)}"] * bool(lacks) + [f"has {_few(besides)} besides"] * bool(besides)
        raise DataError(
            f"{what}: its classes are not those trained on: it {' and '.join(differences)}; name them alike, or train on "
            "those that both have with --classes"
        )
    return of_classes(other, classes)


def check_features(what: str, found: list[str] | None, trained: list[str] | None) -> None:
    """Raises : DataError where both tables name their columns, and not alike."""
    if found is not None and trained is not None and found != trained:
        raise DataError(
            f"{what}: its columns are {_few(found)}, those trained on {_few(trained)}; bring them into that order, or leave the "
            "header out"
        )


def _with_others(dataset: Dataset, config: TrainConfig) -> Dataset:
    dev, test, drawn, notes = None, dataset.test, None, list(dataset.notes)
    alike = dataset.train.shape, dataset.classes, dataset.features
    if config.dev_data is not None:
        held_back = 0.0 if config.test_data else config.test_split
        other = load_like(config.dev_data, *alike, config, held_back)
        dev = other.train
        notes.append(f"dev examples: {len(dev):,} of {config.dev_data}")
        if config.test_data is None:
            test, drawn = other.test, "dev" if other.drawn else None
            notes += other.notes
    if config.test_data is not None:
        other = load_like(config.test_data, *alike, config)
        test = other.test if other.test is not None else other.train
    if test is not None:
        notes.append(f"test examples: {len(test):,} of {config.test_data or config.dev_data}")
    if dataset.test is not None:
        notes.append(f"the test set of {config.data} is left out")
    return replace(dataset, test=test, notes=notes, dev=dev, drawn=drawn)


def _check_paths(config: TrainConfig) -> None:
    """Two sets of the same examples would tell nothing about each other."""
    places = [(name, getattr(config, name)) for name in ("data", "dev_data", "test_data")]
    given = [(name, str(Path(what).resolve()) if Path(what).exists() else what) for name, what in places if what]
    for i, (name, what) in enumerate(given):
        for other, where in given[:i]:
            if what == where:
                advice = (
                    "leave --test-data out: a part of --dev-data is then held back for testing"
                    if other == "dev_data"
                    else f"leave --{name.replace('_', '-')} out, or give another"
                )
                raise ConfigError(f"{name} and {other} are both {what}; {advice}")


def _few(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f", ... ({len(names)})" if len(names) > 6 else "")
