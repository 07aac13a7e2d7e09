"""What can be learned: one file for each task. Importing this package imports them all; each registers itself in TASKS."""

from __future__ import annotations

import importlib
import pkgutil

from dlkit.train.tasks.task import TASKS, Batches, Data, Task, task

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["TASKS", "Batches", "Data", "Task", "task"]
