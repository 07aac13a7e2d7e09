"""The loop under the estimators: a network, its optimiser and arrays in memory; no files, no run folder."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dlkit import nn, random
from dlkit.errors import DivergedError
from dlkit.optim import Optimizer
from dlkit.tensor import Tensor

_WEIGHTS, _DROPOUT = 4, 5  # branches of the tree of random numbers, those of dlkit.train
_PREDICT = 1024  # examples at once
_default_generator = threading.Lock()  # it belongs to the process, and scikit-learn may fit in several threads

Loss = Callable[[Tensor, np.ndarray], Tensor]  # output [B, K] and targets -> one number for each example


@dataclass
class Learner:
    """`seed` and `epochs` (how many are done) determine the order of the examples and what dropout drops.

    lr : the learning rate asked for; the optimizer's is that of the last step.
    """

    network: nn.Module
    optimizer: Optimizer
    seed: int
    lr: float
    epochs: int = 0

    def epoch(
        self,
        x: np.ndarray,
        y: np.ndarray,
        weight: np.ndarray | None,
        loss: Loss,
        batch_size: int,
        rate: Callable[[int], float],
    ) -> float:
        """One pass over x, in batches drawn anew; returns the mean loss.

        weight : of each example in the loss, 1 on average.  rate : learning rate of the pass's i-th step.
        Raises : DivergedError if the loss becomes NaN or infinite.
        """
        order = random.derive(self.seed, random.ORDER, self.epochs).permutation(len(x))
        total = 0.0
        self.network.train()
        for i in range(0, len(x), batch_size):
            chosen = order[i : i + batch_size]
            self.optimizer.lr = rate(i // batch_size)
            losses = loss(self._output(x[chosen], i), y[chosen])
            if weight is not None:
                losses = losses * Tensor(weight[chosen])
            mean = losses.sum() * (1 / len(chosen))
            if not np.isfinite(value := mean.item()):
                raise DivergedError(
                    f"the loss became {value} in epoch {self.epochs + 1}; try a lower lr (it was {self.optimizer.lr:.3g})"
                )
            total += value * len(chosen)
            self.optimizer.zero_grad()
            mean.backward()
            self.optimizer.step()
        self.epochs += 1
        return total / len(x)

    def _output(self, x: np.ndarray, at: int) -> Tensor:
        if not any(isinstance(m, nn.Dropout) or getattr(m, "draws", False) for m in self.network.modules()):
            return self.network(Tensor(x))
        with _default_generator, random.using(random.derive(self.seed, _DROPOUT, self.epochs, at)):
            return self.network(Tensor(x))


def drawn(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """The network that `build` makes, its weights drawn from `seed`."""
    with _default_generator, random.using(random.derive(seed, _WEIGHTS)):
        return build()


def output_of(network: nn.Module, x: np.ndarray) -> np.ndarray:
    """The network's output, [N, K], computed in pieces."""
    with nn.inference(network):
        return np.concatenate([network(Tensor(x[i : i + _PREDICT])).numpy() for i in range(0, len(x), _PREDICT)])
