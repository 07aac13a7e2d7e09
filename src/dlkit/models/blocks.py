"""What the convolutional networks share: convolution with batch norm, scaled widths, the rule for small images."""

from __future__ import annotations

from dlkit import nn
from dlkit.nn import Module
from dlkit.ops.window import pair
from dlkit.tensor import Tensor

SMALL = 64  # images of fewer pixels each way skip the first two halvings that networks for 224×224 begin with


def is_small(h: int, w: int) -> bool:
    return min(h, w) < SMALL


def scaled(channels: int, width: int, base: int) -> int:
    """`channels` of the published network, whose first layer has `base` filters, in one that has `width`."""
    return max(1, round(channels * width / base))


def run(layers: list[Module], x: Tensor) -> Tensor:
    """Layers one after the other, for parts that are kept in a list so that they are called `features.0.weight`."""
    for layer in layers:
        x = layer(x)
    return x


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, activation ("relu", "relu6" or None) in the norm's own pass.

    padding : half the filter, which keeps the size at stride 1, unless given.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        activation: str | None = "relu",
        eps: float = 1e-5,
    ):
        r, s = pair(kernel, "kernel")
        half = r // 2 if r == s else (r // 2, r // 2, s // 2, s // 2)
        around = half if padding is None else padding
        self.conv = nn.Conv2d(channels_in, channels, (r, s), stride, around, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps, activation=activation)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        return self.bn(self.conv(x), residual)
