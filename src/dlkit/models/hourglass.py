"""The hourglass of Deep Image Prior: not a classifier, so it is built by its class and not by a name in MODELS.

    z [N, H, W, input_channels]  ──►  image [N, H, W, output_channels] in (0, 1)

Each scale halves the image, hands it to the next scale, doubles it again and puts a few channels of its own input
beside it:

    x ──┬── skip: 1×1 ────────────────────────────────────────┐
        └── down: 3×3 stride 2, 3×3 ── next scale ── double ── concat ── norm ── up: 3×3, 1×1 ──►

Every convolution is followed by batch norm and leaky ReLU (0.2).
"""

from __future__ import annotations

from dlkit import nn, ops
from dlkit.errors import ConfigError
from dlkit.tensor import Tensor


def _convolution(channels_in: int, channels: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Convolution that keeps the size (or halves it, rounded up), batch norm, leaky ReLU."""
    return [
        nn.Conv2d(channels_in, channels, kernel, stride=stride, padding=kernel // 2),
        nn.BatchNorm2d(channels, activation="leaky_relu", slope=0.2),
    ]


class Scale(nn.Module):
    """One scale with all smaller ones inside it: [N, H, W, channels_in] -> [N, H, W, channels]."""

    def __init__(self, channels_in: int, channels: int, skip: int, inner: Scale | None, enlarge: str = "bilinear"):
        self.skip = nn.Sequential(_convolution(channels_in, skip, 1))
        self.down = nn.Sequential(_convolution(channels_in, channels, 3, stride=2), _convolution(channels, channels, 3))
        self.inner = inner
        self.enlarge = nn.Upsample(2, mode=enlarge)
        self.norm = nn.BatchNorm2d(skip + channels)
        self.up = nn.Sequential(_convolution(skip + channels, channels, 3), _convolution(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(x)
        if self.inner is not None:
            y = self.inner(y)
        y = self.enlarge(y)
        h, w = x.shape[1:3]
        if y.shape[1:3] != (h, w):  # an odd size was rounded up on the way down
            y = y[:, :h, :w]
        return self.up(self.norm(ops.concat(self.skip(x), y, axis=3)))


class Hourglass(nn.Module):
    """Encoder and decoder with skip connections, fitted to one image from a fixed noise input.

    channels : of every scale; skip : channels of each skip connection; scales : how often the image is halved;
    enlarge : how it is doubled again, "bilinear" or "nearest".
    Borders are zero-padded. With the defaults 2,217,831 parameters, as in the paper's code.
    Source : Ulyanov, Vedaldi & Lempitsky 2018, Deep Image Prior, supplementary material (figure 21).
    """

    def __init__(
        self,
        channels: int = 128,
        *,
        input_channels: int = 32,
        output_channels: int = 3,
        scales: int = 5,
        skip: int = 4,
        enlarge: str = "bilinear",
    ):
        if scales < 1:
            raise ConfigError(f"scales (={scales}) must be at least 1")
        inner: Scale | None = None
        for _ in range(scales - 1):
            inner = Scale(channels, channels, skip, inner, enlarge)
        self.scale = Scale(input_channels, channels, skip, inner, enlarge)
        self.output = nn.Conv2d(channels, output_channels, 1, activation="sigmoid")

    def forward(self, z: Tensor) -> Tensor:
        return self.output(self.scale(z))
