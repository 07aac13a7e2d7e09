"""Muon: the step of a weight matrix is its momentum made orthogonal, so that every direction is learnt at one rate."""

# mypy: allow-untyped-defs

from __future__ import annotations

import math
from typing import Any

from dlkit.backends import kernels
from dlkit.errors import ConfigError
from dlkit.optim.optimizer import OPTIMIZERS, Optimizer, Parameters, check_share

# a s + b s³ + c s⁵ takes any singular value s of 0.01..1 to 0.7..1.2 in five rounds
QUINTIC = (3.4445, -4.7750, 2.0315)
ROUNDS = 5
PLAIN = 5.0  # the rate of all other parameters, in units of lr


class Muon(Optimizer):
    """v = momentum v + g; W -= lr ‖W‖ O / √r, O the matrix nearest to g + momentum v with orthogonal rows or columns,
    r its rank; then W gets back the norm it had: each step turns W by about lr radians, whatever the size of g.

    For all weights (two axes or more; the last is a matrix's columns, all others its rows) but the last, which is the output
    layer's; that and all biases, γ and β take Nesterov's step at 5 lr, the output layer with `weight_decay`.
    Source : Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks, kellerjordan.github.io/posts/muon;
    the author's CIFAR-10 record also holds the norm, at √r; here it stays what it was.
    Raises : ConfigError if a weight is all zeros: it has no norm to keep.
    """

    slots = ("velocity",)

    def __init__(
        self, parameters: Parameters, lr: float = 0.02, momentum: float = 0.9, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.momentum = check_share("momentum", momentum)
        weights = [p for p in self.parameters if p.ndim > 1]
        self.output = weights[-1] if weights else None
        for p in weights[:-1]:
            if kernels(p.device).sum_of_squares(p.data) == 0:
                raise ConfigError(
                    f"muon keeps the norm of every weight, and one of shape {p.shape} is all zeros; draw it or take adam"
                )

    def update(self, k, ps, gs, state, lr, weight_decays, t):
        plain = []
        for i, (p, g, v) in enumerate(zip(ps, gs, state["velocity"])):
            if p.ndim < 2 or (self.output is not None and p is self.output.data):
                plain.append(i)
            else:
                turn(k, p, g, v, lr, self.momentum)
        if plain:
            chosen = ([all_of[i] for i in plain] for all_of in (ps, gs, state["velocity"]))
            decays = [weight_decays[i] for i in plain]
            k.sgd_step(*chosen, PLAIN * lr, self.momentum, True, decays)


def turn(k: Any, w: Any, g: Any, v: Any, lr: float, momentum: float) -> None:
    """One step of a weight w and its velocity v, in place."""
    k.scale_into(v, momentum)
    k.add_into(v, g)
    rows, columns = math.prod(w.shape[:-1]), w.shape[-1]
    o = orthogonal(k, k.reshape(k.add(g, k.multiply(v, momentum)), (rows, columns)))
    norm = math.sqrt(k.sum_of_squares(w))
    k.add_into(w, k.reshape(k.multiply(o, -lr * norm / math.sqrt(min(rows, columns))), w.shape))
    k.scale_into(w, norm / math.sqrt(k.sum_of_squares(w)))


def orthogonal(k: Any, m: Any) -> Any:
    """Nearly U Vᵀ of m = U S Vᵀ: all singular values brought near 1, without finding them (Newton-Schulz iteration)."""
    tall = m.shape[0] > m.shape[1]
    x = k.multiply(m, 1 / (math.sqrt(k.sum_of_squares(m)) + 1e-7))
    a, b, c = QUINTIC
    for _ in range(ROUNDS):
        gram = k.matmul(x, x, tall, not tall)  # xᵀx or x xᵀ, the smaller one
        factor = k.add(k.multiply(gram, b), k.multiply(k.matmul(gram, gram), c))
        x = k.add(k.multiply(x, a), k.matmul(x, factor) if tall else k.matmul(factor, x))
    return x


OPTIMIZERS.add("muon", Muon)
