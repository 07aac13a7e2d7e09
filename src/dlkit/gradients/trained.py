"""A trained network on its own examples, layer by layer: are its gradients right, and do they reach the first layer?

The sizes are those of a training step: float32, training mode, one batch. For each layer dL/dy is the gradient that arrives
at its output, as a norm per example: where it shrinks from layer to layer on the way back gradients vanish, where it
grows they explode (Hochreiter 1991; Glorot & Bengio 2010). The check is that of `check_problem` in float64 on a few examples:
every parameter as a whole along a random direction, and single elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dlkit import random
from dlkit.data import Source
from dlkit.data.normalize import Normalizer
from dlkit.errors import DataError
from dlkit.gradients.check import check_problem
from dlkit.gradients.compare import Comparison
from dlkit.gradients.models import PROBES, WithLoss
from dlkit.gradients.modules import ModuleCall
from dlkit.gradients.numeric import Settings
from dlkit.gradients.report import GradientReport
from dlkit.nn import Module, observe_modules
from dlkit.tensor import Tensor
from dlkit.train.run import RunFolder
from dlkit.train.splits import load_data, split

SIZES, CHECKED = 64, 8  # examples for the sizes, and for the check
RANGE = 1e3  # between the gradients at the last layer and at any other: beyond it they vanish or explode
DEAD = 0.9  # share of outputs that are exactly 0


@dataclass
class LayerGradients:
    """signal : ‖dL/dy‖ per example at the layer's output; weight, gradient : root mean squares over its parameters (None
    without any); zeros : share of its outputs that are 0; error : worst relative error of its parameters' gradients."""

    layer: str
    kind: str
    signal: float
    zeros: float
    parameters: int = 0
    weight: float | None = None
    gradient: float | None = None
    error: float | None = None

    @property
    def ratio(self) -> float | None:
        """The gradient's size relative to the weights': what a step of learning rate 1 would change."""
        return None if self.gradient is None or not self.weight else self.gradient / self.weight


@dataclass
class TrainedReport:
    """layers in the order of the forward pass; findings : what a practitioner would remark, in sentences."""

    run: str
    data: str
    examples: int
    loss: float
    layers: list[LayerGradients]
    check: GradientReport
    findings: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return self.check.passed

    def to_dict(self) -> dict[str, Any]:
        layers = [{**asdict(layer), "ratio": layer.ratio} for layer in self.layers]
        return {**asdict(self), "check": self.check.to_dict(), "layers": layers, "passed": self.passed}


def check_run(run_path: str | Path, settings: Settings | None = None) -> TrainedReport:
    """A run's best network on its test examples (validation or training ones where there are none).

    Raises : CheckpointError without a run, DataError if its data have changed.
    """
    settings = settings or Settings()
    run = RunFolder.open(run_path)
    checkpoint = run.load_best()
    dataset = load_data(checkpoint.config)
    if dataset.train.shape != checkpoint.input_shape or dataset.classes != checkpoint.classes:
        raise DataError(
            f"{dataset.name}: examples of shape {dataset.train.shape} in {len(dataset.classes)} classes; the network was "
            f"trained on {checkpoint.input_shape} in {len(checkpoint.classes)}"
        )
    source = dataset.test or split(dataset, checkpoint.config).dev or dataset.train
    x, labels = _examples(source, checkpoint.normalizer, settings.seed)
    model = checkpoint.build()
    loss, layers = gradient_sizes(model, x, labels, settings.seed)
    report, found = _check(model, x[:CHECKED], labels[:CHECKED], settings, str(run))
    for layer in layers:
        errors = [float(c.errors().max()) for c in found if c.input.rpartition(".")[0] == f"model.{layer.layer}"]
        layer.error = max(errors, default=None)
    return TrainedReport(str(run), dataset.name, len(x), loss, layers, report, findings(layers))


def _examples(source: Source, normalizer: Normalizer, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(source), min(SIZES, len(source)), replace=False))
    shuffled = rng.permutation(chosen)  # the first few, which the check takes, are of all classes
    return normalizer(source.read(shuffled)), np.asarray(source.labels, np.int64)[shuffled]


def gradient_sizes(
    model: Module, x: np.ndarray, labels: np.ndarray, seed: int = 0
) -> tuple[float, list[LayerGradients]]:
    """The loss of one batch, and every layer's gradients, as a training step would have them; the model is left as it was."""
    state, modes = model.state_dict(), [(m, m.training) for m in model.modules()]
    names = {id(m): n for n, m in model.named_modules()}
    outputs: list[tuple[Module, Tensor]] = []

    def keep(module: Module, inputs: tuple, y: Any) -> None:
        if id(module) in names and next(module.named_children(), None) is None and isinstance(y, Tensor):
            outputs.append((module, y.retain_grad() if y.node is not None else y))

    with random.using(np.random.default_rng(seed)), observe_modules(keep):
        model.train().zero_grad()
        loss = WithLoss(model, labels)(Tensor(x))
        loss.backward()
    layers = [_layer(names[id(m)], m, y, len(x)) for m, y in outputs if y.grad is not None]
    model.zero_grad()
    model.load_state_dict(state)
    for module, mode in modes:
        module.training = mode
    return loss.item(), layers


def _layer(name: str, module: Module, y: Tensor, examples: int) -> LayerGradients:
    assert y.grad is not None
    dy = y.grad.numpy().astype(np.float64)
    signal = float(np.sqrt(np.square(dy.reshape(examples, -1)).sum(1).mean())) * examples  # the loss is a mean
    zeros = float((y.numpy() == 0).mean())
    own = [p for p in module.parameters() if p.grad is not None]
    kind = f"{type(module).__name__}({module.extra()})"
    if not own:
        return LayerGradients(name, kind, signal, zeros)
    weights = np.concatenate([p.numpy().ravel() for p in own]).astype(np.float64)
    gradients = np.concatenate([p.grad.numpy().ravel() for p in own if p.grad is not None]).astype(np.float64)
    return LayerGradients(name, kind, signal, zeros, weights.size, _rms(weights), _rms(gradients))


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.square(x).mean()))


def _check(
    model: Module, x: np.ndarray, labels: np.ndarray, settings: Settings, name: str
) -> tuple[GradientReport, list[Comparison]]:
    call = ModuleCall(WithLoss(model, labels).train(), (x,), settings.seed)
    few = max(1, min(8, PROBES // (2 * max(len(call.parameters), 1)) - 1))
    report = GradientReport(name, "trained", [], ["float64"], 1, tolerance=settings.tolerance)
    report.worst.tolerance = settings.tolerance
    probes = replace(settings, elements=few, directions=1)
    label = "x".join(map(str, x.shape))
    found = check_problem(call.problem(label), report, np.random.default_rng(settings.seed), probes, "")
    return report.conclude(), found


def findings(layers: Sequence[LayerGradients]) -> list[str]:
    """Vanishing and exploding gradients, dead layers; or that there is nothing to remark."""
    if not layers:
        return [
            "no layers of dlkit's to show (an imported graph): its parameters were checked, their sizes are not judged"
        ]
    out = []
    if layers[-1].signal > 0:
        last = layers[-1]
        weak = min(layers, key=lambda layer: layer.signal)
        strong = max(layers, key=lambda layer: layer.signal)
        if weak.signal * RANGE < last.signal:
            out.append(
                f"vanishing gradients: {weak.signal:.1e} arrives at {weak.layer}, {last.signal:.1e} at the last layer; "
                "try ReLU with He initialisation, batch norm or shortcuts"
            )
        if strong.signal > RANGE * last.signal:
            out.append(
                f"exploding gradients: {strong.signal:.1e} arrives at {strong.layer}, {last.signal:.1e} at the last layer; "
                "try a smaller initialisation, batch norm or gradient clipping"
            )
    out += [
        f"{layer.layer}: {100 * layer.zeros:.0f} % of its outputs are 0 (dead units); try a smaller learning rate or leaky ReLU"
        for layer in layers
        if layer.zeros > DEAD and not layer.kind.startswith("Dropout")
    ]
    return out or ["gradients reach every layer: none vanishes, none explodes"]
