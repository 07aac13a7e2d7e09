"""Inception v1 (GoogLeNet): blocks of four branches side by side. Names of the parts are torchvision's."""

from __future__ import annotations

from typing import Any

from dlkit import nn, ops
from dlkit.models.blocks import ConvNorm, is_small, run, scaled
from dlkit.models.registry import model, require_image
from dlkit.tensor import Tensor

EPS = 1e-3  # of batch norm in both Inceptions, as their authors' code has it

# 1×1; 3×3 reduced, 3×3; 5×5 reduced, 5×5; projection behind the pooling: Szegedy et al. 2015, table 1
BRANCHES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def pool_up(kernel: int) -> nn.MaxPool2d:
    """Max-pooling by 2 whose size is rounded up: one more row and column than fit whole."""
    return nn.MaxPool2d(kernel, 2, (0, 1, 0, 1))


class Inception(nn.Module):
    """Four branches on the same input, their channels one behind the other."""

    def __init__(self, channels_in: int, sizes: list[int]):
        one, three_in, three, five_in, five, pool = sizes
        self.branch1 = ConvNorm(channels_in, one, 1, eps=EPS)
        self.branch2 = [ConvNorm(channels_in, three_in, 1, eps=EPS), ConvNorm(three_in, three, 3, eps=EPS)]
        self.branch3 = [ConvNorm(channels_in, five_in, 1, eps=EPS), ConvNorm(five_in, five, 3, eps=EPS)]
        self.branch4 = [nn.MaxPool2d(3, 1, 1), ConvNorm(channels_in, pool, 1, eps=EPS)]
        self.channels = one + three + five + pool

    def forward(self, x: Tensor) -> Tensor:
        return ops.concat(
            self.branch1(x), run([*self.branch2], x), run([*self.branch3], x), run(self.branch4, x), axis=3
        )


class AuxiliaryHead(nn.Module):
    """A small classifier half-way up, that brings gradients to the layers below while training."""

    def __init__(self, channels_in: int, classes: int, width: int, dropout: float):
        channels, hidden = scaled(128, width, 64), scaled(1024, width, 64)
        self.avgpool = nn.AdaptiveAvgPool2d(4)
        self.conv = ConvNorm(channels_in, channels, 1, eps=EPS)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(16 * channels, hidden, activation="relu")
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden, classes, init="xavier_uniform")

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.dropout(self.fc1(self.flatten(self.conv(self.avgpool(x))))))


class GoogLeNet(nn.Module):
    """While training with auxiliary heads: (scores, scores of head 1, of head 2); otherwise the scores."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: int, dropout: float, auxiliary: bool):
        h, w, c = input_shape
        small = is_small(h, w)
        stem, third = width, scaled(192, width, 64)
        self.conv1 = ConvNorm(c, stem, 3, eps=EPS) if small else ConvNorm(c, stem, 7, stride=2, eps=EPS)
        self.maxpool1 = None if small else pool_up(3)
        self.conv2 = ConvNorm(stem, stem, 1, eps=EPS)
        self.conv3 = ConvNorm(stem, third, 3, eps=EPS)
        self.maxpool2 = pool_up(3)
        channels = third
        self.heads = 0
        for name, sizes in BRANCHES.items():
            block = Inception(channels, [scaled(n, width, 64) for n in sizes])
            setattr(self, f"inception{name}", block)
            if auxiliary and name in ("4b", "4e"):  # the head reads what this block reads
                self.heads += 1
                setattr(self, f"aux{self.heads}", AuxiliaryHead(channels, classes, width, 0.7 if dropout else 0.0))
            channels = block.channels
        self.maxpool3, self.maxpool4 = pool_up(3), pool_up(2)
        self.avgpool = nn.GlobalAvgPool2d()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Any:
        x = self.conv1(x)
        x = x if self.maxpool1 is None else self.maxpool1(x)
        x = self.maxpool2(self.conv3(self.conv2(x)))
        scores: list[Tensor] = []
        for name in BRANCHES:
            if name == "4a":
                x = self.maxpool3(x)
            if name == "5a":
                x = self.maxpool4(x)
            if self.heads and self.training and name in ("4b", "4e"):
                scores.append(getattr(self, f"aux{len(scores) + 1}")(x))
            x = getattr(self, f"inception{name}")(x)
        y = self.fc(self.dropout(self.avgpool(x)))
        return (y, *scores) if scores else y


@model(
    "inception_v1",
    source="Szegedy et al. 2015, Going deeper with convolutions, table 1",
    shrunk={"width": 4},
    smallest=16,
)
def inception_v1(
    input_shape: tuple[int, ...], classes: int, *, width: int = 64, dropout: float = 0.2, auxiliary: bool = False
) -> nn.Module:
    """Inception v1 (GoogLeNet): nine blocks of four branches; 6.6 M parameters, 13.0 M with auxiliary heads.

    Deviations, all as in torchvision: batch norm behind every convolution instead of local response normalisation, 3×3 in
    the place of 5×5 filters. `auxiliary`: two more heads while training, see docs/models.md. Below 64 pixels the first two
    halvings are left out.
    """
    return GoogLeNet(require_image("inception_v1", input_shape, 8), classes, width, dropout, auxiliary)
