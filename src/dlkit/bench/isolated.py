"""Both sides of a training step in processes of their own, which live side by side and work in turn.

In one process the side that comes first leaves its allocator's state and its threads to the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from dlkit.bench.parcel import read_arrays
from dlkit.errors import BenchmarkError

# glibc then keeps all freed memory, as dlkit asks it to for itself (csrc/include/dl_memory.h)
TUNED_MALLOC = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=8589934592:glibc.malloc.top_pad=268435456"


@dataclass(frozen=True)
class Task:
    """side : "dlkit" or "torch"; name : the case's or the peer's."""

    side: str
    name: str
    variant: str
    threads: int
    tuned_malloc: bool = False


class Process:
    """A worker (dlkit/bench/worker.py): `answer` of its first step, then `block(count)` as often as wanted."""

    def __init__(self, task: Task, inputs: Path, answer: Path):
        self.task = task
        environment = {**os.environ, "OMP_NUM_THREADS": str(task.threads)}
        if task.tuned_malloc:
            environment["GLIBC_TUNABLES"] = TUNED_MALLOC
        arguments = [task.side, task.name, task.variant, str(task.threads), str(inputs), str(answer)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dlkit.bench.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.last: dict[str, Any] = {}  # what the worker said last: seconds, faults of a step, memory
        self.path = answer

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()

    def answer(self) -> list[np.ndarray]:
        self._listen()
        return read_arrays(self.path)

    def block(self, count: int) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        self.last = self._listen()
        return self.last["seconds"]

    def _listen(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, said = self.process.communicate()
            last = (said.strip() or "no message").splitlines()[-1]
            raise BenchmarkError(f"{self.task.name}: the process of {self.task.side} ended: {last}")
        return json.loads(line)
