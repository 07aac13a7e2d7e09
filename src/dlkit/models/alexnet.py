from __future__ import annotations

from dlkit import nn
from dlkit.models.blocks import is_small, run, scaled
from dlkit.models.registry import model, require_image
from dlkit.tensor import Tensor


class AlexNet(nn.Module):
    """features: five convolutions; classifier: three linear layers behind dropout."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: int, dropout: float):
        h, w, c = input_shape
        small = is_small(h, w)
        a, b, d, e = (scaled(n, width, 64) for n in (64, 192, 384, 256))
        hidden = scaled(1024 if small else 4096, width, 64)
        self.features: list[nn.Module] = [
            nn.Conv2d(c, a, 5, padding=2, activation="relu")
            if small
            else nn.Conv2d(c, a, 11, stride=4, padding=2, activation="relu"),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(a, b, 5, padding=2, activation="relu"),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(b, d, 3, padding=1, activation="relu"),
            nn.Conv2d(d, e, 3, padding=1, activation="relu"),
            nn.Conv2d(e, e, 3, padding=1, activation="relu"),
            nn.MaxPool2d(3, 2),
        ]
        side = 3 if small else 6
        self.avgpool = nn.AdaptiveAvgPool2d(side)
        self.classifier: list[nn.Module] = [
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(side * side * e, hidden, activation="relu"),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden, activation="relu"),
            nn.Linear(hidden, classes, init="xavier_uniform"),
        ]

    def forward(self, x: Tensor) -> Tensor:
        return run(self.classifier, self.avgpool(run(self.features, x)))


@model(
    "alexnet",
    source="Krizhevsky et al. 2012, ImageNet classification with deep CNNs; one tower: Krizhevsky 2014, arXiv:1404.5997",
    shrunk={"width": 4},
    smallest=20,
)
def alexnet(input_shape: tuple[int, ...], classes: int, *, width: int = 64, dropout: float = 0.5) -> nn.Module:
    """AlexNet: five convolutions, three linear layers; 61.1 M parameters at 224×224 and 1000 classes.

    The one-tower variant of 2014 (64, 192, 384, 256, 256 filters), as in torchvision; the network of 2012 ran in two
    halves on two GPUs. Deviation: no local response normalisation. Below 64 pixels the first filters are 5×5 at stride 1
    and the classifier is a quarter as wide, on 3×3 pixels.
    """
    return AlexNet(require_image("alexnet", input_shape, 16), classes, width, dropout)
