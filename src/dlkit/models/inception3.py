"""Inception v3: factorised filters. Names of the parts are torchvision's."""

from __future__ import annotations

from functools import partial
from typing import Any

from dlkit import nn, ops
from dlkit.models.blocks import ConvNorm, scaled
from dlkit.models.inception import EPS
from dlkit.models.registry import model, require_image
from dlkit.tensor import Tensor

SMALL = 75  # the published stem leaves nothing of images below that

Conv = partial(ConvNorm, eps=EPS)


def _mean3(x: Tensor) -> Tensor:
    """The mean of 3×3 pixels at stride 1, the border's zeros among them (ops.avg_pool2d would leave them out)."""
    return ops.avg_pool2d(ops.pad(x, widths=((0, 0), (1, 1), (1, 1), (0, 0))), kernel=3, stride=1)


class BlockA(nn.Module):
    """1×1; 1×1, 5×5; 1×1, two 3×3; mean, 1×1."""

    def __init__(self, c: int, pool: int, width: int):
        n = partial(scaled, width=width, base=32)
        self.branch1x1 = Conv(c, n(64), 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(c, n(48), 1), Conv(n(48), n(64), 5)
        self.branch3x3dbl_1 = Conv(c, n(64), 1)
        self.branch3x3dbl_2, self.branch3x3dbl_3 = Conv(n(64), n(96), 3), Conv(n(96), n(96), 3)
        self.branch_pool = Conv(c, n(pool), 1)
        self.channels = 2 * n(64) + n(96) + n(pool)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        twice = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return ops.concat(self.branch1x1(x), five, twice, self.branch_pool(_mean3(x)), axis=3)


class BlockB(nn.Module):
    """Halves: 3×3 at stride 2; 1×1, two 3×3, the last at stride 2; max-pooling."""

    def __init__(self, c: int, width: int):
        n = partial(scaled, width=width, base=32)
        self.branch3x3 = Conv(c, n(384), 3, stride=2, padding=0)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(c, n(64), 1), Conv(n(64), n(96), 3)
        self.branch3x3dbl_3 = Conv(n(96), n(96), 3, stride=2, padding=0)
        self.pool = nn.MaxPool2d(3, 2)
        self.channels = n(384) + n(96) + c

    def forward(self, x: Tensor) -> Tensor:
        twice = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return ops.concat(self.branch3x3(x), twice, self.pool(x), axis=3)


class BlockC(nn.Module):
    """7×7 filters as pairs of 1×7 and 7×1: none, one pair, two pairs; mean, 1×1."""

    def __init__(self, c: int, inner: int, width: int):
        n = partial(scaled, width=width, base=32)
        i, out = n(inner), n(192)
        self.branch1x1 = Conv(c, out, 1)
        self.branch7x7_1, self.branch7x7_2, self.branch7x7_3 = Conv(c, i, 1), Conv(i, i, (1, 7)), Conv(i, out, (7, 1))
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Conv(c, i, 1), Conv(i, i, (7, 1))
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Conv(i, i, (1, 7)), Conv(i, i, (7, 1))
        self.branch7x7dbl_5 = Conv(i, out, (1, 7))
        self.branch_pool = Conv(c, out, 1)
        self.channels = 4 * out

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return ops.concat(self.branch1x1(x), once, twice, self.branch_pool(_mean3(x)), axis=3)


class BlockD(nn.Module):
    """Halves: 1×1, 3×3 at stride 2; 1×1, 1×7, 7×1, 3×3 at stride 2; max-pooling."""

    def __init__(self, c: int, width: int):
        n = partial(scaled, width=width, base=32)
        i = n(192)
        self.branch3x3_1, self.branch3x3_2 = Conv(c, i, 1), Conv(i, n(320), 3, stride=2, padding=0)
        self.branch7x7x3_1, self.branch7x7x3_2 = Conv(c, i, 1), Conv(i, i, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = Conv(i, i, (7, 1)), Conv(i, i, 3, stride=2, padding=0)
        self.pool = nn.MaxPool2d(3, 2)
        self.channels = n(320) + i + c

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return ops.concat(three, seven, self.pool(x), axis=3)


class BlockE(nn.Module):
    """The widest: 1×1; 3×3 filters as 1×3 and 3×1 side by side, behind a 1×1 and behind a 1×1 and a 3×3; mean, 1×1."""

    def __init__(self, c: int, width: int):
        n = partial(scaled, width=width, base=32)
        i = n(384)
        self.branch1x1 = Conv(c, n(320), 1)
        self.branch3x3_1 = Conv(c, i, 1)
        self.branch3x3_2a, self.branch3x3_2b = Conv(i, i, (1, 3)), Conv(i, i, (3, 1))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(c, n(448), 1), Conv(n(448), i, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Conv(i, i, (1, 3)), Conv(i, i, (3, 1))
        self.branch_pool = Conv(c, n(192), 1)
        self.channels = n(320) + 4 * i + n(192)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch3x3_1(x)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return ops.concat(
            self.branch1x1(x),
            self.branch3x3_2a(once),
            self.branch3x3_2b(once),
            self.branch3x3dbl_3a(twice),
            self.branch3x3dbl_3b(twice),
            self.branch_pool(_mean3(x)),
            axis=3,
        )


class AuxiliaryHead(nn.Module):
    """A small classifier on the last 17×17 maps, that brings gradients to the layers below while training."""

    def __init__(self, c: int, classes: int, width: int, large: bool):
        n = partial(scaled, width=width, base=32)
        self.pool = nn.AvgPool2d(5, 3) if large else nn.AdaptiveAvgPool2d(5)  # 17×17 to 5×5 at 299 pixels
        self.conv0, self.conv1 = Conv(c, n(128), 1), Conv(n(128), n(768), 5, padding=0)
        self.avgpool = nn.GlobalAvgPool2d()
        self.fc = nn.Linear(n(768), classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.conv1(self.conv0(self.pool(x)))))


class InceptionV3(nn.Module):
    """While training with an auxiliary head: (scores, its scores); otherwise the scores."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: int, dropout: float, auxiliary: bool):
        h, w, c = input_shape
        small = min(h, w) < SMALL
        n = partial(scaled, width=width, base=32)
        stem: dict[str, Any] = {
            "padding": 1 if small else 0
        }  # of the published one the first two halvings are left out
        self.Conv2d_1a_3x3 = Conv(c, n(32), 3, stride=1 if small else 2, **stem)
        self.Conv2d_2a_3x3 = Conv(n(32), n(32), 3, **stem)
        self.Conv2d_2b_3x3 = Conv(n(32), n(64), 3)
        self.maxpool1 = None if small else nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = Conv(n(64), n(80), 1)
        self.Conv2d_4a_3x3 = Conv(n(80), n(192), 3, **stem)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        self.Mixed_5b = BlockA(n(192), 32, width)
        self.Mixed_5c = BlockA(self.Mixed_5b.channels, 64, width)
        self.Mixed_5d = BlockA(self.Mixed_5c.channels, 64, width)
        self.Mixed_6a = BlockB(self.Mixed_5d.channels, width)
        self.Mixed_6b = BlockC(self.Mixed_6a.channels, 128, width)
        self.Mixed_6c = BlockC(self.Mixed_6b.channels, 160, width)
        self.Mixed_6d = BlockC(self.Mixed_6c.channels, 160, width)
        self.Mixed_6e = BlockC(self.Mixed_6d.channels, 192, width)
        self.AuxLogits = AuxiliaryHead(self.Mixed_6e.channels, classes, width, min(h, w) >= 299) if auxiliary else None
        self.Mixed_7a = BlockD(self.Mixed_6e.channels, width)
        self.Mixed_7b = BlockE(self.Mixed_7a.channels, width)
        self.Mixed_7c = BlockE(self.Mixed_7b.channels, width)
        self.avgpool = nn.GlobalAvgPool2d()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.Mixed_7c.channels, classes)

    def forward(self, x: Tensor) -> Any:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = x if self.maxpool1 is None else self.maxpool1(x)
        x = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        scores = self.AuxLogits(x) if self.AuxLogits is not None and self.training else None
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        y = self.fc(self.dropout(self.avgpool(x)))
        return y if scores is None else (y, scores)


@model(
    "inception_v3",
    source="Szegedy et al. 2016, Rethinking the Inception architecture for computer vision, table 1, figures 5 to 7",
    shrunk={"width": 2},
    smallest=24,
)
def inception_v3(
    input_shape: tuple[int, ...], classes: int, *, width: int = 32, dropout: float = 0.5, auxiliary: bool = False
) -> nn.Module:
    """Inception v3: eleven blocks with factorised filters; 23.8 M parameters at 299×299, 27.2 M with its auxiliary head.

    As in torchvision. Below 75 pixels the stem is padded and its first two halvings are left out.
    """
    return InceptionV3(require_image("inception_v3", input_shape, 16), classes, width, dropout, auxiliary)
