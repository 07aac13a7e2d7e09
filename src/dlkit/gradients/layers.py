"""Every layer of `dlkit.nn`, as a function of its input and its parameters, in training and in inference mode.

SAMPLES says how to make each: a layer that is exported by `dlkit.nn` and has no sample here is itself a failure, so none
can be forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from dlkit import nn, random
from dlkit.backends import available_backends, use_backend
from dlkit.gradients.check import check_problem
from dlkit.gradients.modules import ModuleCall
from dlkit.gradients.numeric import Settings
from dlkit.gradients.report import GradientReport
from dlkit.ops.arithmetic import apart
from dlkit.tensor import Tensor

Samples = Callable[[np.random.Generator], list[tuple]]
NOT_LAYERS = ("Module", "Parameter", "Buffer")


def _pixels(rng: np.random.Generator, channels: int = 3) -> np.ndarray:
    return rng.standard_normal((2, 5, 6, channels))


def _distinct(rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(2 * 6 * 6 * 2).reshape(2, 6, 6, 2) / 10.0


def _elementwise(*layers: Callable[[], nn.Module]) -> Samples:
    return lambda rng: [(make(), (apart(rng, (3, 4)),)) for make in layers]


def _targets(*layers: Callable[[], nn.Module]) -> Samples:
    def samples(rng: np.random.Generator) -> list[tuple]:
        t = rng.standard_normal((4, 3))
        return [(make(), (t + apart(rng, (4, 3), (-1.0, 0.0, 1.0)), t)) for make in layers]

    return samples


def _binary(layer: type, low: float) -> Samples:
    def samples(rng: np.random.Generator) -> list[tuple]:
        p = low + (1 - 2 * low) * rng.random((4, 3))
        return [(layer(r), (p, rng.integers(0, 2, (4, 3)).astype(float)), (1,)) for r in ("mean", "sum", "none")]

    return samples


class _TwoHeads(nn.Module):
    """Class labels of which two are missing, and numbers of which one is, from one row each."""

    def __init__(self, rng: np.random.Generator):
        self.loss = nn.MultiTaskLoss(
            {"class": nn.CrossEntropyLoss(), "size": nn.MSELoss()}, {"class": 1.0, "size": 0.3}
        )
        self.targets = {"class": np.array([0, 1, -1, 2, -1, 0]), "size": rng.standard_normal((6, 1))}
        self.targets["size"][3] = np.nan

    def forward(self, x: Tensor) -> Tensor:
        return self.loss({"class": x[:, :3], "size": x[:, 3:]}, self.targets)


def _two_inputs() -> nn.Model:
    """Two inputs, a shared layer, a branch, a constant and a size made of the number of examples."""
    image, features = nn.Input((5, 6, 3)), nn.Input(4)
    shared = nn.Conv2d(3, 3, 3, padding="same", activation="tanh")
    y = shared(shared(image)) * nn.Parameter(np.ones(3, np.float32)) + image
    n, h, w, c = y.shape
    rows = nn.Linear(c, 4)(y.reshape(n * h * w, c)).reshape(n, h * w, 4).mean(axis=1)
    return nn.Model([image, features], nn.Linear(4, 2)(rows * features + 0.5))


def _mask(rng: np.random.Generator, channels: int) -> np.ndarray:
    """Zeros and ones with a corner of zeros larger than a window."""
    mask = (rng.random((2, 5, 6, channels)) < 0.6).astype(float)
    mask[:, :4, :4] = 0
    return mask


SAMPLES: dict[str, Samples] = {
    "Linear": lambda rng: [
        (nn.Linear(4, 3), (rng.standard_normal((5, 4)),)),
        (nn.Linear(4, 3, bias=False, activation="tanh"), (rng.standard_normal((2, 3, 4)),)),
        (nn.Linear(4, 6, activation="gelu"), (rng.standard_normal((3, 4)),)),
    ],
    "Conv2d": lambda rng: [
        (nn.Conv2d(3, 4, 3, padding="same", activation="tanh"), (_pixels(rng),)),
        (nn.Conv2d(4, 6, (3, 2), stride=2, dilation=(1, 2), groups=2, bias=False), (_pixels(rng, 4),)),
        (nn.Conv2d(3, 2, 1, activation="silu"), (_pixels(rng),)),
    ],
    "PartialConv2d": lambda rng: [
        (nn.PartialConv2d(3, 4, 3, padding=1), (_pixels(rng), _mask(rng, 1)), (1,)),
        (nn.PartialConv2d(4, 2, (3, 2), stride=2, bias=False), (_pixels(rng, 4), _mask(rng, 2)), (1,)),
    ],
    "ConvTranspose2d": lambda rng: [
        (nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), (_pixels(rng),)),
        (nn.ConvTranspose2d(4, 2, 2, groups=2, bias=False), (_pixels(rng, 4),)),
    ],
    "BatchNorm1d": lambda rng: [(nn.BatchNorm1d(3), (rng.standard_normal((7, 3)),))],
    "BatchNorm2d": lambda rng: [
        (nn.BatchNorm2d(3), (_pixels(rng),)),
        (nn.BatchNorm2d(3, activation="gelu"), (_pixels(rng),)),
        (nn.BatchNorm2d(3), (_pixels(rng), _pixels(rng))),
    ],
    "LayerNorm": lambda rng: [(nn.LayerNorm(3, affine=affine), (_pixels(rng),)) for affine in (True, False)],
    "InstanceNorm2d": lambda rng: [(nn.InstanceNorm2d(3, affine=affine), (_pixels(rng),)) for affine in (True, False)],
    "GroupNorm": lambda rng: [
        (nn.GroupNorm(2, 4), (_pixels(rng, 4),)),
        (nn.GroupNorm(1, 4, affine=False), (_pixels(rng, 4),)),
    ],
    "Dropout": lambda rng: [
        (nn.Dropout(0.4), (_pixels(rng),)),
        (nn.Dropout(0.4, np.random.default_rng(1)), (_pixels(rng),)),
    ],
    "Flatten": lambda rng: [(nn.Flatten(), (_pixels(rng),))],
    "MaxPool2d": lambda rng: [(nn.MaxPool2d(2), (_distinct(rng),)), (nn.MaxPool2d(3, 2, 1), (_distinct(rng),))],
    "AvgPool2d": lambda rng: [(nn.AvgPool2d(2), (_pixels(rng),)), (nn.AvgPool2d(3, 2, 1), (_pixels(rng),))],
    "AdaptiveAvgPool2d": lambda rng: [(nn.AdaptiveAvgPool2d(size), (_pixels(rng),)) for size in (1, (2, 3))],
    "GlobalAvgPool2d": lambda rng: [(nn.GlobalAvgPool2d(), (_pixels(rng),))],
    "Upsample": lambda rng: [
        (nn.Upsample(2), (_pixels(rng),)),
        (nn.Upsample(2, "bilinear"), (_pixels(rng),)),
        (nn.Upsample(3, "bilinear", align_corners=True), (_pixels(rng),)),
    ],
    "Pad2d": lambda rng: [
        (nn.Pad2d((1, 2, 0, 3), mode), (_pixels(rng),)) for mode in ("constant", "reflect", "replicate")
    ],
    "Activation": lambda rng: [(nn.Activation(name), (apart(rng, (3, 4)),)) for name in nn.ACTIVATIONS],
    "ReLU": _elementwise(nn.ReLU),
    "Tanh": _elementwise(nn.Tanh),
    "Sigmoid": _elementwise(nn.Sigmoid),
    "LeakyReLU": _elementwise(nn.LeakyReLU, lambda: nn.LeakyReLU(0.3)),
    "ELU": _elementwise(nn.ELU, lambda: nn.ELU(0.5)),
    "GELU": _elementwise(nn.GELU),
    "SiLU": _elementwise(nn.SiLU),
    "Softplus": _elementwise(nn.Softplus),
    "Softmax": _elementwise(nn.Softmax, lambda: nn.Softmax(0)),
    "Sequential": lambda rng: [
        (
            nn.Sequential(nn.Linear(4, 5, activation="tanh"), nn.Dropout(0.3), nn.Linear(5, 2)),
            (rng.standard_normal((3, 4)),),
        )
    ],
    "Operation": lambda rng: [
        (
            nn.Operation("concat", (nn.Input((5, 6, 3)), rng.standard_normal((2, 5, 6, 1))), {"axis": 3}),
            (_pixels(rng),),
        ),
        (
            nn.Operation("multiply", (nn.Parameter(rng.standard_normal(3)), nn.Input((4, 3))), {}),
            (rng.standard_normal((2, 4, 3)),),
        ),
    ],
    "Model": lambda rng: [(_two_inputs(), (_pixels(rng), rng.standard_normal((2, 4))))],
    "MSELoss": _targets(nn.MSELoss, lambda: nn.MSELoss("sum"), lambda: nn.MSELoss("none")),
    "L1Loss": _targets(nn.L1Loss, lambda: nn.L1Loss("none")),
    "HuberLoss": _targets(nn.HuberLoss, lambda: nn.HuberLoss(reduction="sum")),
    "BCELoss": _binary(nn.BCELoss, 0.05),
    "BCEWithLogitsLoss": _binary(nn.BCEWithLogitsLoss, -2.0),
    "MultiTaskLoss": lambda rng: [(_TwoHeads(rng), (rng.standard_normal((6, 4)),))],
    "CrossEntropyLoss": lambda rng: [
        (nn.CrossEntropyLoss(), (rng.standard_normal((6, 5)), rng.integers(0, 5, 6))),
        (
            nn.CrossEntropyLoss(weight=rng.random(5) + 0.5, label_smoothing=0.1),
            (rng.standard_normal((6, 5)), rng.integers(0, 5, 6)),
        ),
        (nn.CrossEntropyLoss(reduction="none"), (rng.standard_normal((6, 5)), rng.dirichlet(np.ones(5), 6)), (1,)),
    ],
}


def layer_classes() -> dict[str, type[nn.Module]]:
    """name -> class of every layer and loss that `dlkit.nn` exports."""
    found = {name: getattr(nn, name) for name in nn.__all__ if name not in NOT_LAYERS}
    return {n: c for n, c in found.items() if isinstance(c, type) and issubclass(c, nn.Module)}


def layer_samples(name: str, rng: np.random.Generator) -> list[tuple]:
    """[(layer, inputs)] or [(layer, inputs, positions without a gradient)]; [] if nobody says how to make one."""
    make = SAMPLES.get(name)
    with random.using(np.random.default_rng(rng.integers(1 << 32))):
        return [] if make is None else make(rng)


def check_layer(name: str, settings: Settings | None = None, backends: Sequence[str] | None = None) -> GradientReport:
    """Every sample of a layer, in training and in inference mode, on every backend given, in float64."""
    settings = settings or Settings()
    began = time.perf_counter()
    backends = list(available_backends() if backends is None else backends)
    report = GradientReport(f"nn.{name}", "layer", backends, ["float64"], tolerance=settings.tolerance)
    samples = layer_samples(name, np.random.default_rng((settings.seed, 4)))
    report.samples = len(samples)
    if not samples:
        report.failure = f"no samples: add nn.{name} to SAMPLES in dlkit/gradients/layers.py"
    for number, (layer, inputs, *rest) in enumerate(samples):
        for backend in backends:
            for training in (True, False):
                if not report.failure and report.worst.ratio <= 1:
                    rng = np.random.default_rng((settings.seed, 5, number))
                    call = ModuleCall(stirred(layer.train(training), rng), inputs, settings.seed, *rest)
                    label = f"{type(layer).__name__}({layer.extra()}), {'training' if training else 'inference'}"
                    _check(call, label, report, rng, settings, backend)
    report.conclude()
    report.seconds = time.perf_counter() - began
    return report


def _check(
    call: ModuleCall, label: str, report: GradientReport, rng: np.random.Generator, settings: Settings, backend: str
) -> None:
    try:
        with use_backend(backend):
            check_problem(call.problem(label), report, rng, settings, backend)
    except Exception as error:
        report.failure = f"{label} on {backend}: {error}"


def stirred(module: nn.Module, rng: np.random.Generator) -> nn.Module:
    """The module in float64 with noise on every parameter and buffer: zeros would leave half of a backward untried."""
    module.astype(np.float64)
    for _, p in module.named_parameters():
        p.data = nn.Parameter(p.numpy() + 0.1 * rng.standard_normal(p.shape)).data
    for _, b in module.named_buffers():
        b.data = nn.Buffer(np.abs(b.numpy()) + 0.5 * rng.random(b.shape)).data
    return module
