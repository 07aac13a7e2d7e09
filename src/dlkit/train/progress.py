"""Who watches a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from dlkit.train.loop import Trainer


class Progress(Protocol):
    """Who watches a training: a progress bar, a notebook, a test."""

    def start(self, trainer: Trainer) -> None: ...
    def step(self, trainer: Trainer, batch: int, batches: int, loss: float) -> None: ...
    def epoch(self, trainer: Trainer, row: dict[str, Any]) -> None: ...


class Silent:
    def start(self, trainer: Trainer) -> None: ...
    def step(self, trainer: Trainer, batch: int, batches: int, loss: float) -> None: ...
    def epoch(self, trainer: Trainer, row: dict[str, Any]) -> None: ...


class Several:
    """Some watchers as one."""

    def __init__(self, *watchers: Progress):
        self.watchers = watchers

    def start(self, trainer: Trainer) -> None:
        for watcher in self.watchers:
            watcher.start(trainer)

    def step(self, trainer: Trainer, batch: int, batches: int, loss: float) -> None:
        for watcher in self.watchers:
            watcher.step(trainer, batch, batches, loss)

    def epoch(self, trainer: Trainer, row: dict[str, Any]) -> None:
        for watcher in self.watchers:
            watcher.epoch(trainer, row)
