"""The loss of a network with several heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlkit.errors import ConfigError, ShapeError
from dlkit.nn.losses import HuberLoss, L1Loss, MSELoss
from dlkit.nn.module import Module
from dlkit.tensor import Tensor

MISSING = -1  # a label that nobody knows


class MultiTaskLoss(Module):
    """Σ weight · loss over the heads of a network, each the mean over the examples that have a label for it.

    losses : a loss for each head, in a dict by name or a list in the order of the heads.  weights : one number each, by default 1.
    A head's targets are class labels int [N], where -1 is a missing one, or numbers [N, ...], where NaN is (of MSE, L1 and
    Huber whole numbers are numbers, too: -1 is -1). An example without a label gives that head no loss and no gradient; a
    head without any label in a batch counts 0.

    `forward(outputs, targets)` takes both nested as `losses`; `parts(...)` gives the heads' losses before they are weighted.
    """

    def __init__(self, losses: Mapping[str, Module] | Sequence[Module], weights: Any = None):
        named = losses if isinstance(losses, Mapping) else dict(enumerate(losses))
        self.names: list[Any] = list(named)
        self.losses = list(named.values())
        self.weights = dict.fromkeys(self.names, 1.0) if weights is None else _by_name(self.names, weights, "weights")
        if not self.names:
            raise ConfigError("MultiTaskLoss: at least one head is needed")
        for name, weight in self.weights.items():
            if not 0 <= weight < float("inf"):
                raise ConfigError(f"MultiTaskLoss: the weight of {name!r} (={weight}) must be a number of at least 0")
        for name, loss in zip(self.names, self.losses):
            if getattr(loss, "reduction", "mean") != "mean":
                raise ConfigError(f"MultiTaskLoss: the loss of {name!r} must have reduction='mean'")

    def forward(self, outputs: Any, targets: Any) -> Tensor:
        total: Tensor | None = None
        for name, loss in self.parts(outputs, targets).items():
            weighted = loss * self.weights[name]
            total = weighted if total is None else total + weighted
        assert total is not None
        return total

    def parts(self, outputs: Any, targets: Any) -> dict[Any, Tensor]:
        """The loss of each head, by name (or number)."""
        outputs, targets = _by_name(self.names, outputs, "outputs"), _by_name(self.names, targets, "targets")
        return {
            name: _masked(loss, outputs[name], _host(targets[name]), name)
            for name, loss in zip(self.names, self.losses)
        }


def _host(target: Any) -> np.ndarray:
    return target.numpy() if isinstance(target, Tensor) else np.asarray(target)


def known_labels(target: np.ndarray, labels: bool = True) -> np.ndarray:
    """bool [N]: which examples have a label.  labels : whether whole numbers are labels, -1 none, or any numbers."""
    if target.dtype.kind == "f":
        unknown = np.isnan(target)
    else:
        unknown = target == MISSING if labels else np.zeros(target.shape, bool)
    return ~unknown.reshape(len(target), -1).any(axis=1)


def _masked(loss: Module, output: Tensor, target: np.ndarray, name: Any) -> Tensor:
    if len(output) != len(target):
        raise ShapeError(f"head {name!r} has {len(output)} outputs and {len(target)} targets")
    known = known_labels(target, labels=not isinstance(loss, (MSELoss, L1Loss, HuberLoss)))
    if known.all() and len(known):
        return loss(output, target)
    (rows,) = np.nonzero(known)
    if not len(rows):
        return output[:0].sum()  # of nothing: 0, whatever the output is, and a gradient of 0
    return loss(output[rows], target[rows])


def _by_name(names: list, values: Any, what: str) -> dict:
    given = dict(values) if isinstance(values, Mapping) else dict(enumerate(values))
    if set(given) != set(names):
        raise ConfigError(
            f"MultiTaskLoss: {what} for {', '.join(map(str, given)) or 'nothing'}; the heads are {', '.join(map(str, names))}"
        )
    return given
