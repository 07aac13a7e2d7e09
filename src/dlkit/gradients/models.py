"""Every network of the zoo: the cross-entropy of a small batch as a function of the images and of every parameter.

Training mode, so batch norm uses the batch's statistics and dropout a fixed mask. A parameter is moved as a whole along a
random direction and at a few single elements: what an op does to each element is checked with the op. In a network with
many parameters some are moved so, evenly spread, and all of them together along one more direction.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dlkit import nn, random
from dlkit.backends import available_backends, use_backend
from dlkit.gradients.check import check_problem
from dlkit.gradients.layers import stirred
from dlkit.gradients.modules import ModuleCall
from dlkit.gradients.numeric import Arrays, Settings
from dlkit.gradients.report import GradientReport
from dlkit.models import MODELS, build_model
from dlkit.nn.summary import run_on_shapes
from dlkit.symbol import leaves
from dlkit.tensor import Tensor

PROBES = 400  # of a whole network, shared among its parameters
MANY, SPREAD = 30, 12  # in a network with more than MANY parameters SPREAD of them are moved on their own


class WithLoss(nn.Module):
    """A network and its cross-entropy on fixed labels, int [N] or [N, H, W]; of all heads where it has several."""

    def __init__(self, model: nn.Module, labels: np.ndarray):
        self.model = model
        self.labels = labels

    def forward(self, x: Tensor) -> Tensor:
        first, *more = leaves(self.model(x))
        loss = self._cross_entropy(first)
        for scores in more:
            loss = loss + self._cross_entropy(scores)
        return loss

    def _cross_entropy(self, scores: Tensor) -> Tensor:
        return nn.CrossEntropyLoss()(scores.reshape(-1, scores.shape[-1]), self.labels.reshape(-1))


class Together(ModuleCall):
    """A call with one input more: how far all parameters are moved at once, along one random direction.

    On their own only `SPREAD` parameters are inputs, evenly spread over the network.
    """

    EVERY = "every parameter"

    def __init__(self, module: nn.Module, inputs: Sequence[np.ndarray], seed: int = 0):
        super().__init__(module, inputs, seed)
        rng = np.random.default_rng(seed)
        values = super().inputs()
        self.kept = {name: values[name] for name in self.parameters}
        size = np.sqrt(sum(x.size for x in self.kept.values()))
        self.direction = {name: rng.standard_normal(x.shape) / size for name, x in self.kept.items()}
        names = list(self.kept)
        self.alone = [names[i] for i in np.linspace(0, len(names) - 1, min(SPREAD, len(names))).astype(int)]

    def inputs(self) -> Arrays:
        values = super().inputs()
        return {**{name: values[name] for name in (*self.checked, *self.alone)}, self.EVERY: np.zeros(())}

    def _all(self, inputs: Arrays) -> Arrays:
        by = inputs[self.EVERY]
        return {**inputs, **{n: inputs.get(n, x) + by * self.direction[n] for n, x in self.kept.items()}}

    def forward(self, inputs: Arrays) -> np.ndarray:
        return super().forward(self._all(inputs))

    def backward(self, inputs: Arrays, dy: np.ndarray) -> dict[str, Any]:
        found = super().backward(self._all(inputs), dy)
        along = sum(float((found[n] * direction).sum()) for n, direction in self.direction.items())
        return {**{n: found[n] for n in inputs if n != self.EVERY}, self.EVERY: np.array(along)}


def check_model(
    name: str,
    settings: Settings | None = None,
    backends: Sequence[str] | None = None,
    *,
    input_shape: tuple[int, ...] | None = None,
    classes: int = 3,
    batch: int = 3,
) -> GradientReport:
    """A network on a small input, in float64: the gradient of every parameter and of the input.

    name : of one in MODELS, whose shrunken copy is taken, or a user's `file.py:build`.  input_shape : of one example.
    """
    settings = settings or Settings()
    shrunk, smallest = (MODELS[name].shrunk, MODELS[name].smallest) if name in MODELS else ({}, 12)
    input_shape = input_shape or (smallest, smallest, 2)
    began = time.perf_counter()
    backends = list(available_backends() if backends is None else backends)
    report = GradientReport(name, "model", backends, ["float64"], 1, tolerance=settings.tolerance)
    rng = np.random.default_rng((settings.seed, 2))
    with random.using(np.random.default_rng((settings.seed, 3))):
        model = build_model(name, input_shape, classes, **shrunk)
    x = rng.standard_normal((batch, *input_shape))
    labelled = next(leaves(run_on_shapes(model, input_shape))).shape[1:-1]  # nothing, or the pixels
    labels = rng.integers(0, classes, (batch, *labelled))
    whole = stirred(WithLoss(model, labels).train(), rng)
    large = len(whole.parameters()) > MANY
    call = (Together if large else ModuleCall)(whole, (x,), settings.seed)
    few = 2 if large else max(1, min(8, PROBES // (2 * len(call.parameters)) - 1))
    settings = replace(settings, elements=few, directions=1)
    label = f"{batch}x{'x'.join(map(str, input_shape))}"
    for backend in backends:
        if not report.failure and report.worst.ratio <= 1:
            with use_backend(backend):
                check_problem(call.problem(label), report, rng, settings, backend)
    report.conclude()
    report.seconds = time.perf_counter() - began
    return report
