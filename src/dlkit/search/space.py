"""What is varied, and between which bounds.

[search]
lr = { log_uniform = [0.0003, 0.03] }       equally likely from 0.0003 to 0.003 and from 0.003 to 0.03
dropout = { uniform = [0.0, 0.5] }
width = { integer = [8, 32] }               both ends included
batch_size = { log_integer = [16, 256] }
hidden = { categorical = [[64], [128, 64]] }
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from dlkit.errors import ConfigError
from dlkit.registry import nearest
from dlkit.train.config import TrainConfig

COMPARABLE = ("image_size", "grey", "normalize", "augment")  # trials on other data could not be compared
DIGITS = 4  # significant ones of a drawn number: enough, and a table stays readable


class Range(ABC):
    """The values one option may take. `u` is a number from 0 to 1, 1 excluded."""

    kind: str

    @abstractmethod
    def draw(self, u: float) -> Any:
        """The value at share `u` of the range."""

    @abstractmethod
    def grid(self, points: int) -> list[Any]:
        """At most `points` values, evenly spaced, both ends among them; of a choice all."""

    @abstractmethod
    def narrowed(self, values: list[Any]) -> Range:
        """The part of the range around `values`."""

    @abstractmethod
    def label(self, value: Any) -> str | float | int:
        """A value as the storage keeps it."""

    @abstractmethod
    def place(self, value: Any) -> float:
        """Where a value lies, from 0 to 1: for pictures."""

    @abstractmethod
    def ends(self) -> list[Any]:
        """Values that are allowed if all are."""

    @abstractmethod
    def marks(self) -> list[Any]:
        """Values to write beside an axis."""

    @abstractmethod
    def distribution(self) -> Any:
        """The same for Optuna."""

    @abstractmethod
    def to_toml(self) -> dict[str, list]: ...


@dataclass(frozen=True)
class Numbers(Range):
    """low to high, both included; `log`: each factor is as likely as any other, not each difference."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    @property
    def kind(self) -> str:  # type: ignore[override]
        return {(0, 0): "uniform", (1, 0): "log_uniform", (0, 1): "integer", (1, 1): "log_integer"}[
            (self.log, self.integer)
        ]

    def draw(self, u: float) -> float | int:
        half = 0.5 if self.integer else 0.0  # so that the ends are as likely as what lies between
        return self._rounded(self._at(u, self.low - half, self.high + half))

    def grid(self, points: int) -> list[Any]:
        shares = [i / max(points - 1, 1) for i in range(points)]
        return list(dict.fromkeys(self._rounded(self._at(u, self.low, self.high)) for u in shares))

    def narrowed(self, values: list[Any]) -> Range:
        places = [self.place(v) for v in values]
        low, high = max(min(places) - 0.1, 0.0), min(max(places) + 0.1, 1.0)
        ends = [self._rounded(self._at(u, self.low, self.high)) for u in (low, high)]
        return Numbers(ends[0], ends[1], self.log, self.integer)

    def label(self, value: Any) -> float | int:
        return value

    def place(self, value: Any) -> float:
        if self.low == self.high:
            return 0.5
        low, high, x = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (x - low) / (high - low)

    def ends(self) -> list[Any]:
        return [self.low, self.high]

    def marks(self) -> list[Any]:
        return list(dict.fromkeys(self._rounded(self._at(u, self.low, self.high)) for u in (0.0, 0.5, 1.0)))

    def distribution(self) -> Any:
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def to_toml(self) -> dict[str, list]:
        return {self.kind: [self.low, self.high]}

    def _at(self, u: float, low: float, high: float) -> float:
        return low * (high / low) ** u if self.log else low + u * (high - low)

    def _rounded(self, x: float) -> float | int:
        x = round(x) if self.integer else float(f"{x:.{DIGITS}g}")
        return min(max(x, self.low), self.high)


@dataclass(frozen=True)
class Choice(Range):
    """One of the values."""

    values: tuple[Any, ...]
    kind = "categorical"

    def draw(self, u: float) -> Any:
        return self.values[int(u * len(self.values))]

    def grid(self, points: int) -> list[Any]:
        return list(self.values)

    def narrowed(self, values: list[Any]) -> Range:
        return Choice(tuple(v for v in self.values if v in values))

    def label(self, value: Any) -> str | float | int:
        return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value

    def place(self, value: Any) -> float:
        return self.values.index(value) / max(len(self.values) - 1, 1)

    def ends(self) -> list[Any]:
        return list(self.values)

    def marks(self) -> list[Any]:
        return list(self.values)

    def distribution(self) -> Any:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution([self.label(v) for v in self.values])

    def to_toml(self) -> dict[str, list]:
        return {self.kind: list(self.values)}


KINDS = {
    "uniform": (False, False),
    "log_uniform": (True, False),
    "integer": (False, True),
    "log_integer": (True, True),
}


@dataclass(frozen=True)
class Space:
    """The ranges, by the names of the options of `dlkit train`."""

    ranges: dict[str, Range]

    @classmethod
    def parse(cls, table: Any, fixed: dict[str, Any], where: str) -> Space:
        """The `[search]` of a TOML file, beside the options that stay as they are.

        Raises : ConfigError that names the option, for one that does not exist or cannot be searched, a range that makes
            no sense, or a value that the option does not take.
        """
        if not isinstance(table, dict) or not table:
            raise ConfigError(
                f"{where}: [search] is empty; give it a range, such as lr = {{ log_uniform = [0.001, 0.1] }}"
            )
        known = {f.name: f for f in fields(TrainConfig)}
        ranges = {}
        for name, given in table.items():
            if name not in known:
                raise ConfigError(f"{where}: [search]: unknown option {name!r}{nearest(name, list(known))}")
            other_data = known[name].metadata["group"] in ("data", "run") and name not in COMPARABLE
            if other_data or name in ("metric", "satisfy"):
                raise ConfigError(
                    f"{where}: [search]: {name} must be the same for all trials; give it as a fixed option"
                )
            if name in fixed:
                raise ConfigError(f"{where}: {name} is searched, but also fixed (={fixed[name]!r}); leave one out")
            ranges[name] = _range(given, f"{where}: [search]: {name}")
        for name, found in ranges.items():
            for value in found.ends():
                TrainConfig.from_dict({**fixed, name: value}, f"{where}: [search]")
        return cls(ranges)

    def draw(self, shares: Iterator[float]) -> dict[str, Any]:
        return {name: found.draw(next(shares)) for name, found in self.ranges.items()}

    def narrowed(self, trials: list[dict[str, Any]]) -> Space:
        return Space({name: found.narrowed([t[name] for t in trials]) for name, found in self.ranges.items()})

    def to_toml(self) -> dict[str, Any]:
        return {name: found.to_toml() for name, found in self.ranges.items()}


def _range(given: Any, where: str) -> Range:
    example = "{ uniform = [0.0, 0.5] }"
    if not isinstance(given, dict) or len(given) != 1:
        raise ConfigError(f"{where} (={given!r}) must be a range such as {example}")
    kind, values = next(iter(given.items()))
    if kind not in (*KINDS, "categorical"):
        raise ConfigError(
            f"{where}: unknown kind of range {kind!r}{nearest(kind, [*KINDS, 'categorical'])}; "
            f"known: {', '.join((*KINDS, 'categorical'))}"
        )
    if kind == "categorical":
        return _choice(values, where)
    log, integer = KINDS[kind]
    if not isinstance(values, list) or len(values) != 2 or not all(_is_number(v) for v in values):
        raise ConfigError(f"{where}: {kind} (={values!r}) must be two numbers, [lowest, highest]")
    low, high = values
    if integer and not all(isinstance(v, int) for v in values):
        raise ConfigError(f"{where}: {kind} (={values!r}) must have whole numbers at its ends")
    if not low < high:
        raise ConfigError(f"{where}: {kind} (={values!r}) is empty: the lowest must be below the highest")
    if log and not low > 0:
        raise ConfigError(f"{where}: {kind} (={values!r}) must begin above 0: there is no logarithm of {low}")
    return Numbers(low, high, log, integer) if integer else Numbers(float(low), float(high), log)


def _choice(values: Any, where: str) -> Choice:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{where}: categorical (={values!r}) must be a list of values")
    found = Choice(tuple(values))
    labels = [str(found.label(v)) for v in values]
    if len(set(labels)) < len(labels):
        raise ConfigError(f"{where}: categorical (={values!r}) has a value twice")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
