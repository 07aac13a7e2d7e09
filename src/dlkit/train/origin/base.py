"""What all origins have in common, and how weights get from one network into another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from dlkit.data.normalize import Normalizer
from dlkit.errors import CheckpointError
from dlkit.nn import Module
from dlkit.tensor import Tensor
from dlkit.train.config import TrainConfig

SHOWN = 20  # names in one message


class Origin(ABC):
    """path : as given.  data : the ONNX file with all its weights inside, where the network is made from one.
    normalizer : how its input was prepared, if it says so.  name : of the network, for the run folder, where it is not one
    of dlkit's."""

    path: str
    data: bytes | None
    normalizer: Normalizer | None
    name: str | None = None

    @abstractmethod
    def adapted(self, config: TrainConfig) -> TrainConfig:
        """`config` with what the origin determines: network, options, size and channels of images.

        Raises : ConfigError if `config` says otherwise where that cannot be.
        """

    def check(self, shape: tuple[int, ...]) -> None:  # noqa: B027 - most find out when the weights are taken over
        """Raises : ConfigError if examples of this shape do not fit the network."""

    @abstractmethod
    def fill(self, model: Module, input_shape: tuple[int, ...], head: set[str], classes: list[str]) -> None:
        """Gives `model` the origin's weights; `head` names those that depend on the number of classes.

        Raises : CheckpointError that names each tensor which does not fit.
        """

    @abstractmethod
    def remarks(self, classes: list[str]) -> list[str]:
        """What is taken, replaced and assumed."""


def with_image_shape(config: TrainConfig, shape: tuple[int | None, ...]) -> dict[str, int | bool]:
    """The options that bring images to (H, W, C), unless `config` says otherwise."""
    if len(shape) != 3:
        return {}
    height, width, channels = shape
    changes: dict[str, int | bool] = {}
    if config.image_size is None and height is not None and height == width:
        changes["image_size"] = height
    if config.grey is None and channels in (1, 3):
        changes["grey"] = channels == 1
    return changes


class TakeOver:
    """Puts tensors into a model by name, all or none."""

    advice: ClassVar[str] = "the network must be the one that the weights are from, for images of the same size"

    def __init__(self, where: str, model: Module, state: dict[str, np.ndarray], skipped: set[str]):
        """skipped : the model's own tensors that keep their values, and may lie in `state` in another shape."""
        self.where = where
        self.own: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.state, self.skipped = state, skipped

    def wrong(self) -> list[str]:
        """Each tensor that does not fit, in words."""
        wanted = {name: t for name, t in self.own.items() if name not in self.skipped}
        wrong = [f"missing {name!r}" for name in wanted if name not in self.state]
        wrong += [f"unexpected {name!r}" for name in self.state if name not in self.own]
        wrong += [
            f"{name!r} has shape {tuple(np.shape(self.state[name]))}, expected {t.shape}"
            for name, t in wanted.items()
            if name in self.state and tuple(np.shape(self.state[name])) != t.shape
        ]
        return wrong

    def run(self) -> None:
        """Raises : CheckpointError that names each tensor which does not fit."""
        if wrong := self.wrong():
            shown = "; ".join(wrong[:SHOWN]) + (f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else "")
            raise CheckpointError(f"{self.where}: its weights do not fit the network: {shown}; {self.advice}")
        for name, t in self.own.items():
            if name not in self.skipped:
                t.data = Tensor(np.array(self.state[name], dtype=t.dtype), device=t.device).data


def replaced(had: int | None, classes: list[str], names: list[str] | None) -> str | None:
    """A note about the last layer of a network for `had` classes, called `names` if that is known; None if it is kept
    because the classes are the same. Its weights are drawn anew if the number or, where known, the names differ."""
    if names is not None and names == classes:
        return None
    if had is not None and (had != len(classes) or names is not None):
        what = f"{had} classes" if names is None else f"{had} classes ({_few(names)})"
        return f"its last layer, for {what}, is replaced by a new one for {len(classes)}"
    return None


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
