"""What a search was asked for. Written to search.toml, from which it can be repeated or gone on with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dlkit.data.names import KNOWN
from dlkit.errors import ConfigError
from dlkit.models import MODELS
from dlkit.models.user import is_user_model
from dlkit.registry import nearest
from dlkit.search import plan
from dlkit.search.space import Choice, Numbers, Range, Space
from dlkit.train.config import TrainConfig, default_model

METHODS = ("random", "halving", "grid")
TRIALS, AROUND, POINTS = 20, 4, 3  # defaults
TABLES = ("search", "method")


@dataclass(frozen=True)
class Definition:
    """fixed : options of `dlkit train` that all trials share.  space : what is varied.

    method : "random"; "halving", the same with the worse trials stopped early; "grid".
    trials : how many, of a grid None.  refine : how many more in ranges narrowed around the best `around`.
    points : of a grid, values of each range.
    """

    fixed: dict[str, Any]
    space: Space
    method: str = "random"
    trials: int | None = TRIALS
    refine: int = 0
    around: int = AROUND
    points: int = POINTS

    @classmethod
    def parse(cls, values: dict[str, Any], method: dict[str, Any], where: str = "options") -> Definition:
        """values : options of `dlkit train`, `[search]` and `[method]` among them as in a TOML file.  method : what is
        given beside the file and wins over its `[method]`.

        Raises : ConfigError.
        """
        fixed = {k: v for k, v in values.items() if k not in TABLES}
        for name in ("data", "dev_data", "test_data", "from_model", "model"):  # it may be gone on with from elsewhere
            what = fixed.get(name)
            if isinstance(what, str) and what not in MODELS:
                fixed[name] = _absolute(what)
        config = TrainConfig.from_dict(fixed, where)
        fixed = {name: config.to_dict()[name] for name in fixed if name != "out"}
        table = values["search"] if "search" in values else default_space(config, fixed)
        space = Space.parse(table, fixed, where)
        options = {**_table(values.get("method", {}), where), **method}
        options = {("method" if k == "name" else k): v for k, v in options.items()}
        if options.get("method") == "grid":
            if options.get("trials") is not None:
                raise ConfigError(
                    f"{where}: trials (={options['trials']}) was given, but a grid's follow from its points"
                )
            options["trials"] = None
        return cls(fixed, space, **options)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(
                f"unknown method {self.method!r}{nearest(str(self.method), list(METHODS))}; known: {', '.join(METHODS)}"
            )
        for name, least in (("trials", 1), ("refine", 0), ("around", 1), ("points", 1)):
            value = getattr(self, name)
            if value is None and name == "trials":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"{name} (={value!r}) must be a whole number of at least {least}")
            if value > plan.MOST:
                raise ConfigError(f"{name} (={value}) must be at most {plan.MOST}")

    def config(self, values: dict[str, Any], out: Path | str | None = None, threads: int | None = None) -> TrainConfig:
        """The training of one trial."""
        config = TrainConfig.from_dict({**self.fixed, **values}, "trial")
        return replace(
            config, out=None if out is None else str(out), threads=config.threads if threads is None else threads
        )

    @property
    def metric(self) -> str:
        """What trials are compared by."""
        config = self.config({})
        return config.metric if config.task == "classify" else "score"

    def measured(self, row: dict[str, Any], value: float) -> float:
        """The metric of a trial as it stands in its row, where `value` is the same with a sign, higher being better."""
        return row.get(f"val_{self.metric}", row.get(self.metric, value))

    def first_stage(self) -> list[dict[str, Any]]:
        if self.method == "grid":
            return plan.grid(self.space, self.points)
        assert self.trials is not None
        return plan.drawn(self.space, self.trials, self._seed())

    def second_stage(self, best: list[dict[str, Any]], first: int) -> list[dict[str, Any]]:
        """Trials in the part of the space around the `best`, numbered from `first` on."""
        return plan.drawn(self.space.narrowed(best), self.refine, self._seed(), first)

    def _seed(self) -> int:
        return int(self.fixed.get("seed", 0))

    def extended(self, trials: int | None, refine: int | None) -> Definition:
        """The same search with more trials.  Raises : ConfigError where that would be another search."""
        changed = self
        if trials is not None and trials != self.trials:
            if self.trials is None or self.refine or trials < self.trials:
                why = "a grid" if self.trials is None else "refined" if self.refine else f"of {self.trials} already"
                raise ConfigError(f"trials (={trials}) cannot be changed: the search is {why}; start another one")
            changed = replace(changed, trials=trials)
        if refine is not None and refine != self.refine:
            if self.refine:
                raise ConfigError(
                    f"refine (={refine}) cannot be changed: the search is refined by {self.refine} already"
                )
            changed = replace(changed, refine=refine)
        return changed

    # -- files -----------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        options = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("fixed", "space")}
        method = {("name" if k == "method" else k): v for k, v in options.items() if v is not None}
        return {**self.fixed, "search": self.space.to_toml(), "method": method}

    def to_toml(self) -> str:
        import tomli_w

        return tomli_w.dumps(self.to_dict())


def _absolute(what: str) -> str:
    """A path (of a user's network `path:function`) from the root; a name as it is."""
    path, function = what, ""
    if is_user_model(what):
        path, colon, name = what.rpartition(":")
        function = colon + name
    return what if path in KNOWN or not Path(path).exists() else f"{Path(path).absolute()}{function}"


def _table(table: Any, where: str) -> dict[str, Any]:
    known = ["name", "trials", "refine", "around", "points"]
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: [method] (={table!r}) must be a table with some of {', '.join(known)}")
    for name in table:
        if name not in known:
            raise ConfigError(
                f"{where}: [method]: unknown option {name!r}{nearest(name, known)}; known: {', '.join(known)}"
            )
    return dict(table)


def default_space(config: TrainConfig, fixed: dict[str, Any]) -> dict[str, Any]:
    """What is worth varying where nothing else is asked for: learning rate, batch size, regularisation and, of the
    networks for which a range is known, the size; without what is fixed. As a `[search]` table."""
    gentle = config.optimizer in ("adam", "adamw", "muon", "rmsprop")
    ranges: dict[str, Range] = {
        "lr": Numbers(0.0005, 0.02, log=True) if gentle else Numbers(0.005, 0.5, log=True),
        "batch_size": Numbers(16, 128, log=True, integer=True),
        "weight_decay": Numbers(1e-6, 1e-2, log=True),
    }
    if config.task == "classify" and config.from_model is None:
        ranges |= _of_model(config.model or _model_for(config))
    return {name: found.to_toml() for name, found in ranges.items() if name not in fixed}


def _model_for(config: TrainConfig) -> str:
    from dlkit.train.loop import load_data

    return default_model(load_data(config).train.shape)


def _of_model(name: str) -> dict[str, Range]:
    if name == "cnn":
        return {"width": Numbers(8, 32, log=True, integer=True), "dropout": Numbers(0.0, 0.5)}
    if name == "mlp":
        sizes = ([32], [128], [64, 32], [256, 128])
        return {"hidden": Choice(tuple(sizes)), "dropout": Numbers(0.0, 0.5)}
    return {}
