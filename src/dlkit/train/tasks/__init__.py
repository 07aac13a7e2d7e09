"""What can be learned: one file for each task, which registers itself in TASKS.

Importing this package imports those that lie here. A task that needs more of dlkit than training does lies with what it
needs, and is imported when a training asks for it.
"""

from __future__ import annotations

import importlib
import pkgutil

from dlkit.train.tasks.task import TASKS, Batches, Data, Task, task

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

TASKS.leave_to("dlkit.inpaint.task", "inpaint")

__all__ = ["TASKS", "Batches", "Data", "Task", "task"]
