"""One process at work on a search: takes a trial, trains it, writes down what came of it, takes the next.

`python -m dlkit.search FOLDER` is what `--jobs` starts beside the first one.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dlkit import threads
from dlkit.errors import ConfigError, DivergedError, UsageError
from dlkit.search.study import SearchFolder, Trial
from dlkit.train.config import TrainConfig
from dlkit.train.loop import Trainer, load_data

if TYPE_CHECKING:
    import optuna

WAIT = 0.2  # seconds between two looks at what other processes do


def work(
    folder: SearchFolder,
    jobs: int = 1,
    watch: Callable[[], None] = lambda: None,
    wanted: Callable[[], bool] = lambda: True,
) -> bool:
    """Takes trials until all are done, also by other processes; False if it was interrupted before.

    jobs : processes that will be at work, though some may not have begun yet: threads are divided between so many.
    watch : called after every trial, and now and then while others are at work.  wanted : asked before every trial.
    """
    all_threads, data = folder.definition.config({}).threads or threads.num_threads(), _LastData()
    while wanted():
        claimed = folder.claim()
        if claimed is None:
            if not folder.unfinished():
                return True
            time.sleep(WAIT)
        elif not _train(folder, *claimed, max(1, all_threads // max(jobs, folder.workers())), data):
            return False
        watch()
    return False


def _train(folder: SearchFolder, handle: optuna.Trial, trial: Trial, own_threads: int, data: _LastData) -> bool:
    """Trains one trial; False if it was interrupted and is to be repeated."""
    out = folder.trial_folder(trial.number)
    shutil.rmtree(out, ignore_errors=True)  # of a process that was killed
    definition = folder.definition
    watcher = _Watcher(handle, definition.method == "halving")
    try:
        config = definition.config(trial.values, out, own_threads)
        trainer = Trainer(config, data(config))
        result = trainer.fit(watcher, test=False)
    except DivergedError as error:
        trial.state, trial.why = "failed", str(error).partition("; ")[0]
    except UsageError as error:
        raise ConfigError(f"trial {trial.number} ({_text(trial.values)}): {error}") from None
    else:
        if result.stopped == "interrupted" and not watcher.pruned:
            return False
        if trainer.state.best_score is None or "val_loss" not in trainer.state.history[0]:
            raise ConfigError("a search compares trials by their validation, but nothing is held back for that")
        trial.state = "pruned" if watcher.pruned else "complete"
        trial.row = {**trainer.state.history[trainer.state.best_epoch - 1], **(trainer.state.costs or {})}
        trial.score, trial.value = list(trainer.state.best_score), trainer.task.objective(trial.row)
        trial.why = ", ".join(f"misses {c}" for c in trainer.task.verdict(trial.row).get("missed", []))
        trial.epochs, trial.seconds = trainer.state.epoch, trainer.state.seconds
    (out / "last.safetensors").unlink(missing_ok=True)  # a finished trial is used, not gone on with
    folder.finish(handle, trial)
    return True


class _Watcher:
    """Reports every epoch to Optuna's pruner, where there is one, and ends the training when it says so."""

    def __init__(self, handle: optuna.Trial, prunes: bool):
        self.handle, self.prunes, self.pruned = handle, prunes, False

    def start(self, trainer: Trainer) -> None: ...

    def step(self, trainer: Trainer, batch: int, batches: int, loss: float) -> None: ...

    def epoch(self, trainer: Trainer, row: dict[str, Any]) -> None:
        if self.prunes and "val_loss" in row and trainer.state.epoch < trainer.config.epochs:
            value = trainer.task.objective({**row, **(trainer.state.costs or {})})
            self.handle.report(value, trainer.state.epoch)
            if self.handle.should_prune():
                self.pruned = True
                trainer.stop()


class _LastData:
    """The data set, read again only if what is read changes from one trial to the next."""

    def __init__(self) -> None:
        self.key: tuple = ()
        self.data: Any = None

    def __call__(self, config: TrainConfig) -> Any:
        names = [f.name for f in dataclasses.fields(config) if f.metadata["group"] == "data"]
        key = (config.seed, *(getattr(config, name) for name in names))
        if key != self.key:
            self.key, self.data = key, load_data(config)
        return self.data


def _text(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
