"""Parts of a data set: some of its classes, a few examples of each, the classes in another's order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dlkit import random
from dlkit.errors import ConfigError
from dlkit.registry import nearest

from .dataset import Dataset
from .sources import Source, Subset


def of_classes(dataset: Dataset, names: list[str]) -> Dataset:
    """Only the examples of these classes, which are numbered in the order of `names`.

    Raises : ConfigError if one is not there, is named twice, or no class is named.
    """
    if not names:
        raise ConfigError("no class was named; give some of " + ", ".join(dataset.classes))
    for name in names:
        if name not in dataset.classes:
            known = ", ".join(dataset.classes)
            raise ConfigError(f"{dataset.name} has no class {name!r}{nearest(name, dataset.classes)}; classes: {known}")
        if names.count(name) > 1:
            raise ConfigError(f"class {name!r} is named twice; name each once")
    if names == dataset.classes:
        return dataset
    number = np.full(len(dataset.classes), -1, np.int64)
    number[[dataset.classes.index(name) for name in names]] = np.arange(len(names))

    def part(source: Source | None) -> Source | None:
        if source is None:
            return None
        labels = number[source.labels]
        kept = np.flatnonzero(labels >= 0)
        return Subset(source, kept, labels[kept])

    train = part(dataset.train)
    assert train is not None
    return replace(dataset, classes=list(names), train=train, test=part(dataset.test), dev=part(dataset.dev))


def at_most(source: Source, per_class: int, seed: int) -> Source:
    """At most so many examples of each class, drawn from branch (seed, LIMIT)."""
    if per_class < 1:
        raise ConfigError(f"limit_per_class (={per_class}) must be at least 1")
    order = random.derive(seed, random.LIMIT).permutation(len(source))
    labels = np.asarray(source.labels)[order]
    by_class = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    place = np.arange(len(labels)) - np.repeat(starts, counts)  # how many of its class come before, in drawn order
    return Subset(source, np.sort(order[by_class[place < per_class]]))
