"""The folder of a search: what was asked for, every trial, and who is at work. Any number of processes may share it.

    search.toml     the definition
    search.db       Optuna's storage (SQLite): the trials waiting, running and done, all of them written at once
    trials/007/     the training of trial 7, a run folder
    workers/        a file for each process at work, locked for as long as it lives

A process that is killed leaves a trial that is running and a file that nobody holds: whoever sees that puts the trial back.
What is done is never done again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.errors import ConfigError, SearchError
from dlkit.search.definition import Definition
from dlkit.train.config import read_toml
from dlkit.train.files import says_why, write_atomically

if TYPE_CHECKING:
    import optuna

REDUCTION = 3  # halving: of those that came so far, one in three goes on
DONE = ("complete", "pruned", "failed")
OUTCOME = ("score", "value", "row", "epochs", "seconds", "why")  # of a Trial, known when it is done


@dataclass
class Trial:
    """number : from 0 on, in the order of the plan.  state : "waiting", "running", or one of DONE.

    score : of the best epoch, as the task sees it; None where there was none.  value : the metric in it, higher being better.
    row : the best epoch's row, and what the network costs.  why : what went wrong, or which conditions are not met.
    """

    number: int
    state: str
    values: dict[str, Any]
    score: list[float] | None = None
    value: float | None = None
    row: dict[str, Any] = field(default_factory=dict)
    epochs: int = 0
    seconds: float = 0.0
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


class SearchFolder:
    """An open search; it counts as a process at work until it is closed."""

    def __init__(self, path: Path, definition: Definition):
        self.path, self.definition = path, definition
        self.study = _load(path, definition)
        workers = path / "workers"
        with says_why(path), _locked(path):
            workers.mkdir(exist_ok=True)
            handle, name = tempfile.mkstemp(dir=workers, suffix=".lock")
            fcntl.flock(handle, fcntl.LOCK_EX)
        self._own, self.worker = handle, Path(name)

    @classmethod
    def create(cls, path: Path, definition: Definition) -> SearchFolder:
        """A new search, or the one in `path` if it is the same.  Raises : ConfigError if it is another."""
        require_optuna()
        definition.first_stage()  # a plan that cannot be made leaves no folder
        with says_why(path):
            path.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            file = path / "search.toml"
            if file.exists():
                if (other := _difference(definition, _read(file))) is not None:
                    raise ConfigError(
                        f"{path} holds another search ({other}); choose another --out, or --resume {path}"
                    )
            elif any(p.name != "lock" for p in path.iterdir()):
                raise ConfigError(f"{path} holds something else than a search; choose another --out")
            else:
                write_atomically(file, definition.to_toml())
        return cls(path, definition)

    @classmethod
    def open(cls, path: Path, trials: int | None = None, refine: int | None = None) -> SearchFolder:
        """A search that was begun, perhaps with more trials.  Raises : ConfigError if there is none in `path`."""
        file = path / "search.toml"
        if not file.is_file():
            raise ConfigError(f"{path}: no search here (no search.toml)")
        with _locked(path):
            definition = _read(file)
            extended = definition.extended(trials, refine)
            if extended != definition:
                write_atomically(file, extended.to_toml())
        return cls(path, extended)

    def close(self) -> None:
        self.worker.unlink(missing_ok=True)
        os.close(self._own)

    def __enter__(self) -> SearchFolder:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def trial_folder(self, number: int) -> Path:
        return self.path / "trials" / f"{number:03d}"

    # -- the storage -----------------------------------------------------------------------------------------------

    def trials(self) -> list[Trial]:
        """All of the plan so far, by number. Of one that was put back the newest counts."""
        found = {}
        for frozen in self.study.get_trials(deepcopy=False):
            state = frozen.state.name.lower()
            facts = frozen.user_attrs
            number, values, outcome = facts["number"], facts["values"], facts.get("outcome", {})
            found[number] = Trial(number, {"fail": "failed"}.get(state, state), values, **outcome)
        return [found[n] for n in sorted(found)]

    # -- taking and giving back ------------------------------------------------------------------------------------

    def claim(self) -> tuple[optuna.Trial, Trial] | None:
        """A trial that waits, now this process's own; None if none waits at present.

        Puts back what killed processes left behind, and plans the second stage when the first one is done.
        """
        from optuna.trial import TrialState

        with _locked(self.path):
            self._plan()
            self._put_back()
            if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                return None
            handle = self.study.ask()
            handle.set_user_attr("worker", self.worker.name)
            return handle, Trial(handle.user_attrs["number"], "running", handle.user_attrs["values"])

    def finish(self, handle: optuna.Trial, trial: Trial) -> None:
        """Writes down what came of a trial; with the last line it is done."""
        from optuna.trial import TrialState

        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        with _locked(self.path):
            handle.set_user_attr("outcome", {name: getattr(trial, name) for name in OUTCOME})
            value = trial.value if trial.state == "complete" else None
            self.study.tell(handle, value, state=states[trial.state])

    def planned(self) -> list[Trial]:
        """`trials`, once all that can be planned now are."""
        with _locked(self.path):
            self._plan()
            return self.trials()

    def unfinished(self) -> bool:
        """Whether any trial waits, is at work in a process that lives, or has still to be planned."""
        with _locked(self.path):
            self._plan()
            self._put_back()
            return any(t.state not in DONE for t in self.trials())

    def _plan(self) -> None:
        """Adds what is missing of the first stage, and the second one once the first is done."""
        trials = self.trials()
        known = {t.number for t in trials}
        first = self.definition.first_stage()
        if missing := [(n, values) for n, values in enumerate(first) if n not in known]:
            self._add(missing)
        elif self.definition.refine and len(trials) == len(first) and all(t.state in DONE for t in trials):
            best = [t.values for t in ranked(trials) if t.state == "complete"][: self.definition.around]
            if not best:
                raise SearchError(f"{self.path}: no trial came to its end, so there is nothing to search around")
            start = len(first)
            self._add([(start + i, v) for i, v in enumerate(self.definition.second_stage(best, start))])

    def _add(self, numbered: list[tuple[int, dict[str, Any]]]) -> None:
        import optuna

        ranges = self.definition.space.ranges
        self.study.add_trials(
            optuna.create_trial(
                state=optuna.trial.TrialState.WAITING,
                params={name: ranges[name].label(value) for name, value in values.items()},
                distributions={name: found.distribution() for name, found in ranges.items()},
                user_attrs={"number": number, "values": values},
            )
            for number, values in numbered
        )

    def _put_back(self) -> None:
        from optuna.trial import TrialState

        alive = self._alive()
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if frozen.user_attrs.get("worker") not in alive:
                self.study.tell(frozen.number, state=TrialState.FAIL)
                self._add([(frozen.user_attrs["number"], frozen.user_attrs["values"])])

    # -- who is at work --------------------------------------------------------------------------------------------

    def workers(self) -> int:
        """How many processes share this search now, this one included."""
        with _locked(self.path):
            return len(self._alive())

    def _alive(self) -> set[str]:
        """Those whose file is locked; the files of the dead are removed."""
        alive = {self.worker.name}
        for file in (self.path / "workers").glob("*.lock"):
            if file != self.worker:
                with open(file, "rb") as other:
                    try:
                        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        alive.add(file.name)
                    else:
                        file.unlink(missing_ok=True)
        return alive


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time."""
    with says_why(path):
        file = open(path / "lock", "ab")  # noqa: SIM115 - the block's own errors are not the file's
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def require_optuna() -> Any:
    """Optuna, or ConfigError that says how to get it."""
    try:
        import optuna
    except ImportError:
        raise ConfigError('dlkit search needs Optuna, which is not installed: pip install "dlkit[search]"') from None
    return optuna


def _load(path: Path, definition: Definition) -> optuna.Study:
    optuna = require_optuna()
    from sqlalchemy.engine import URL

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner: Any = optuna.pruners.NopPruner()
    if definition.method == "halving":
        ninth = -(-definition.config({}).epochs // REDUCTION**2)  # rounded up: the third decision would be the end
        pruner = optuna.pruners.SuccessiveHalvingPruner(ninth, REDUCTION)
    url = URL.create("sqlite", database=str(path.absolute() / "search.db")).render_as_string()
    try:
        with _locked(path):
            storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
            return optuna.create_study(
                storage=storage,
                sampler=optuna.samplers.RandomSampler(),
                pruner=pruner,
                study_name="search",
                direction="maximize",
                load_if_exists=True,
            )
    except Exception as error:  # SQLAlchemy's and Optuna's own, of many kinds
        raise SearchError(f"{path / 'search.db'}: cannot be used ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _read(file: Path) -> Definition:
    return Definition.parse(read_toml(file), {}, str(file))


def _difference(a: Definition, b: Definition) -> str | None:
    """The first thing that the two do not agree in, by name."""
    ours, theirs = a.to_dict(), b.to_dict()
    for name in {**theirs, **ours}:
        if ours.get(name) != theirs.get(name):
            return f"{name} is {theirs.get(name, 'not given')}, here {ours.get(name, 'not given')}"
    return None


def ranked(trials: list[Trial]) -> list[Trial]:
    """Best first: those that came to their end, by score; then those stopped early; then the rest."""
    order = {"complete": 0, "pruned": 1}

    def key(trial: Trial) -> tuple:
        score = trial.score if trial.score is not None else (float("-inf"),)
        return (order.get(trial.state, 2), [-s for s in score], trial.number)

    return sorted(trials, key=key)
