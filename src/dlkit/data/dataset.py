"""A data set: named classes, a training source and perhaps others to validate and test on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from ..errors import ConfigError, DataError
from .sources import Source, Subset


@dataclass
class Dataset:
    """`dev` is a validation set from elsewhere, where it is not to be split off the training set. `drawn`: "train" or "dev",
    where `test` was held back of its examples. `features`: the columns of a table that names them. `notes` holds what was
    noticed while loading; `remarks()` adds what reading the images has shown since.

    DataError if there are no training examples, train and test differ in shape, or a label lies outside
    0..len(classes)-1.
    """

    name: str
    classes: list[str]
    train: Source
    test: Source | None = None
    notes: list[str] = field(default_factory=list)
    dev: Source | None = None
    drawn: str | None = None
    features: list[str] | None = None

    def __post_init__(self) -> None:
        if len(self.train) == 0:
            raise DataError(f"{self.name}: there are no training examples; check the path and its layout")
        for part, source in (("train", self.train), ("test", self.test), ("dev", self.dev)):
            if source is None or len(source) == 0:
                continue
            low, high = int(source.labels.min()), int(source.labels.max())
            if low < 0 or high >= len(self.classes):
                raise DataError(
                    f"{self.name}: {part} has label {low if low < 0 else high}, outside"
                    f" 0..{len(self.classes) - 1} for {len(self.classes)} classes; correct the labels"
                )
            if source.shape != self.train.shape or source.is_image != self.train.is_image:
                raise DataError(
                    f"{self.name}: {part} examples are {source.shape} but training examples"
                    f" {self.train.shape}; bring them to one shape"
                )

    def fingerprints(self) -> dict[str, str]:
        """SHA-1 of what sets are drawn from, "train" and perhaps "dev": labels and names of the examples, in their order."""
        found = {}
        for part, source in (("train", self.train), ("dev", self.dev)):
            if source is not None:
                names = "\n".join(source.name(i).rpartition("/")[2] for i in range(len(source)))
                found[part] = hashlib.sha1(names.encode() + source.labels.tobytes()).hexdigest()
        return found

    def remarks(self) -> list[str]:
        found = [*self.notes, *(r for part in (self.train, self.dev, self.test) if part for r in part.remarks())]
        return list(dict.fromkeys(found))


def stratified_split(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split 0..N-1 into (keep, held), both sorted int64, holding back about `fraction` of each class.

    labels: int[N]. A class of two or more gives at least one example to each side; a single example is kept.
    The same labels, fraction and seed give the same split. ConfigError if fraction is not in (0, 1).
    """
    if not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
        raise ConfigError(f"fraction is {fraction!r}; give a number between 0 and 1, such as 0.2")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ConfigError(f"seed is {seed!r}; give a whole number, 0 or more")
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise DataError(f"labels have shape {list(labels.shape)}; one label per example, [N], is needed")
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[order], return_index=True)
    for members in np.split(order, starts[1:]):
        count = min(max(int(len(members) * fraction + 0.5), 1), len(members) - 1)
        held[rng.permutation(members)[:count]] = True
    return np.flatnonzero(~held).astype(np.int64), np.flatnonzero(held).astype(np.int64)


def hold_out(name: str, classes: list[str], source: Source, fraction: float, seed: int, notes: list[str]) -> Dataset:
    """A Dataset whose test set is `fraction` of `source`, stratified; none for fraction 0."""
    if fraction == 0:
        return Dataset(name, classes, source, None, notes)
    keep, held = stratified_split(source.labels, fraction, seed)
    if len(held) == 0:
        notes = [*notes, "no class has two examples, so none was held back for testing"]
        return Dataset(name, classes, source, None, notes)
    note = f"no test set given: {len(held)} of {len(source)} examples held back for it (seed {seed})"
    notes = [*notes, note]
    return Dataset(name, classes, Subset(source, keep), Subset(source, held), notes, drawn="train")
