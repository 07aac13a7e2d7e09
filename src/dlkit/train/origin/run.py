"""A training of dlkit's own to start from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dlkit.errors import ConfigError
from dlkit.nn import Module
from dlkit.train.checkpoint import Checkpoint
from dlkit.train.config import MODEL_OPTIONS, TrainConfig, default_model
from dlkit.train.origin.base import Origin, TakeOver, replaced, with_image_shape

_WITHOUT: dict[str, Any] = {"freeze": "none", "unfreeze_every": 0, "lr_backbone": None}  # what goes with from_model
FREE = ("dropout", "init")  # may be other than they were: no weight depends on them


class RunOrigin(Origin):
    def __init__(self, path: str, checkpoint: Checkpoint):
        self.path, self.checkpoint = path, checkpoint
        self.data, self.normalizer = checkpoint.network, checkpoint.normalizer
        if self.data is not None:
            self.name = Path(checkpoint.config.from_model or path).stem

    def adapted(self, config: TrainConfig) -> TrainConfig:
        changes: dict[str, Any] = dict(with_image_shape(config, self.checkpoint.input_shape))
        old = self.checkpoint.config
        model = None if self.data is not None else old.model or default_model(self.checkpoint.input_shape)
        theirs = replace(old, model=model, from_model=None, **_WITHOUT)
        for option in ("model", *MODEL_OPTIONS):
            mine, had = getattr(config, option), getattr(theirs, option)
            free = option in FREE and mine != 0  # without any dropout some networks have fewer layers
            if mine is not None and mine != had and not free:
                raise ConfigError(
                    f"{option} (={mine}) was given, but the network of {self.path} has {'its default' if had is None else had}; "
                    f"leave --{option.replace('_', '-')} out"
                )
            changes[option] = mine if mine is not None else had
        return replace(config, **changes)

    def fill(self, model: Module, input_shape: tuple[int, ...], head: set[str], classes: list[str]) -> None:
        new_head = replaced(len(self.checkpoint.classes), classes, self.checkpoint.classes) is not None
        TakeOver(self.path, model, self.checkpoint.model_state, head if new_head else set()).run()

    def remarks(self, classes: list[str]) -> list[str]:
        had = self.checkpoint.classes
        notes = [f"starts from {self.path}"]
        if note := replaced(len(had), classes, had):
            notes.append(note)
        return [*notes, f"input normalised as it was there ({self.checkpoint.normalizer.mode})"]
