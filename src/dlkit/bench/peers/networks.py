"""The same networks in PyTorch, their modules in dlkit's order, and their training steps with its fused optimisers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dlkit.bench.case import Inputs, Work
from dlkit.bench.peers import LAYOUTS, peer
from dlkit.bench.peers.kernels import FORMATS, from_filters, image
from dlkit.bench.step import step_answer, weights_of

Shape = tuple[int, ...]


def mlp(shape: Shape) -> nn.Module:
    sizes = (int(np.prod(shape[1:])), 256, 128)
    hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(128, 10))


class FromMaps(nn.Linear):
    """A linear layer behind Flatten: torch counts its inputs channel by channel, dlkit pixel by pixel."""

    def __init__(self, maps: tuple[int, int, int], out_features: int):
        super().__init__(int(np.prod(maps)), out_features)
        self.maps = maps  # H, W, C


def lenet5(shape: Shape) -> nn.Module:
    h, w = ((n // 2 - 4) // 2 for n in shape[1:3])
    return nn.Sequential(
        nn.Conv2d(shape[3], 6, 5, padding=2),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        FromMaps((h, w, 16), 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, 10),
    )


class BasicBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.stride, self.extra_channels = stride, channels - channels_in

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu_()))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.extra_channels:
            x = functional.pad(x, (0, 0, 0, 0, 0, self.extra_channels))
        return (x + y).relu_()


def resnet20(shape: Shape) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(shape[3], 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    width = 16
    for stage, channels in enumerate((16, 32, 64)):
        for block in range(3):
            layers.append(BasicBlock(width, channels, 2 if stage and not block else 1))
            width = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def convolution_and_norm(
    channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1, activation: nn.Module | None = None
) -> nn.Sequential:
    around = kernel // 2
    layers = [
        nn.Conv2d(channels_in, channels, kernel, stride, around, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
    ]
    return nn.Sequential(*layers, *([activation] if activation else []))


class ResidualBlock(nn.Module):
    """A basic block, or (bottleneck) 1×1, 3×3 and 1×1; with a projection where shapes change."""

    def __init__(self, channels_in: int, channels: int, stride: int, bottleneck: bool):
        super().__init__()
        relu, out = nn.ReLU(inplace=True), channels * (4 if bottleneck else 1)
        sizes = (
            [(channels_in, channels, 1, 1), (channels, channels, 3, stride), (channels, out, 1, 1)]
            if bottleneck
            else [(channels_in, channels, 3, stride), (channels, channels, 3, 1)]
        )
        self.body = nn.Sequential(
            *[convolution_and_norm(*size, activation=relu) for size in sizes[:-1]], convolution_and_norm(*sizes[-1])
        )
        projected = stride > 1 or channels_in != out
        self.shortcut = convolution_and_norm(channels_in, out, 1, stride) if projected else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.body(x) + self.shortcut(x)).relu_()


def residual(shape: Shape, width: int, counts: tuple[int, ...], bottleneck: bool, classes: int) -> nn.Module:
    small = min(shape[1:3]) < 64
    relu = nn.ReLU(inplace=True)
    layers: list[nn.Module] = [
        convolution_and_norm(shape[3], width, 3 if small else 7, 1 if small else 2, activation=relu)
    ]
    if not small:
        layers.append(nn.MaxPool2d(3, 2, 1))
    channels = width
    for stage, count in enumerate(counts):
        for block in range(count):
            layers.append(ResidualBlock(channels, width * 2**stage, 2 if stage and not block else 1, bottleneck))
            channels = width * 2**stage * (4 if bottleneck else 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def resnet18(shape: Shape, width: int) -> nn.Module:
    return residual(shape, width, (2, 2, 2, 2), False, 10)


def resnet50(shape: Shape, width: int) -> nn.Module:
    return residual(shape, width, (3, 4, 6, 3), True, 1000)


class InvertedResidual(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int, expansion: int):
        super().__init__()
        hidden, relu6 = channels_in * expansion, nn.ReLU6(inplace=True)
        layers = [convolution_and_norm(channels_in, hidden, 1, activation=relu6)] if expansion > 1 else []
        self.body = nn.Sequential(
            *layers,
            convolution_and_norm(hidden, hidden, 3, stride, hidden, relu6),
            convolution_and_norm(hidden, channels, 1),
        )
        self.adds = stride == 1 and channels_in == channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.adds else self.body(x)


def mobilenet_v2(shape: Shape, width: int) -> nn.Module:
    """At 32×32: without the first two halvings of the published network."""
    relu6 = nn.ReLU6(inplace=True)
    layers: list[nn.Module] = [convolution_and_norm(shape[3], width, 3, activation=relu6)]
    channels = width
    stages = (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
    for expansion, published, blocks, stride in stages:
        for block in range(blocks):
            out = max(1, round(published * width / 32))
            layers.append(InvertedResidual(channels, out, 1 if block else stride, expansion))
            channels = out
    last = round(1280 * width / 32)
    layers.append(convolution_and_norm(channels, last, 1, activation=relu6))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, 10))


def vgg11(shape: Shape, width: int) -> nn.Module:
    """At 32×32: one pixel is left, the classifier is 8 · width wide."""
    layers: list[nn.Module] = []
    channels, size = shape[3], min(shape[1:3])
    for stage, count in enumerate((1, 1, 2, 2, 2)):
        out = width * 2 ** min(stage, 3)
        for _ in range(count):
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU(inplace=True)]
            channels = out
        if size > 1:
            layers.append(nn.MaxPool2d(2))
            size //= 2
    hidden = 8 * width
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(channels, hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, 10),
    )


def convolution(channels_in: int, channels: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(0.2, inplace=True),
    ]


class Scale(nn.Module):
    def __init__(self, channels_in: int, channels: int, skip: int, inner: nn.Module | None):
        super().__init__()
        self.skip = nn.Sequential(*convolution(channels_in, skip, 1))
        self.down = nn.Sequential(*convolution(channels_in, channels, 3, 2), *convolution(channels, channels, 3))
        self.inner = inner
        self.norm = nn.BatchNorm2d(skip + channels)
        self.up = nn.Sequential(*convolution(skip + channels, channels, 3), *convolution(channels, channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.down(x)
        if self.inner is not None:
            y = self.inner(y)
        y = functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        y = y[:, :, : x.shape[2], : x.shape[3]]
        return self.up(self.norm(torch.cat([self.skip(x), y], 1)))


def hourglass(shape: Shape, channels: int) -> nn.Module:
    inner: Scale | None = None
    for _ in range(4):
        inner = Scale(channels, channels, 4, inner)
    return nn.Sequential(Scale(shape[3], channels, 4, inner), nn.Conv2d(channels, 3, 1), nn.Sigmoid())


def tanh(shape: Shape) -> nn.Module:
    return nn.Sequential(nn.Linear(shape[1], 8), nn.Tanh(), nn.Linear(8, 1))


# -- weights between the two layouts ----------------------------------------------------------------------------------


def layers(model: nn.Module) -> list[tuple[nn.Module, torch.Tensor]]:
    """Every parameter with the layer it belongs to."""
    return [(m, p) for m in model.modules() for p in m.parameters(recurse=False)]


def to_torch(layer: nn.Module, w: np.ndarray) -> np.ndarray:
    if w.ndim == 4:
        return w.transpose(3, 2, 0, 1)
    if w.ndim == 1:
        return w
    if isinstance(layer, FromMaps):
        w = w.reshape(*layer.maps, -1).transpose(2, 0, 1, 3).reshape(w.shape)
    return w.T


def from_torch(layer: nn.Module, w: torch.Tensor) -> np.ndarray:
    if w.ndim == 4:
        return from_filters(w)
    host = w.detach().numpy()
    if w.ndim == 1:
        return host
    if isinstance(layer, FromMaps):
        h, width, c = layer.maps
        return host.T.reshape(c, h, width, -1).transpose(1, 2, 0, 3).reshape(host.T.shape)
    return host.T


# -- the step ------------------------------------------------------------------------------------------------------------


def _on_torch(x: np.ndarray, layout: str) -> torch.Tensor:
    return image(x, layout) if x.ndim == 4 else torch.tensor(x)


def _step(build: Callable[..., nn.Module], inputs: Inputs, layout: str, fused: bool) -> Work:
    x, target = _on_torch(inputs["x"], layout), _on_torch(inputs["target"], layout)
    model = build(inputs["x"].shape, **inputs["options"])
    parameters = layers(model)
    with torch.no_grad():
        for (layer, p), w in zip(parameters, weights_of(inputs), strict=True):
            p.copy_(torch.tensor(to_torch(layer, w)))
    model = model.to(memory_format=FORMATS[layout])
    loss = functional.mse_loss if target.is_floating_point() else functional.cross_entropy
    make = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[inputs["optimizer"]]
    optimizer = make(model.parameters(), lr=inputs["lr"], fused=fused)

    def run() -> float:
        value = loss(model(x), target)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.item()

    def answer(value: float) -> list[np.ndarray]:
        gradients = [from_torch(layer, p.grad) for layer, p in parameters]
        return step_answer(value, inputs, gradients, [from_torch(layer, p) for layer, p in parameters])

    return Work(run, answer)


for _build in (lenet5, resnet20, resnet18, resnet50, mobilenet_v2, vgg11, hourglass):
    peer(_build.__name__, LAYOUTS)(lambda inputs, layout, build=_build: _step(build, inputs, layout, True))
peer("mlp")(lambda inputs, variant: _step(mlp, inputs, "default", True))
peer("tanh", ("default", "fused"))(lambda inputs, variant: _step(tanh, inputs, "default", variant == "fused"))
