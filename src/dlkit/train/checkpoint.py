"""Checkpoints: one safetensors file that holds a network, how to feed it, and, to go on, the optimiser and progress.

Tensors are named `model.<parameter>` and `optimizer.<index>.<slot>`, `network.onnx` holds the file a fine-tuned network
came from; everything else is one JSON text in the file's metadata. A safetensors file holds numbers only: nothing loaded from it can run code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.data.normalize import Normalizer
from dlkit.errors import CheckpointError, ConfigError
from dlkit.models.user import UserModel
from dlkit.nn import Module
from dlkit.train.config import TrainConfig
from dlkit.train.files import write_atomically
from dlkit.train.tasks import TASKS

FORMAT = 1
NETWORK = "network.onnx"  # the tensor that holds an ONNX file's bytes


@dataclass
class Checkpoint:
    """config, classes, input_shape and normalizer rebuild the network and its input; `progress` is where training
    stands (see loop.Progress), None in a checkpoint that is only to be used, not continued."""

    config: TrainConfig
    classes: list[str]
    input_shape: tuple[int, ...]
    normalizer: Normalizer
    model_state: dict[str, np.ndarray]
    optimizer_state: dict[str, np.ndarray] = field(default_factory=dict)
    progress: dict[str, Any] | None = None
    network: bytes | None = None  # the ONNX file that the network comes from, if it does
    source: str | None = None  # SHA-256 of the user's file that builds the network, if one does
    data: dict[str, str] = field(default_factory=dict)  # the data's fingerprints, if they have any
    features: list[str] | None = None  # what their table calls its columns

    def build(self) -> Module:
        """The network with its weights, in inference mode."""
        self.check_source()
        task = TASKS[self.config.task]
        model = task.build(self.config, self.input_shape, len(self.classes), self.network)
        model.load_state_dict(self.model_state)
        return model.eval()

    def check_source(self) -> None:
        """Raises : CheckpointError if a user's file builds the network and is gone or has changed."""
        if self.source is not None:
            UserModel.parse(self.config.model or "").require(self.source)

    def save(self, path: Path) -> None:
        """Raises : OutputError; an older checkpoint at `path` then stays."""
        from safetensors.numpy import save

        meta = {
            "format": FORMAT,
            "config": self.config.to_dict(),
            "classes": self.classes,
            "input_shape": list(self.input_shape),
            "normalizer": self.normalizer.state(),
            "progress": self.progress,
            "source": self.source,
            "data": self.data,
            "features": self.features,
        }
        tensors = {f"model.{n}": a for n, a in self.model_state.items()}
        tensors.update({f"optimizer.{n}": a for n, a in self.optimizer_state.items()})
        if self.network is not None:
            tensors[NETWORK] = np.frombuffer(self.network, np.uint8)
        contiguous = {n: np.ascontiguousarray(a).reshape(np.shape(a)) for n, a in tensors.items()}
        write_atomically(path, save(contiguous, metadata={"dlkit": json.dumps(meta)}))


def load_checkpoint(path: Path) -> Checkpoint:
    """Raises : CheckpointError if the file is missing, damaged, or not one of dlkit's."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        with safe_open(str(path), framework="numpy") as file:
            text = (file.metadata() or {}).get("dlkit")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged or not a safetensors file ({error})") from None
    if text is None:
        raise CheckpointError(
            f"{path}: a safetensors file, but not a dlkit checkpoint (it says nothing about its network)"
        )
    try:
        meta = json.loads(text)
        if meta["format"] != FORMAT:
            raise CheckpointError(f"{path}: checkpoint format {meta['format']}, this dlkit reads {FORMAT}")
        return Checkpoint(
            config=TrainConfig.from_dict(meta["config"], str(path)),
            classes=list(meta["classes"]),
            input_shape=tuple(meta["input_shape"]),
            normalizer=Normalizer.from_state(meta["normalizer"]),
            model_state=_below("model.", tensors),
            optimizer_state=_below("optimizer.", tensors),
            progress=meta["progress"],
            network=tensors[NETWORK].tobytes() if NETWORK in tensors else None,
            source=meta.get("source"),
            data=dict(meta.get("data") or {}),
            features=meta.get("features"),
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(f"{path}: its description is damaged ({error})") from None


def _below(prefix: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n.removeprefix(prefix): a for n, a in tensors.items() if n.startswith(prefix)}
