"""Convolution that looks only at what is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit import ops, tape
from dlkit.nn.layers import _draw, _zeros
from dlkit.nn.module import Module
from dlkit.ops.window import pair
from dlkit.tensor import Tensor


class PartialConv2d(Module):
    """Partial convolution, (x [N, H, W, in_channels], mask [N, H, W, G]) -> (y [N, OH, OW, out_channels], mask' [N, OH, OW, 1]).

    mask : 1 where x is known, 0 where not; each of its G channels is for in_channels / G channels of x, so that one map
        serves them all (G = 1), or one each of several tensors joined. What x holds where it is unknown does not matter, as
        long as it is finite.

        y = Wᵀ (x ⊙ m) · Σ 1 / Σ m + b,  mask' = 1     where the window has a known value (Σ m > 0)
        y = 0,                           mask' = 0     elsewhere

    Pixels beyond the border count as unknown.
    Source : Liu, Reda, Shih, Wang, Tao & Catanzaro 2018, Image inpainting for irregular holes using partial convolutions,
    equations 1 and 2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: Any = 0,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ):
        kernel = pair(kernel_size, "kernel_size")
        self.weight = _draw("he_normal", (*kernel, in_channels, out_channels), rng)
        self.bias = _zeros(out_channels) if bias else None
        self.geometry = {"stride": stride, "padding": padding}

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        ratio, known = self._window(mask)
        y = ops.conv2d(over_groups(x, mask), self.weight, **self.geometry) * ratio
        return (y if self.bias is None else y + self.bias * known), known

    def _window(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(Σ 1 / Σ m, or 0 where nothing is known; mask')"""
        r, s = self.weight.shape[:2]
        groups = mask.shape[3]
        with tape.no_grad():
            ones = Tensor(np.ones((r, s, groups, 1), mask.dtype), device=mask.device)
            total = ops.conv2d(mask, ones, algorithm="direct", **self.geometry)  # whole numbers, without rounding
            known = ops.minimum(total, 1.0)
            return known * float(r * s * groups) / ops.maximum(total, 1.0), known

    def extra(self) -> str:
        r, s, c, k = self.weight.shape
        return f"{c}, {k}, {r}×{s}, stride={self.geometry['stride']}"


def over_groups(x: Tensor, mask: Tensor) -> Tensor:
    """x ⊙ m for x [N, H, W, C] and mask [N, H, W, G]: each channel of the mask for C / G of x."""
    n, h, w, c = x.shape
    groups = mask.shape[3]
    if groups == 1:
        return x * mask
    grouped = ops.reshape(x, (n, h, w, groups, c // groups)) * ops.reshape(mask, (n, h, w, groups, 1))
    return ops.reshape(grouped, (n, h, w, c))
