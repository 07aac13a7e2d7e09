"""MobileNets: convolutions split into one filter per channel (depthwise) and a 1×1 convolution (pointwise)."""

from __future__ import annotations

from dlkit import nn
from dlkit.models.blocks import ConvNorm, is_small, run, scaled
from dlkit.models.registry import model, require_image
from dlkit.tensor import Tensor

# (channels, stride) behind the first convolution: Howard et al. 2017, table 1
SEPARABLE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
# (expansion, channels, blocks, stride of the first): Sandler et al. 2018, table 2
INVERTED = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class MobileNetV1(nn.Module):
    """features: a convolution, 13 pairs of a depthwise and a pointwise one."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: int, dropout: float):
        h, w, c = input_shape
        skipped = 2 if is_small(h, w) else 0  # of the halvings
        channels = width
        self.features: list[nn.Module] = [ConvNorm(c, channels, 3, stride=1 if skipped else 2)]
        skipped -= 1
        for published, stride in SEPARABLE:
            if stride == 2 and skipped > 0:
                stride, skipped = 1, skipped - 1
            out = scaled(published, width, 32)
            self.features += [
                ConvNorm(channels, channels, 3, stride=stride, groups=channels),
                ConvNorm(channels, out, 1),
            ]
            channels = out
        self.avgpool = nn.GlobalAvgPool2d()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.dropout(self.avgpool(run(self.features, x))))


class InvertedResidual(nn.Module):
    """1×1 to `expansion` times the channels, depthwise 3×3, 1×1 back without activation; x added where shapes allow."""

    def __init__(self, channels_in: int, channels: int, stride: int, expansion: int):
        hidden = channels_in * expansion
        self.conv: list[ConvNorm] = []
        if expansion != 1:
            self.conv.append(ConvNorm(channels_in, hidden, 1, activation="relu6"))
        self.conv += [
            ConvNorm(hidden, hidden, 3, stride=stride, groups=hidden, activation="relu6"),
            ConvNorm(hidden, channels, 1, activation=None),
        ]
        self.adds = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        *inner, last = self.conv
        y = run([*inner], x)
        return last(y, x) if self.adds else last(y)


class MobileNetV2(nn.Module):
    """features: a convolution, 17 inverted residuals, a 1×1 convolution to 1280 channels."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: int, dropout: float):
        h, w, c = input_shape
        skipped = 2 if is_small(h, w) else 0  # of the halvings
        channels = width
        self.features: list[nn.Module] = [ConvNorm(c, channels, 3, stride=1 if skipped else 2, activation="relu6")]
        skipped -= 1
        for expansion, published, blocks, stride in INVERTED:
            if stride == 2 and skipped > 0:
                stride, skipped = 1, skipped - 1
            for i in range(blocks):
                out = scaled(published, width, 32)
                self.features.append(InvertedResidual(channels, out, stride if i == 0 else 1, expansion))
                channels = out
        last = scaled(1280, width, 32)
        self.features.append(ConvNorm(channels, last, 1, activation="relu6"))
        self.avgpool = nn.GlobalAvgPool2d()
        self.classifier: list[nn.Module] = [nn.Dropout(dropout), nn.Linear(last, classes)]

    def forward(self, x: Tensor) -> Tensor:
        return run(self.classifier, self.avgpool(run(self.features, x)))


@model("mobilenet_v1", source="Howard et al. 2017, MobileNets, arXiv:1704.04861, table 1", shrunk={"width": 4})
def mobilenet_v1(input_shape: tuple[int, ...], classes: int, *, width: int = 32, dropout: float = 0.0) -> nn.Module:
    """MobileNet v1: 13 depthwise separable convolutions; 4.2 M parameters with 1000 classes.

    width : filters of the first layer; 16 is the paper's multiplier 0.5. Below 64 pixels the first two halvings are left out.
    """
    return MobileNetV1(require_image("mobilenet_v1", input_shape, 4), classes, width, dropout)


@model("mobilenet_v2", source="Sandler et al. 2018, MobileNetV2, CVPR, table 2", shrunk={"width": 4})
def mobilenet_v2(input_shape: tuple[int, ...], classes: int, *, width: int = 32, dropout: float = 0.2) -> nn.Module:
    """MobileNet v2: 17 inverted residuals with linear bottlenecks; 3.5 M parameters with 1000 classes.

    width : filters of the first layer. Below 64 pixels the first two halvings are left out.
    """
    return MobileNetV2(require_image("mobilenet_v2", input_shape, 4), classes, width, dropout)
