from __future__ import annotations

from dlkit import nn
from dlkit.models.registry import model, require_image


@model("cnn", source="VGG-style blocks (Simonyan & Zisserman 2015) with batch norm, global average pooling")
def cnn(
    input_shape: tuple[int, ...], classes: int, *, width: int = 32, dropout: float = 0.25, init: str | None = None
) -> nn.Module:
    """A small convolutional network: blocks of two 3×3 convolutions with batch norm, halved in between.

    As many halvings (up to three) as leave at least 4 pixels each way; the filters double with each one.
    """
    h, w, c = require_image("cnn", input_shape, 4)
    layers: list[nn.Module] = []
    size, filters = min(h, w), width
    for block in range(4):
        if block:
            if size // 2 < 4:
                break
            layers.append(nn.MaxPool2d(2))
            if dropout:
                layers.append(nn.Dropout(dropout))
            size, filters = size // 2, filters * 2
        for _ in range(2):
            layers += [
                nn.Conv2d(c, filters, 3, padding="same", bias=False, init=init),
                nn.BatchNorm2d(filters, activation="relu"),
            ]
            c = filters
    return nn.Sequential(
        *layers, nn.GlobalAvgPool2d(), nn.Dropout(dropout), nn.Linear(c, classes, init="xavier_uniform")
    )
