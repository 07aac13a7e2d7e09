"""ResNets for large images. Names of the parts are torchvision's: layer1.0.conv1, layer2.0.downsample.0, fc."""

from __future__ import annotations

from dlkit import nn
from dlkit.models.blocks import is_small, run
from dlkit.models.registry import model, require_image
from dlkit.tensor import Tensor

SOURCE = "He et al. 2016, Deep residual learning for image recognition, table 1"


def _shortcut(channels_in: int, channels: int, stride: int) -> list[nn.Module]:
    """A projection where size or width changes (option B of the paper), else nothing."""
    if stride == 1 and channels_in == channels:
        return []
    return [nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)]


class BasicBlock(nn.Module):
    """relu(shortcut(x) + F(x)), F two 3×3 convolutions."""

    expansion = 1

    def __init__(self, channels_in: int, channels: int, stride: int):
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels, activation="relu")
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels, activation="relu")
        self.downsample = _shortcut(channels_in, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.bn1(self.conv1(x)))
        return self.bn2(y, run(self.downsample, x))


class Bottleneck(nn.Module):
    """relu(shortcut(x) + F(x)), F a 1×1, a 3×3 (with the stride) and a 1×1 convolution to four times the channels."""

    expansion = 4

    def __init__(self, channels_in: int, channels: int, stride: int):
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels, activation="relu")
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels, activation="relu")
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels, activation="relu")
        self.downsample = _shortcut(channels_in, 4 * channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        return self.bn3(self.conv3(y), run(self.downsample, x))


class ResNet(nn.Module):
    """A stem, four stages of blocks, the mean over all pixels, one linear layer."""

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        classes: int,
        width: int,
        block: type[BasicBlock] | type[Bottleneck],
        counts: tuple[int, int, int, int],
    ):
        h, w, c = input_shape
        small = is_small(h, w)
        self.conv1 = (
            nn.Conv2d(c, width, 3, padding=1, bias=False) if small else nn.Conv2d(c, width, 7, 2, 3, bias=False)
        )
        self.bn1 = nn.BatchNorm2d(width, activation="relu")
        self.maxpool = None if small else nn.MaxPool2d(3, 2, 1)
        channels = width
        stages: list[list[nn.Module]] = []
        for stage, count in enumerate(counts):
            blocks: list[nn.Module] = []
            for i in range(count):
                blocks.append(block(channels, width * 2**stage, 2 if stage and not i else 1))
                channels = width * 2**stage * block.expansion
            stages.append(blocks)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.GlobalAvgPool2d()
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x))
        x = x if self.maxpool is None else self.maxpool(x)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = run(stage, x)
        return self.fc(self.avgpool(x))


@model("resnet18", source=SOURCE, shrunk={"width": 4})
def resnet18(input_shape: tuple[int, ...], classes: int, *, width: int = 64) -> nn.Module:
    """ResNet-18: 16 3×3 convolutions in blocks of two; 11.7 M parameters with 1000 classes.

    Below 64 pixels the stem is a 3×3 convolution at stride 1 without pooling, as in most work on CIFAR.
    """
    return ResNet(require_image("resnet18", input_shape, 4), classes, width, BasicBlock, (2, 2, 2, 2))


@model("resnet34", source=SOURCE, shrunk={"width": 4})
def resnet34(input_shape: tuple[int, ...], classes: int, *, width: int = 64) -> nn.Module:
    """ResNet-34: 32 3×3 convolutions in blocks of two; 21.8 M parameters. Small images: see resnet18."""
    return ResNet(require_image("resnet34", input_shape, 4), classes, width, BasicBlock, (3, 4, 6, 3))


@model("resnet50", source=SOURCE, shrunk={"width": 4})
def resnet50(input_shape: tuple[int, ...], classes: int, *, width: int = 64) -> nn.Module:
    """ResNet-50: 16 bottleneck blocks; 25.6 M parameters with 1000 classes.

    Deviation: a block's stride is in its 3×3 convolution, not in the first 1×1 ("v1.5", as in torchvision; 4.1 instead of 3.8
    billion multiply-adds). Small images: see resnet18.
    """
    return ResNet(require_image("resnet50", input_shape, 4), classes, width, Bottleneck, (3, 4, 6, 3))


@model("resnet101", source=SOURCE, shrunk={"width": 2})
def resnet101(input_shape: tuple[int, ...], classes: int, *, width: int = 64) -> nn.Module:
    """ResNet-101: 33 bottleneck blocks; 44.5 M parameters. Deviation as in resnet50; small images: see resnet18."""
    return ResNet(require_image("resnet101", input_shape, 4), classes, width, Bottleneck, (3, 4, 23, 3))
