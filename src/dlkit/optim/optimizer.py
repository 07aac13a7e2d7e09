"""Optimisers: each holds its state and calls one kernel per step, in place, for all parameters of a device and dtype.

Weight decay acts on weights (two axes or more), not on biases, γ or β, as the course's L2 regularisation does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dlkit.backends import kernels
from dlkit.errors import CheckpointError, ConfigError
from dlkit.nn.module import Parameter
from dlkit.registry import Registry
from dlkit.tensor import Tensor

Parameters = list[Parameter] | list[dict[str, Any]]

OPTIMIZERS: Registry[Callable[..., Optimizer]] = Registry("optimizer")


class Optimizer:
    """Base: `step()` once the gradients are there. Parameters without a gradient are left as they are.

    parameters : list of Parameter, or groups of them with rates of their own, [{"params": [...], "lr": 1e-4}, ...]; a group
        without "lr" has the common one.
    lr : learning rate, may be set anew before every step; the groups' rates keep their ratios to it.
    slots : names of the per-parameter state arrays, zero at first.
    counts_steps : whether a parameter's step depends on how many it has had.
    """

    slots: tuple[str, ...] = ()
    counts_steps = False

    def __init__(self, parameters: Parameters, lr: float, weight_decay: float = 0.0):
        if not (np.isfinite(lr) and lr >= 0):
            raise ConfigError(f"lr (={lr}) must be a finite number, not negative")
        scales = _scales(parameters, lr)  # each parameter once, whatever kind of collection was given
        if not scales:
            raise ConfigError("an optimizer needs at least one parameter")
        if weight_decay < 0:
            raise ConfigError(f"weight_decay (={weight_decay}) must not be negative")
        self.parameters = [p for p, _ in scales]
        self.scales = [scale for _, scale in scales]  # of the learning rate
        self.lr, self.weight_decay = lr, weight_decay
        self.steps = 0
        self.idle = [0] * len(self.parameters)  # of the steps, how many found a parameter without a gradient
        self.state: list[dict[str, Any]] = [{} for _ in self.parameters]

    def step(self) -> None:
        self.steps += 1
        groups: dict[tuple, list[tuple[Parameter, dict[str, Any]]]] = {}  # one kernel call for each
        for i, (p, state, scale) in enumerate(zip(self.parameters, self.state, self.scales)):
            if p.grad is None:
                self.idle[i] += self.counts_steps
            else:
                groups.setdefault((p.device, p.dtype, scale, self.idle[i]), []).append((p, state))
        for (device, dtype, scale, idle), group in groups.items():
            k = kernels(device)
            for p, state in group:
                for slot in self.slots:
                    if slot not in state:
                        state[slot] = k.full(p.shape, 0.0, dtype)
            ps, gs = [p.data for p, _ in group], [p.grad.data for p, _ in group if p.grad is not None]
            slots = {slot: [state[slot] for _, state in group] for slot in self.slots}
            decays = [self.weight_decay if p.ndim > 1 else 0.0 for p, _ in group]
            self.update(k, ps, gs, slots, self.lr * scale, decays, self.steps - idle)

    def update(
        self, k: Any, ps: list, gs: list, state: dict[str, list], lr: float, weight_decays: list[float], t: int
    ) -> None:
        """Step t = 1, 2, ... of the parameters ps with gradients gs at one rate; `state` holds a list for each slot."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None

    def state_dict(self) -> dict[str, np.ndarray]:
        """Host copies: "steps", "<parameter index>.<slot>", and "<index>.idle" for one that was left out of some."""
        out: dict[str, np.ndarray] = {"steps": np.array(self.steps)}
        for i, (p, state) in enumerate(zip(self.parameters, self.state)):
            out.update({f"{i}.{slot}": np.array(kernels(p.device).to_host(a)) for slot, a in state.items()})
            if self.idle[i]:
                out[f"{i}.idle"] = np.array(self.idle[i])
        return out

    def load_state_dict(self, saved: dict[str, np.ndarray]) -> None:
        """Raises : CheckpointError if the state is another optimiser's or another network's."""
        state: list[dict[str, Any]] = [{} for _ in self.parameters]
        idle: dict[int, int] = {}
        for name, value in saved.items():
            if name == "steps":
                continue
            index, _, slot = name.partition(".")
            if slot not in (*self.slots, "idle") or not index.isdigit() or int(index) >= len(self.parameters):
                raise CheckpointError(f"optimizer state {name!r} does not belong to {type(self).__name__}")
            if slot == "idle":
                idle[int(index)] = int(value)
                continue
            p = self.parameters[int(index)]
            if value.shape != p.shape:
                raise CheckpointError(f"optimizer state {name!r} has shape {value.shape}, expected {p.shape}")
            state[int(index)][slot] = kernels(p.device).from_host(np.array(value, dtype=p.dtype))
        if "steps" not in saved:
            raise CheckpointError("the optimizer state does not say how many steps were made")
        self.steps, self.state = int(saved["steps"]), state  # only now that all of it fits
        unseen = self.steps if self.counts_steps else 0  # for a parameter without slots: it never had a gradient
        self.idle = [idle.get(i, 0 if known else unseen) for i, known in enumerate(state)]


def _scales(parameters: Parameters, lr: float) -> list[tuple[Parameter, float]]:
    """(parameter, its rate / lr), each parameter once.  Raises : ConfigError for a wrong rate or a parameter in two groups."""
    out: dict[int, tuple[Parameter, float]] = {}
    for item in parameters:
        group: dict[str, Any] = item if isinstance(item, dict) else {"params": [item]}
        rate = group.get("lr", lr)
        if not (np.isfinite(rate) and rate >= 0) or (rate != lr and not lr):
            raise ConfigError(
                f"lr (={rate}) of a group must be a finite number, not negative, and the common lr (={lr}) not 0"
            )
        for p in group["params"]:
            scale = 1.0 if rate == lr else rate / lr
            if out.setdefault(id(p), (p, scale))[1] != scale:
                raise ConfigError("a parameter is in two groups with different rates; put it into one")
    return list(out.values())


def check_share(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ConfigError(f"{name} (={value}) must be at least 0 and below 1")
    return value


class SGD(Optimizer):
    """p -= lr g; with momentum v = momentum v + g, p -= lr v (Polyak 1964); nesterov: p -= lr (g + momentum v)."""

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 0.1,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, lr, weight_decay)
        self.momentum, self.nesterov = check_share("momentum", momentum), nesterov
        self.slots = ("velocity",) if momentum else ()

    def update(self, k, ps, gs, state, lr, weight_decays, t):
        k.sgd_step(ps, gs, state.get("velocity"), lr, self.momentum, self.nesterov, weight_decays)


class RMSprop(Optimizer):
    """s = rho s + (1-rho) g², p -= lr g / (√s + eps) (Tieleman & Hinton 2012, lecture 6e)."""

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        rho: float = 0.9,
        eps: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, lr, weight_decay)
        self.rho, self.eps, self.momentum = check_share("rho", rho), eps, check_share("momentum", momentum)
        self.slots = ("square", "velocity") if momentum else ("square",)

    def update(self, k, ps, gs, state, lr, weight_decays, t):
        k.rmsprop_step(
            ps, gs, state["square"], state.get("velocity"), lr, self.rho, self.eps, self.momentum, weight_decays
        )


class Adam(Optimizer):
    """Kingma & Ba 2015, algorithm 1; weight decay is added to the gradient (L2)."""

    slots = ("m", "v")
    counts_steps = True
    decoupled = False

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, lr, weight_decay)
        self.betas, self.eps = (check_share("beta1", betas[0]), check_share("beta2", betas[1])), eps

    def update(self, k, ps, gs, state, lr, weight_decays, t):
        k.adam_step(ps, gs, state["m"], state["v"], lr, *self.betas, self.eps, weight_decays, self.decoupled, t)


class AdamW(Adam):
    """Adam with decoupled weight decay: p -= lr weight_decay p (Loshchilov & Hutter 2019)."""

    decoupled = True


def _momentum(parameters: Parameters, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0) -> SGD:
    return SGD(parameters, lr, momentum, False, weight_decay)


def _nesterov(parameters: Parameters, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0) -> SGD:
    return SGD(parameters, lr, momentum, True, weight_decay)


def _sgd(parameters: Parameters, lr: float = 0.1, weight_decay: float = 0.0) -> SGD:
    return SGD(parameters, lr, 0.0, False, weight_decay)


for _name, _make in (
    ("sgd", _sgd),
    ("momentum", _momentum),
    ("nesterov", _nesterov),
    ("rmsprop", RMSprop),
    ("adam", Adam),
    ("adamw", AdamW),
):
    OPTIMIZERS.add(_name, _make)


def clip_gradients(parameters: list[Parameter], max_norm: float) -> float:
    """Scales all gradients together so that their global L2 norm is at most max_norm; returns the norm before.

    Source : Pascanu et al. 2013, On the difficulty of training recurrent neural networks, algorithm 1.
    """
    if not max_norm > 0:
        raise ConfigError(f"max_norm (={max_norm}) must be positive")
    with_grad = [(p, p.grad) for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(kernels(p.device).sum_of_squares(g.data) for p, g in with_grad))
    if norm > max_norm:
        for p, g in with_grad:
            p.grad = Tensor.wrap(kernels(p.device).multiply(g.data, max_norm / norm), p.device)
    return norm
