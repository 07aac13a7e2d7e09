"""A U-Net of partial convolutions that fills holes: not a classifier, so it is built by its class and not by a name in
MODELS.

    x [N, H, W, C] in 0..1, 0 where unknown; known [N, H, W, 1] of zeros and ones  ──►  [N, H, W, C]

    x ── first ──┬─────────────────────── beside ────────────┬── up ── and start, known ── last ── change ──► + start
                 └── down, stride 2 ──┬── beside ── up ── ×2 ┘
                                      └── down ... ── ×2 ┘

The network says how to change a start that any hole has: the known pixels averaged from fine to coarse until every pixel
has a value, and that spread out again. It begins as no change, so the first step is no worse than that blur. What is
known is never changed.
"""

from __future__ import annotations

from dlkit import nn, ops, tape
from dlkit.errors import ConfigError
from dlkit.tensor import Tensor

SLOPE = 0.2  # of the leaky ReLU behind every batch norm


class Layer(nn.Module):
    """Partial convolution 3×3, batch norm, leaky ReLU: (y, mask) -> (y, mask)."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1):
        self.conv = nn.PartialConv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels, activation="leaky_relu", slope=SLOPE)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        y, mask = self.conv(x, mask)
        return self.norm(y), mask


class PartialUNet(nn.Module):
    """width : channels of every scale; depth : how often the image is halved.

    Differs from the paper: the same width at all scales, a first and a last pair of layers at full size, the last two
    plain convolutions, the start, and that known pixels stay. Without batch norm it learned a third as fast.
    Source : Liu et al. 2018, Image inpainting for irregular holes using partial convolutions, section 3.2; the start is
    that of Gortler, Grzeszczuk, Szeliski & Cohen 1996, The lumigraph, section 3.4 (pull-push).
    """

    def __init__(self, channels: int = 3, *, width: int = 32, depth: int = 4):
        if depth < 1:
            raise ConfigError(f"depth (={depth}) must be at least 1")
        self.first = Layer(channels, width)
        self.down = [Layer(width, width, stride=2) for _ in range(depth)]
        self.up = [Layer(2 * width, width) for _ in range(depth)]
        self.last = nn.Conv2d(width + channels + 1, width, 3, padding=1, init="he_normal", bias=False)
        self.norm = nn.BatchNorm2d(width, activation="leaky_relu", slope=SLOPE)
        self.change = nn.Conv2d(width, channels, 3, padding=1, init="zeros")

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        with tape.no_grad():
            start = pull_push(x, known)
            count = ops.maximum(ops.sum(known, axis=(1, 2), keepdims=True), 1.0)
            centred = start - ops.sum(x, axis=(1, 2), keepdims=True) / count
        y, mask = self.first(centred, known)
        scales = [(y, mask)]
        for layer in self.down:
            y, mask = layer(y, mask)
            scales.append((y, mask))
        scales.pop()
        for layer in self.up:
            beside, its_mask = scales.pop()
            joined = ops.concat(_enlarged(y, beside), beside, axis=3)
            masks = ops.concat(_enlarged(mask, its_mask), its_mask, axis=3)
            y, mask = layer(joined, masks)
        y = self.norm(self.last(ops.concat(y, centred, known, axis=3)))
        return start + self.change(y) * (1.0 - known)


def _enlarged(y: Tensor, like: Tensor) -> Tensor:
    """Twice as large, to the size of `like`, whose odd sizes were rounded up on the way down."""
    h, w = like.shape[1:3]
    y = ops.upsample_nearest(y, scale=2)
    return y if y.shape[1:3] == (h, w) else y[:, :h, :w]


def reach_of(crop: int) -> int:
    """How deep in a hole, in pixels, a network is to be trusted that learned from crops of this side."""
    return max(1, crop // 4)


def pull_push(x: Tensor, known: Tensor) -> Tensor:
    """x [N, H, W, C] with what is unknown filled: pixels averaged in twos, over those that are known, until nothing is
    unknown (or one pixel is left); from there back, bilinearly, into the holes. Where nothing is known at all: 0."""
    h, w = x.shape[1:3]
    if max(h, w) == 1:
        return x
    even = ((0, 0), (0, h % 2), (0, w % 2), (0, 0))
    share = ops.avg_pool2d(ops.pad(known, widths=even), kernel=2)
    mean = ops.avg_pool2d(ops.pad(x, widths=even), kernel=2) / ops.maximum(share, 0.25)
    coarse = pull_push(mean, ops.minimum(4.0 * share, 1.0))
    return x + (1.0 - known) * ops.upsample_bilinear(coarse, scale=2)[:, :h, :w]
