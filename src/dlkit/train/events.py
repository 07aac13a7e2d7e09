"""A training as TensorBoard shows it: event files in the run folder, written by tensorboardX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.errors import ConfigError
from dlkit.nn import Conv2d
from dlkit.train.files import says_why
from dlkit.train.tiles import filter_tiles

if TYPE_CHECKING:
    from dlkit.train.loop import Trainer


def require_tensorboard() -> Any:
    """tensorboardX, or ConfigError that says how to get it."""
    try:
        import tensorboardX
    except ImportError:
        raise ConfigError('--tensorboard needs tensorboardX: pip install "dlkit[tensorboard]"') from None
    return tensorboardX


class Events:
    """Watches a training; a context manager. The horizontal axis is the number of steps throughout.

    loss/step, learning_rate         every step
    loss/train, loss/val, ...        every epoch, each quantity of the task
    weights/NAME, gradients/NAME     histograms, every epoch; the gradient is the last batch's
    filters                          the first convolution's, every epoch
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.writer: Any = None

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.writer is not None:
            self.writer.close()

    def start(self, trainer: Trainer) -> None:
        done = trainer.state.epoch * len(trainer.loader) + trainer.state.batch
        writer = require_tensorboard().SummaryWriter
        with says_why(self.folder):  # what was written after the checkpoint that is gone on from does not count
            self.writer = writer(
                str(self.folder), purge_step=done + 1 if done else None, filename_suffix=f".from-{done}"
            )

    def step(self, trainer: Trainer, batch: int, batches: int, loss: float) -> None:
        n = trainer.state.epoch * batches + batch
        self.writer.add_scalar("loss/step", loss, n)
        self.writer.add_scalar("learning_rate", trainer.optimizer.lr, n)

    def epoch(self, trainer: Trainer, row: dict[str, Any]) -> None:
        n = trainer.state.epoch * len(trainer.loader)
        for quantity in trainer.task.quantities:
            for part in ("train", "val"):
                if f"{part}_{quantity}" in row:
                    self.writer.add_scalar(f"{quantity}/{part}", row[f"{part}_{quantity}"], n)
        for name, p in trainer.model.named_parameters():
            self._histogram(f"weights/{name}", p.numpy(), n)
            if p.grad is not None:
                self._histogram(f"gradients/{name}", p.grad.numpy(), n)
        first = next((m for m in trainer.model.modules() if isinstance(m, Conv2d)), None)
        if first is not None:
            self.writer.add_image("filters", filter_tiles(first.weight.numpy()), n, dataformats="HWC")
        self.writer.flush()

    def _histogram(self, tag: str, values: np.ndarray, n: int) -> None:
        finite = values[np.isfinite(values)]  # a gradient may overflow without harm where it is clipped
        if finite.size:
            self.writer.add_histogram(tag, finite.astype(np.float64), n)
