"""What both sides of a training step agree on: the order of the weights, and the answer of the first step."""

from __future__ import annotations

import numpy as np

from dlkit.bench.case import Inputs


def weights_of(inputs: Inputs) -> list[np.ndarray]:
    return [x for name, x in inputs.items() if name.startswith("weights.")]


def step_answer(loss: float, inputs: Inputs, gradients: list[np.ndarray], after: list[np.ndarray]) -> list[np.ndarray]:
    """After the first step: the loss, all gradients in one row, and how far the parameters moved (mean distance)."""
    moved = [np.abs(a - before).ravel() for a, before in zip(after, weights_of(inputs))]
    distance = np.concatenate(moved).mean(dtype=np.float64)
    return [np.array(loss), np.concatenate([g.ravel() for g in gradients]), np.array(distance)]
