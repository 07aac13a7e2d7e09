"""Every network of the zoo: the cross-entropy of a small batch as a function of the images and of every parameter.

Training mode, so batch norm uses the batch's statistics and dropout a fixed mask. A parameter is moved as a whole along a
random direction and at a few single elements: what an op does to each element is checked with the op.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dlkit import nn, random
from dlkit.backends import available_backends, use_backend
from dlkit.gradients.check import check_problem
from dlkit.gradients.layers import stirred
from dlkit.gradients.modules import ModuleCall
from dlkit.gradients.numeric import Settings
from dlkit.gradients.report import GradientReport
from dlkit.models import MODELS, build_model
from dlkit.tensor import Tensor

PROBES = 400  # of a whole network, shared among its parameters


class WithLoss(nn.Module):
    """A network and its cross-entropy on fixed labels."""

    def __init__(self, model: nn.Module, labels: np.ndarray):
        self.model = model
        self.labels = labels

    def forward(self, x: Tensor) -> Tensor:
        return nn.CrossEntropyLoss()(self.model(x), self.labels)


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
    x, labels = rng.standard_normal((batch, *input_shape)), rng.integers(0, classes, batch)
    call = ModuleCall(stirred(WithLoss(model, labels).train(), rng), (x,), settings.seed)
    few = max(1, min(8, PROBES // (2 * len(call.parameters)) - 1))
    settings = replace(settings, elements=few, directions=1)
    label = f"{batch}x{'x'.join(map(str, input_shape))}"
    for backend in backends:
        if not report.failure and report.worst.ratio <= 1:
            with use_backend(backend):
                check_problem(call.problem(label), report, rng, settings, backend)
    report.conclude()
    report.seconds = time.perf_counter() - began
    return report
