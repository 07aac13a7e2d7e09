"""A safetensors file with weights under torchvision's or timm's names to start from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.data.normalize import Normalizer
from dlkit.errors import ConfigError
from dlkit.nn import Module
from dlkit.train.config import TrainConfig
from dlkit.train.origin.base import Origin, TakeOver, replaced, with_image_shape
from dlkit.weights.published import PUBLISHED, Published
from dlkit.weights.torch_names import from_torch

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # heads that help while training; a network without them can do without


class WeightsOrigin(Origin):
    """published : what is known about the file, by its name NAME.safetensors."""

    data = None

    def __init__(self, path: str, tensors: dict[str, np.ndarray], published: Published | None = None):
        self.path, self.tensors, self.published = path, tensors, published
        self.normalizer = None
        self.had: int | None = None
        self.model = published.model if published else ""
        if published is not None:
            self.normalizer = Normalizer("standard", np.array(published.mean), np.array(published.std), True)

    @classmethod
    def open(cls, path: str, tensors: dict[str, np.ndarray]) -> WeightsOrigin:
        return cls(path, tensors, PUBLISHED.get(Path(path).stem))

    def adapted(self, config: TrainConfig) -> TrainConfig:
        known = self.published
        if known is None:
            if config.model is None:
                raise ConfigError(
                    f"{self.path}: holds weights and does not say of which network; name it, such as --model resnet18"
                )
            self.model = config.model
            return config
        if config.model not in (None, known.model):
            raise ConfigError(
                f"model (={config.model}) was given, but {known.name} is for {known.model}; leave --model out"
            )
        changes: dict[str, Any] = {"model": known.model, **with_image_shape(config, (known.image_size,) * 2 + (3,))}
        return replace(config, **changes, **known.options)

    def fill(self, model: Module, input_shape: tuple[int, ...], head: set[str], classes: list[str]) -> None:
        state = from_torch(self.model, model, input_shape, self.tensors)
        own = {name for name, _ in [*model.named_parameters(), *model.named_buffers()]}
        state = {n: a for n, a in state.items() if n in own or not n.startswith(AUXILIARY)}
        sizes = {state[name].shape[-1] for name in head if name in state and np.ndim(state[name])}
        self.had = sizes.pop() if len(sizes) == 1 else None
        new_head = self.had != len(classes)
        TakeOver(self.path, model, state, head if new_head else set()).run()

    def remarks(self, classes: list[str]) -> list[str]:
        notes = [f"starts from {self.path}"]
        if note := replaced(self.had, classes, None):
            notes.append(note)
        if self.normalizer is not None:
            notes.append("input normalised as it was for these weights (standard)")
        else:
            notes.append(
                "how the input was normalised for these weights is not known; it is fitted on the training set"
            )
        return notes
