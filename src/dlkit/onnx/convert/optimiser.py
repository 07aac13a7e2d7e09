"""One step of an optimiser as an operator (domain ai.onnx.preview.training): new weights and new state.

inputs : learning rate, step count, then all X, all gradients, all of each kind of state; outputs in the same groups.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dlkit.errors import OnnxError
from dlkit.onnx.convert.registry import TRAINING, converter
from dlkit.onnx.values import host, number, value


def _groups(tensors: tuple, kinds: int) -> list[list[np.ndarray]]:
    if not tensors or len(tensors) % kinds:
        raise OnnxError(f"{len(tensors)} tensors do not divide into {kinds} groups")
    n = len(tensors) // kinds
    arrays = [host(t) for t in tensors]
    return [arrays[i * n : (i + 1) * n] for i in range(kinds)]


def _outputs(*groups: list) -> tuple:
    return tuple(value(a) for group in groups for a in group)


@converter("Adagrad", domain=TRAINING)
def adagrad(
    r: Any, t: Any, *tensors: Any, decay_factor: float = 0.0, epsilon: float = 0.0, norm_coefficient: float = 0.0
) -> tuple:
    """h += g², x -= r g / (√h + ε), g with weight decay (Duchi et al. 2011)."""
    xs, gs, hs = _groups(tensors, 3)
    rate = number(r, "learning rate") / (1 + number(t, "step") * decay_factor)
    gs = [norm_coefficient * x + g for x, g in zip(xs, gs)]
    hs = [h + g * g for h, g in zip(hs, gs)]
    return _outputs([(x - rate * g / (np.sqrt(h) + epsilon)).astype(x.dtype) for x, g, h in zip(xs, gs, hs)], hs)


@converter("Adam", domain=TRAINING)
def adam(
    r: Any,
    t: Any,
    *tensors: Any,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 0.0,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> tuple:
    """Kingma & Ba 2015, with the correction of the first steps inside the rate, and weight decay before and after."""
    xs, gs, vs, hs = _groups(tensors, 4)
    rate, step = number(r, "learning rate"), number(t, "step")
    if step > 0:
        rate *= math.sqrt(1 - beta**step) / (1 - alpha**step)
    gs = [norm_coefficient * x + g for x, g in zip(xs, gs)]
    vs = [(alpha * v + (1 - alpha) * g).astype(v.dtype) for v, g in zip(vs, gs)]
    hs = [(beta * h + (1 - beta) * g * g).astype(h.dtype) for h, g in zip(hs, gs)]
    new = [x - rate * v / (np.sqrt(h) + epsilon) for x, v, h in zip(xs, vs, hs)]
    return _outputs([((1 - norm_coefficient_post) * y).astype(x.dtype) for x, y in zip(xs, new)], vs, hs)


@converter("Momentum", domain=TRAINING)
def momentum(r: Any, t: Any, *tensors: Any, alpha: float, beta: float, mode: str, norm_coefficient: float) -> tuple:
    """v = alpha v + beta' g, x -= r v, or Nesterov's x -= r (g + alpha v); beta' is 1 in the first step."""
    xs, gs, vs = _groups(tensors, 3)
    if mode not in ("standard", "nesterov"):
        raise OnnxError(f"mode {mode!r} must be standard or nesterov")
    rate = number(r, "learning rate")
    share = beta if number(t, "step") > 0 else 1.0
    gs = [norm_coefficient * x + g for x, g in zip(xs, gs)]
    vs = [(alpha * v + share * g).astype(v.dtype) for v, g in zip(vs, gs)]
    steps = [g + alpha * v for g, v in zip(gs, vs)] if mode == "nesterov" else vs
    return _outputs([(x - rate * s).astype(x.dtype) for x, s in zip(xs, steps)], vs)
