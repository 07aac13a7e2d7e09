from __future__ import annotations

from dlkit import nn, ops
from dlkit.models.blocks import scaled
from dlkit.models.registry import model, require_image
from dlkit.tensor import Tensor

SCALES = (64, 128, 256, 512, 1024)


def _twice(channels_in: int, channels: int, batch_norm: bool) -> list[nn.Module]:
    """Two 3×3 convolutions with ReLU."""
    layers: list[nn.Module] = []
    for c in (channels_in, channels):
        if batch_norm:
            layers += [
                nn.Conv2d(c, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels, activation="relu"),
            ]
        else:
            layers.append(nn.Conv2d(c, channels, 3, padding=1, activation="relu"))
    return layers


class UNet(nn.Module):
    """down: two convolutions at each scale, halved in between; up: enlarged, beside what its own scale had on the way down.

    [N, H, W, C] -> [N, H, W, classes], any size of at least 16 pixels each way.
    """

    def __init__(self, channels_in: int, classes: int, width: int, dropout: float, batch_norm: bool):
        channels = [scaled(n, width, 64) for n in SCALES]
        before = [channels_in, *channels[:-1]]
        self.down = [nn.Sequential(_twice(a, b, batch_norm)) for a, b in zip(before, channels)]
        self.pool = [nn.MaxPool2d(2) for _ in channels[1:]]
        self.dropout = nn.Dropout(dropout)
        steps = list(zip(channels[:0:-1], channels[-2::-1]))
        self.enlarge = [nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in steps]
        self.up = [nn.Sequential(_twice(2 * b, b, batch_norm)) for _, b in steps]
        self.out = nn.Conv2d(channels[0], classes, 1, init="xavier_uniform")

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for scale, pool in zip(self.down, self.pool):  # the last scale has none
            x = scale(x)
            kept.append(x)
            x = pool(x)
        x = self.dropout(self.down[-1](x))
        for enlarge, up in zip(self.enlarge, self.up):
            beside = kept.pop()
            x = up(ops.concat(beside, _to_size(enlarge(x), beside.shape[1:3]), axis=3))
        return self.out(x)


def _to_size(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """x with zeros at the bottom and on the right where halving an odd size had cut a row or column off."""
    missing = [n - m for n, m in zip(size, x.shape[1:3])]
    return ops.pad(x, widths=((0, 0), (0, missing[0]), (0, missing[1]), (0, 0))) if any(missing) else x


@model(
    "unet",
    source="Ronneberger et al. 2015, U-Net: convolutional networks for biomedical image segmentation, figure 1",
    shrunk={"width": 4},
    smallest=16,
    task="segment",
)
def unet(
    input_shape: tuple[int, ...], classes: int, *, width: int = 64, dropout: float = 0.0, batch_norm: bool = False
) -> nn.Module:
    """U-Net: an encoder and a decoder with skips, a class for each pixel; 31.0 M parameters.

    Deviation: convolutions are padded, so that the output is as large as the input; in the paper 572×572 pixels give 388×388.
    """
    return UNet(require_image("unet", input_shape, 16)[2], classes, width, dropout, batch_norm)
