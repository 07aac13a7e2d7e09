"""Running a network over a data set without training it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlkit import ops
from dlkit.data.loader import Loader
from dlkit.data.normalize import Normalizer
from dlkit.data.sources import Source
from dlkit.nn import Module, inference
from dlkit.tensor import Tensor


@dataclass
class Evaluation:
    """loss : mean cross-entropy; probabilities : float32 [N, K]; labels, predictions : int64 [N]."""

    loss: float
    accuracy: float
    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def predictions(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1)


def probabilities_of(model: Module, x: np.ndarray, device: str = "cpu") -> np.ndarray:
    """softmax of the network's output for a normalised batch, float32 [N, K]; call inside `inference(model)`."""
    return ops.softmax(model(Tensor(x, device=device)), axis=-1).numpy()


def evaluate(
    model: Module, source: Source, normalizer: Normalizer, batch_size: int = 256, device: str = "cpu"
) -> Evaluation:
    """Loss and accuracy of `model` on every example of `source`, in their order."""
    loader = Loader(source, batch_size, normalizer=normalizer, shuffle=False)
    out = np.empty((len(source), 0), np.float32)
    at = 0
    with inference(model):
        for x, _ in loader.epoch(0):
            p = probabilities_of(model, x, device)
            if not at:
                out = np.empty((len(source), p.shape[1]), p.dtype)
            out[at : at + len(p)] = p
            at += len(p)
    labels = np.asarray(source.labels)
    of_label = np.maximum(out[np.arange(len(out)), labels].astype(np.float64), np.finfo(np.float32).tiny)
    return Evaluation(float(-np.log(of_label).mean()), float((out.argmax(axis=1) == labels).mean()), out, labels)
