"""The run folder: what a training leaves behind.

config.toml         the full configuration; `dlkit train --config` repeats the run
last.safetensors    where training stands; `dlkit train --resume` goes on from it
best.safetensors    the network of the best epoch; evaluate and predict use it
history.csv         one line per epoch
metrics.json        the result
curves.png          loss and accuracy, or what else the task measures, over the epochs
model.py            what the user's file with the network held, where one was given; kept to be read, never run
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path
from typing import Any

from dlkit.errors import CheckpointError, ConfigError
from dlkit.train.checkpoint import Checkpoint, load_checkpoint
from dlkit.train.config import TrainConfig
from dlkit.train.files import finite, says_why, write_atomically
from dlkit.train.tasks import TASKS

FILES = ("config.toml", "history.csv", "metrics.json", "curves.png", "model.py")


class RunFolder:
    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def last(self) -> Path:
        return self.path / "last.safetensors"

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @classmethod
    def create(cls, config: TrainConfig, data_name: str, model_name: str) -> RunFolder:
        """A new folder: `config.out`, or the next free runs/DATA-MODEL-NUMBER.

        Raises : ConfigError if `out` already holds a run or a file of one of its names, OutputError if it cannot be made.
        """
        if config.out:
            run = cls(config.out)
            if run.last.exists() or run.best.exists():
                raise ConfigError(f"{config.out} already holds a run; choose another --out, or --resume {config.out}")
            for name in FILES:
                if (run.path / name).exists():
                    raise ConfigError(f"{config.out} already holds a {name} that is not a run's; choose another --out")
            with says_why(run.path):
                run.path.mkdir(parents=True, exist_ok=True)
        else:
            run = cls.free(f"{data_name}-{model_name}")
        run.write_config(config)
        return run

    def discard(self) -> None:
        """Removes what a run writes before its first step, and the folder if nothing else is in it."""
        for path in (self.last, self.path / "config.toml", self.path / "model.py"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    @classmethod
    def free(cls, name: str) -> RunFolder:
        """A new folder, the next free runs/NAME-NUMBER.  Raises : OutputError if it cannot be made."""
        base = Path("runs")
        with says_why(base):
            base.mkdir(exist_ok=True)
            return cls._next(base, name)

    @classmethod
    def _next(cls, base: Path, name: str) -> RunFolder:
        taken = [int(p.name.rpartition("-")[2]) for p in base.glob(f"{name}-*") if p.name.rpartition("-")[2].isdigit()]
        number = max(taken, default=0) + 1
        while True:
            run = cls(base / f"{name}-{number:03d}")
            try:
                run.path.mkdir()
            except FileExistsError:  # another training took it meanwhile
                number += 1
            else:
                return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run.  Raises : CheckpointError if there is none."""
        run = cls(path)
        if not run.path.is_dir():
            raise CheckpointError(f"{path}: no such run folder")
        if not run.last.exists() and not run.best.exists():
            raise CheckpointError(f"{path}: no run here (neither last.safetensors nor best.safetensors)")
        return run

    def load_best(self, task: str = "classify") -> Checkpoint:
        """The best epoch's network; before any epoch was better than none, the last state.

        Raises : CheckpointError if it was trained for another task.
        """
        checkpoint = load_checkpoint(self.best if self.best.exists() else self.last)
        if (found := checkpoint.config.task) != task:
            raise CheckpointError(
                f"{self.path}: a network of `dlkit train --task {found}`, for {TASKS[found].used_by}; "
                f"one of --task {task} is needed here"
            )
        return checkpoint

    def write_config(self, config: TrainConfig) -> None:
        write_atomically(self.path / "config.toml", config.to_toml())

    def write_history(self, rows: list[dict[str, Any]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["epoch"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path / "history.csv", text.getvalue())

    def write_json(self, name: str, value: Any) -> None:
        write_atomically(self.path / name, json.dumps(finite(value), indent=2, allow_nan=False) + "\n")
