"""Transfer learning: weights from elsewhere, a new head, frozen layers, a slower rate below the head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlkit.errors import OnnxError
from dlkit.nn import Module
from dlkit.train.config import TrainConfig
from dlkit.train.freeze import NONE, Freezing, head_of
from dlkit.train.origin import Origin


class Tuning:
    """build : the network for a number of classes.  origin : None if the run is gone on with: its weights come from there."""

    def __init__(
        self,
        config: TrainConfig,
        model: Module,
        build: Callable[[int], Module],
        input_shape: tuple[int, ...],
        classes: list[str],
        origin: Origin | None,
    ):
        self.config, self.model = config, model
        try:
            self.head = head_of(build, len(classes))
        except OnnxError:  # an imported network whose last layer cannot be told from the rest
            self.head = set()
        if origin is not None:
            origin.fill(model, input_shape, self.head, classes)
        self.freezing = Freezing(model, input_shape, self.head, config.freeze, config.unfreeze_every)

    def parameters(self) -> list[Any]:
        """In groups for the optimiser: the backbone has a rate of its own if one was given."""
        if self.config.lr_backbone is None:
            return list(self.model.parameters())
        named = list(self.model.named_parameters())
        backbone = [p for name, p in named if name not in self.head]
        rest = [p for name, p in named if name in self.head]
        return [{"params": backbone, "lr": self.config.lr_backbone}, {"params": rest}]

    def begin_epoch(self, epoch: int) -> None:
        if self.config.freeze != NONE:
            self.freezing.apply(epoch)

    def remarks(self) -> list[str]:
        return self.freezing.remarks()
