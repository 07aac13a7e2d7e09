"""Whole training steps: forward, loss, backward, optimiser. Each side runs in a process of its own, from the same
weights, and reads the loss as a Python number at the end of each step, as a training loop does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dlkit import nn, random
from dlkit.bench.case import Case, Inputs, Work, add
from dlkit.bench.step import step_answer, weights_of
from dlkit.models import Hourglass, build_model
from dlkit.nn.summary import summarize
from dlkit.optim import SGD, Adam
from dlkit.tensor import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """build : options -> the network; target : (input's shape, rng) -> labels or an array; loss and optimizer by name."""

    build: Callable[..., nn.Module]
    target: Callable[[Shape, np.random.Generator], np.ndarray]
    loss: type = nn.CrossEntropyLoss
    optimizer: str = "adam"
    lr: float = 1e-3


def _labels(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 10, shape[0])


def _picture(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    return rng.random((*shape[:3], 3), dtype=np.float32)


def _numbers(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((shape[0], 1), dtype=np.float32)


NETWORKS = {
    "mlp": Network(lambda shape: build_model("mlp", shape[1:], 10, hidden=(256, 128)), _labels),
    "lenet5": Network(lambda shape: build_model("lenet5", shape[1:], 10), _labels),
    "resnet20": Network(lambda shape: build_model("resnet20", shape[1:], 10), _labels),
    "resnet18": Network(lambda shape, width: build_model("resnet18", shape[1:], 10, width=width), _labels),
    "resnet50": Network(lambda shape, width: build_model("resnet50", shape[1:], 1000, width=width), _labels),
    "mobilenet_v2": Network(
        lambda shape, width: build_model("mobilenet_v2", shape[1:], 10, width=width, dropout=0.0), _labels
    ),
    "vgg11": Network(lambda shape, width: build_model("vgg11", shape[1:], 10, width=width, dropout=0.0), _labels),
    "hourglass": Network(
        lambda shape, channels: Hourglass(channels, input_channels=shape[3]), _picture, nn.MSELoss, lr=1e-2
    ),
    "tanh": Network(
        lambda shape: nn.Sequential(nn.Linear(shape[1], 8, activation="tanh"), nn.Linear(8, 1)),
        _numbers,
        nn.MSELoss,
        "sgd",
        0.1,
    ),
}


def _inputs(name: str, shape: Shape, options: dict[str, Any], rng: np.random.Generator) -> Inputs:
    """The batch, the settings, and the weights by name: "weights.<name>" in the order of the network's parameters."""
    network = NETWORKS[name]
    with random.using(rng):
        model = network.build(shape, **options)
    x = rng.standard_normal(shape, dtype=np.float32)
    weights = {f"weights.{n}": np.array(p.numpy()) for n, p in model.named_parameters()}
    settings = {"network": name, "options": options, "optimizer": network.optimizer, "lr": network.lr}
    return {"x": x, "target": network.target(shape, rng), **settings, **weights}


def _ours(inputs: Inputs) -> Work:
    x, target = Tensor(inputs["x"]), inputs["target"]
    network = NETWORKS[inputs["network"]]
    model, loss = network.build(x.shape, **inputs["options"]).astype(x.dtype), network.loss()
    for p, values in zip(model.parameters(), weights_of(inputs)):
        p.data = Tensor(values.copy()).data
    make = {"adam": Adam, "sgd": SGD}[inputs["optimizer"]]
    optimizer = make(model.parameters(), lr=inputs["lr"])

    def run() -> float:
        value = loss(model(x), target)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.item()

    def answer(value: float) -> list[np.ndarray]:
        parameters = model.parameters()
        gradients = [p.grad.numpy() for p in parameters if p.grad is not None]
        return step_answer(value, inputs, gradients, [p.numpy() for p in parameters])

    return Work(run, answer)


def _flops(inputs: Inputs) -> float:
    """Three times the forward pass: forward, input gradients and weight gradients."""
    shape = inputs["x"].shape
    model = NETWORKS[inputs["network"]].build(shape, **inputs["options"])
    return 3.0 * shape[0] * summarize(model, shape[1:]).flops


def _add(title: str, name: str, shape: Shape, tiny: Shape, **options: Any) -> None:
    small = {key: min(value, 4) for key, value in options.items()}
    add(
        Case(
            f"step {title}",
            "step",
            partial(_inputs, name, shape, options),
            partial(_inputs, name, tiny, small),
            _ours,
            name,
            _flops,
            isolated=True,
            tolerance=0.1,  # of the largest gradient: batch norm's backward and flipped ReLUs amplify the rounding of float32
        )
    )


_add("tanh 2-8-1, 4 samples", "tanh", (4, 2), (4, 2))
_add("mlp 784-256-128-10, batch 64", "mlp", (64, 28, 28, 1), (3, 3, 3, 1))
_add("lenet5, batch 64", "lenet5", (64, 28, 28, 1), (2, 14, 14, 1))
_add("resnet20, batch 64", "resnet20", (64, 32, 32, 3), (4, 8, 8, 3))
_add("resnet18, batch 64", "resnet18", (64, 32, 32, 3), (8, 16, 16, 3), width=64)
_add("mobilenet_v2, batch 64", "mobilenet_v2", (64, 32, 32, 3), (8, 16, 16, 3), width=32)
_add("vgg11, batch 64", "vgg11", (64, 32, 32, 3), (8, 16, 16, 3), width=64)
_add("resnet50 224x224, batch 8", "resnet50", (8, 224, 224, 3), (4, 64, 64, 3), width=64)
for _channels in (32, 64, 128):
    _add(f"hourglass {_channels} channels, 256x256", "hourglass", (1, 256, 256, 32), (1, 67, 70, 3), channels=_channels)
