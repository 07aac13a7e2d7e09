"""The convolutions of LeNet-5, ResNet-20, VGG / ResNet and Deep Image Prior, in each direction, without bias.

No input gradient for a network's first layer: no training step computes it.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import partial

import numpy as np

from dlkit import ops
from dlkit.bench.case import Case, Inputs, Work, add
from dlkit.bench.cases.common import label, normal, numbers
from dlkit.tensor import Tensor


@dataclass(frozen=True)
class Layer:
    N: int
    H: int
    W: int
    C: int
    K: int
    R: int
    stride: int = 1
    padding: int | None = None  # R // 2
    groups: int = 1
    first: bool = False
    where: str = ""

    def small(self) -> Layer:
        """The same kind of layer in sizes for tests."""
        size = self.R + 2 * self.stride
        depthwise = self.groups > 1
        channels = (4, 4, 4) if depthwise else (min(self.C, 5), min(self.K, 6), 1)
        return Layer(2, size, size + 1, *channels[:2], self.R, self.stride, self.padding, channels[2], self.first)


LAYERS = [
    Layer(64, 28, 28, 1, 6, 5, first=True, where="lenet5"),
    Layer(64, 14, 14, 6, 16, 5, padding=0, where="lenet5"),
    Layer(64, 32, 32, 3, 16, 3, first=True, where="resnet20"),
    Layer(64, 32, 32, 16, 16, 3, where="resnet20"),
    Layer(64, 32, 32, 16, 32, 3, 2, where="resnet20"),
    Layer(64, 16, 16, 32, 32, 3, where="resnet20"),
    Layer(64, 16, 16, 32, 64, 3, 2, where="resnet20"),
    Layer(64, 8, 8, 64, 64, 3, where="resnet20"),
    Layer(8, 224, 224, 3, 64, 7, 2, first=True, where="resnet"),
    Layer(8, 56, 56, 64, 64, 3, where="vgg"),
    Layer(8, 28, 28, 128, 128, 3, where="vgg"),
    Layer(8, 14, 14, 256, 256, 3, where="vgg"),
    Layer(8, 7, 7, 512, 512, 3, where="vgg"),
    Layer(8, 56, 56, 256, 64, 1, where="resnet"),
    Layer(8, 56, 56, 64, 256, 1, where="resnet"),
    Layer(1, 256, 256, 128, 128, 3, where="hourglass"),
    Layer(1, 128, 128, 128, 128, 3, where="hourglass"),
    Layer(1, 256, 256, 64, 64, 3, where="hourglass"),
    Layer(1, 512, 512, 32, 32, 3, where="hourglass"),
    Layer(8, 56, 56, 96, 96, 3, groups=96, where="depthwise"),
    Layer(64, 16, 16, 32, 32, 3, groups=32, where="depthwise"),
]


def _inputs(layer: Layer, rng: np.random.Generator) -> Inputs:
    N, H, W, C, K, R, stride, padding, groups, *_ = astuple(layer)
    padding = R // 2 if padding is None else padding
    OH, OW = ((n + 2 * padding - R) // stride + 1 for n in (H, W))
    return {
        "x": normal(rng, N, H, W, C),
        "w": normal(rng, R, R, C // groups, K),
        "dy": normal(rng, N, OH, OW, K),
        "stride": stride,
        "padding": padding,
        "groups": groups,
    }


def _flops(inputs: Inputs) -> float:
    R, S, C, _ = inputs["w"].shape  # C: of one group
    return 2.0 * inputs["dy"].size * R * S * C


def _geometry(inputs: Inputs) -> dict:
    s, p = inputs["stride"], inputs["padding"]
    return {"stride": (s, s), "padding": (p, p, p, p), "dilation": (1, 1), "groups": inputs["groups"]}


def _forward(inputs: Inputs) -> Work:
    x, w, geometry = Tensor(inputs["x"]), Tensor(inputs["w"]), _geometry(inputs)
    return Work(lambda: ops.conv2d(x, w, **geometry), lambda y: numbers(y))


def _backward_input(inputs: Inputs) -> Work:
    dy, w, size, geometry = Tensor(inputs["dy"]), Tensor(inputs["w"]), inputs["x"].shape[1:3], _geometry(inputs)
    return Work(lambda: ops.conv2d_backward_input(dy, w, size=size, **geometry), lambda dx: numbers(dx))


def _backward_weight(inputs: Inputs) -> Work:
    x, dy, kernel, geometry = Tensor(inputs["x"]), Tensor(inputs["dy"]), inputs["w"].shape[:2], _geometry(inputs)
    return Work(lambda: ops.conv2d_backward_weight(x, dy, kernel=kernel, **geometry), lambda dw: numbers(dw))


DIRECTIONS = {"forward": _forward, "backward_input": _backward_input, "backward_weight": _backward_weight}

for _layer in LAYERS:
    _sizes = f"{label(_layer.N, _layer.H, _layer.W, _layer.C)} {_layer.R}x{_layer.R} {_layer.K}"
    _stride = f" s{_layer.stride}" if _layer.stride > 1 else ""
    for _direction, _ours in DIRECTIONS.items():
        if _layer.first and _direction == "backward_input":
            continue
        add(
            Case(
                f"conv {_layer.where} {_sizes}{_stride} {_direction}",
                "conv",
                partial(_inputs, _layer),
                partial(_inputs, _layer.small()),
                _ours,
                f"conv2d_{_direction}",
                _flops,
            )
        )
