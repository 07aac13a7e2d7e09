"""Loss, optimiser steps, and what the tape costs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from dlkit import ops
from dlkit.bench.case import Case, Inputs, Work, add
from dlkit.bench.cases.common import forward, label, normal, numbers
from dlkit.nn import Parameter
from dlkit.optim import SGD, Adam
from dlkit.tensor import Tensor

# -- softmax cross-entropy ---------------------------------------------------------------------------------------------


def _logits(rows: int, classes: int, rng: np.random.Generator) -> Inputs:
    return {"logits": normal(rng, rows, classes), "labels": rng.integers(0, classes, rows)}


def _cross_entropy(backward: bool, inputs: Inputs) -> Work:
    logits, labels = Tensor(inputs["logits"], requires_grad=backward), inputs["labels"]

    def run() -> Tensor:
        logits.grad = None
        loss = ops.cross_entropy(logits, labels)
        if backward:
            loss.backward()
        return loss

    return Work(run, lambda loss: numbers(loss, *([logits.grad] if backward else [])))


for _rows, _classes in ((64, 10), (256, 1000)):
    for _direction in ("forward", "forward+backward"):
        add(
            Case(
                f"cross_entropy {label(_rows, _classes)} {_direction}",
                "loss",
                partial(_logits, _rows, _classes),
                partial(_logits, 3, 4),
                partial(_cross_entropy, "backward" in _direction),
                f"cross_entropy {_direction}",
            )
        )

# -- optimisers: the answer is the parameters after the first step ------------------------------------------------------


def _parameters(n: int, rng: np.random.Generator) -> Inputs:
    return {"p": normal(rng, n), "g": normal(rng, n)}


def _step(make: Any, inputs: Inputs) -> Work:
    p = Parameter(inputs["p"])
    p.grad = Tensor(inputs["g"])
    return Work(make([p]).step, lambda _: [p.numpy().copy()])


def _bytes(arrays: int, inputs: Inputs) -> float:
    return float(arrays * inputs["p"].nbytes)


OPTIMIZERS: dict[str, tuple[Any, int]] = {  # numbers read and written for each parameter
    "adam": (lambda p: Adam(p, lr=1e-3), 7),
    "sgd momentum": (lambda p: SGD(p, lr=1e-3, momentum=0.9), 5),
}
for _name, (_make, _moved) in OPTIMIZERS.items():
    for _millions in (1, 10):
        add(
            Case(
                f"{_name} {_millions} M parameters",
                "optim",
                partial(_parameters, _millions * 1_000_000),
                partial(_parameters, 7),
                partial(_step, _make),
                _name,
                bytes=partial(_bytes, _moved),
            )
        )

# -- the tape: ten numbers, so that all the time is overhead --------------------------------------------------------------


def _ten(rng: np.random.Generator) -> Inputs:
    return {"a": normal(rng, 10), "b": normal(rng, 10)}


def _recorded(inputs: Inputs) -> Work:
    a, b = Tensor(inputs["a"], requires_grad=True), Tensor(inputs["b"])
    return Work(lambda: a + b, lambda y: numbers(y))


def _there_and_back(inputs: Inputs) -> Work:
    a, b = Tensor(inputs["a"], requires_grad=True), Tensor(inputs["b"])

    def run() -> Tensor:
        a.grad = None
        y = (a + b).sum()
        y.backward()
        return y

    return Work(run, lambda y: numbers(y, a.grad))


for _name, _ours in (
    ("add, not recorded", forward(lambda inputs, a, b: a + b, ("a", "b"))),
    ("add, recorded", _recorded),
    ("add+sum forward+backward", _there_and_back),
):
    add(Case(f"tape {_name}", "tape", _ten, _ten, _ours, f"tape {_name}"))
