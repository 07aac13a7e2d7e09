from __future__ import annotations

from dlkit import nn
from dlkit.models.blocks import is_small, run, scaled
from dlkit.models.registry import model, require_image
from dlkit.tensor import Tensor

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # 3×3 convolutions
SOURCE = "Simonyan & Zisserman 2015, Very deep convolutional networks, table 1, configuration "


class VGG(nn.Module):
    """features: stages of 3×3 convolutions, each with a pooling; classifier: three linear layers with dropout."""

    def __init__(
        self, name: str, input_shape: tuple[int, ...], classes: int, width: int, dropout: float, batch_norm: bool
    ):
        h, w, c = require_image(name, input_shape)
        self.features: list[nn.Module] = []
        size = min(h, w)
        for stage, count in enumerate(STAGES[int(name[3:])]):
            channels = scaled(64 * 2 ** min(stage, 3), width, 64)
            for _ in range(count):
                self.features += _convolution(c, channels, batch_norm)
                c = channels
            if size > 1:  # 28×28 has four halvings in it, not five
                self.features.append(nn.MaxPool2d(2))
                size //= 2
        side, hidden = (1, scaled(512, width, 64)) if is_small(h, w) else (7, scaled(4096, width, 64))
        self.avgpool = nn.AdaptiveAvgPool2d(side)
        self.classifier: list[nn.Module] = [
            nn.Flatten(),
            nn.Linear(side * side * c, hidden, activation="relu"),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden, activation="relu"),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes, init="xavier_uniform"),
        ]

    def forward(self, x: Tensor) -> Tensor:
        return run(self.classifier, self.avgpool(run(self.features, x)))


def _convolution(channels_in: int, channels: int, batch_norm: bool) -> list[nn.Module]:
    if batch_norm:
        return [
            nn.Conv2d(channels_in, channels, 3, padding=1),  # its bias is idle, but published weights have it
            nn.BatchNorm2d(channels, activation="relu"),
        ]
    return [nn.Conv2d(channels_in, channels, 3, padding=1, activation="relu")]


@model("vgg11", source=SOURCE + "A", shrunk={"width": 4}, smallest=16)
def vgg11(
    input_shape: tuple[int, ...], classes: int, *, width: int = 64, dropout: float = 0.5, batch_norm: bool = False
) -> nn.Module:
    """VGG-11: eight 3×3 convolutions, three linear layers; 132.9 M parameters at 224×224 and 1000 classes.

    Below 64 pixels the classifier is 512 wide on one pixel (9.8 M parameters), as for CIFAR.
    """
    return VGG("vgg11", input_shape, classes, width, dropout, batch_norm)


@model("vgg13", source=SOURCE + "B", shrunk={"width": 4, "batch_norm": True}, smallest=16)
def vgg13(
    input_shape: tuple[int, ...], classes: int, *, width: int = 64, dropout: float = 0.5, batch_norm: bool = False
) -> nn.Module:
    """VGG-13: ten 3×3 convolutions, three linear layers; 133.0 M parameters. Small images: see vgg11."""
    return VGG("vgg13", input_shape, classes, width, dropout, batch_norm)


@model("vgg16", source=SOURCE + "D", shrunk={"width": 4, "batch_norm": True}, smallest=16)
def vgg16(
    input_shape: tuple[int, ...], classes: int, *, width: int = 64, dropout: float = 0.5, batch_norm: bool = False
) -> nn.Module:
    """VGG-16: thirteen 3×3 convolutions, three linear layers; 138.4 M parameters. Small images: see vgg11."""
    return VGG("vgg16", input_shape, classes, width, dropout, batch_norm)


@model("vgg19", source=SOURCE + "E", shrunk={"width": 4}, smallest=16)
def vgg19(
    input_shape: tuple[int, ...], classes: int, *, width: int = 64, dropout: float = 0.5, batch_norm: bool = False
) -> nn.Module:
    """VGG-19: sixteen 3×3 convolutions, three linear layers; 143.7 M parameters. Small images: see vgg11."""
    return VGG("vgg19", input_shape, classes, width, dropout, batch_norm)
