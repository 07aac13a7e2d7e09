from __future__ import annotations

from dlkit import nn, ops
from dlkit.models.registry import model, require_image
from dlkit.tensor import Tensor


class BasicBlock(nn.Module):
    """y = relu(x' + F(x)), F two 3×3 convolutions with batch norm. Where the size or width changes, x' is x
    subsampled with zeros for the new channels (option A of He et al. 2016, which adds no parameters)."""

    def __init__(self, channels_in: int, channels: int, stride: int):
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels, activation="relu")
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels, activation="relu")
        self.stride, self.extra_channels = stride, channels - channels_in

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.norm1(self.conv1(x)))
        if self.stride > 1:
            x = ops.avg_pool2d(x, kernel=1, stride=self.stride)  # x[:, ::stride, ::stride] with fast kernels both ways
        if self.extra_channels:
            x = ops.pad(x, widths=((0, 0), (0, 0), (0, 0), (0, self.extra_channels)))
        return self.norm2(y, x)


def _resnet(name: str, input_shape: tuple[int, ...], classes: int, blocks: int) -> nn.Module:
    """6 · blocks + 2 layers: a convolution, three stages of `blocks` blocks, a linear layer."""
    _, _, c = require_image(name, input_shape, 4)
    layers: list[nn.Module] = [nn.Conv2d(c, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16, activation="relu")]
    width = 16
    for stage, channels in enumerate((16, 32, 64)):
        for block in range(blocks):
            layers.append(BasicBlock(width, channels, 2 if stage and not block else 1))
            width = channels
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(width, classes))


SOURCE = "He et al. 2016, Deep residual learning for image recognition, section 4.2"


@model("resnet20", source=SOURCE + " (n = 3)")
def resnet20(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """ResNet-20 for small images: 19 3×3 convolutions with shortcuts, 16, 32 and 64 filters; 0.27 M parameters."""
    return _resnet("resnet20", input_shape, classes, 3)


@model("resnet32", source=SOURCE + " (n = 5)")
def resnet32(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """ResNet-32 for small images: 31 3×3 convolutions with shortcuts; 0.46 M parameters."""
    return _resnet("resnet32", input_shape, classes, 5)


@model("resnet56", source=SOURCE + " (n = 9)")
def resnet56(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """ResNet-56 for small images: 55 3×3 convolutions with shortcuts; 0.85 M parameters."""
    return _resnet("resnet56", input_shape, classes, 9)
