"""A whole search: its processes, and what is written at the end."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlkit import threads
from dlkit.errors import SearchError
from dlkit.search import result
from dlkit.search.definition import Definition
from dlkit.search.study import DONE, SearchFolder, Trial, ranked, require_optuna
from dlkit.search.worker import work
from dlkit.train.checkpoint import load_checkpoint
from dlkit.train.loop import Trainer
from dlkit.train.run import RunFolder

MOST_JOBS = 4  # that are started without being asked for
Watch = Callable[[list[Trial]], None]  # all trials, each time some may have changed


@dataclass
class SearchResult:
    """trials : best first.  best : the first of them.  test : its metrics on the test set, which no other trial has seen.

    importances : share of the variance of the score that each option explains.  interrupted : some are still to be done.
    """

    folder: str
    trials: list[Trial]
    best: Trial | None
    interrupted: bool
    seconds: float
    test: dict[str, Any] = field(default_factory=dict)
    importances: dict[str, float] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    @property
    def finished(self) -> int:
        return sum(t.state in DONE for t in self.trials)

    def to_dict(self) -> dict[str, Any]:
        best = None if self.best is None else self.best.to_dict()
        return {**vars(self), "trials": [t.to_dict() for t in self.trials], "best": best}


def new_folder(definition: Definition, out: str | None) -> Path:
    """`out`, or the next free runs/DATA-search-NUMBER."""
    require_optuna()
    if out is not None:
        return Path(out)
    return RunFolder.free(f"{Path(definition.config({}).data).stem}-search").path


def usual_jobs(folder: SearchFolder) -> int:
    """Processes worth starting: for most networks that are searched, two trials on a core each are done sooner than one
    after the other on two; each needs memory for itself."""
    at_work = folder.definition.config({}).threads or threads.num_threads()
    return max(1, min(at_work, MOST_JOBS, sum(t.state not in DONE for t in folder.planned())))


def search(folder: SearchFolder, jobs: int = 1, watch: Watch = lambda trials: None) -> SearchResult:
    """Trains all trials that are not done yet, `jobs` at a time; then tests the best and writes what came of it.

    Raises : SearchError if every trial failed, ConfigError if one cannot be trained as asked.
    """
    began = time.perf_counter()
    with _others(folder, jobs - 1):
        try:
            finished = work(folder, jobs, lambda: watch(folder.trials()))
        except KeyboardInterrupt:
            finished = False
    watch(folder.trials())
    trials = ranked(folder.trials())
    best = trials[0] if trials and trials[0].state == "complete" else None
    seconds = time.perf_counter() - began
    outcome = SearchResult(str(folder.path), trials, best, not finished, seconds)
    if not finished:
        return outcome
    if best is None:
        why = next((t.why for t in trials if t.why), "")
        raise SearchError(f"{folder.path}: no trial came to its end; the first one: {why}")
    outcome.test = _test(folder, best)
    outcome.importances = result.importances(folder)
    files = [result.write_csv(folder, trials), result.write_best(folder, best)]
    outcome.files = [str(f) for f in [*files, *result.draw(folder, trials, outcome.importances)]]
    RunFolder(folder.path).write_json("result.json", outcome.to_dict())
    return outcome


@contextlib.contextmanager
def _others(folder: SearchFolder, count: int) -> Iterator[None]:
    """Further processes at work on the same folder, ended with this one."""
    command = [sys.executable, "-m", "dlkit.search", str(folder.path)]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield
    except BaseException:
        for process in running:
            process.terminate()
        raise
    finally:
        for process in running:
            process.wait()


def _test(folder: SearchFolder, best: Trial) -> dict[str, Any]:
    """The best network's test; if it was made before, what came of it then."""
    file = folder.path / "result.json"
    if file.exists():
        before = json.loads(file.read_text())
        if before["best"] is not None and before["best"]["number"] == best.number:
            return before["test"]
    run = RunFolder.open(folder.trial_folder(best.number))
    checkpoint = load_checkpoint(run.best)
    trainer = Trainer(folder.definition.config(best.values, run.path))
    trainer.task.restore(checkpoint.normalizer)
    trainer.model.load_state_dict(checkpoint.model_state)
    return trainer.task.test(trainer.model, trainer.device, run.path)
