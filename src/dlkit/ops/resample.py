"""Enlarging images."""

from __future__ import annotations

import math

import numpy as np

from dlkit.errors import ConfigError, ShapeError
from dlkit.ops.op import BadCall, Sample, op
from dlkit.ops.window import check_image, pair


@op("x[N,H,W,C] -> y[N,H·a,W·b,C]", formula="y[i,j] = x[⌊i/a⌋, ⌊j/b⌋]", slope="dx = Σ dy over each a×b block")
class upsample_nearest:
    onnx = "Resize"

    def arguments(x, scale=2):
        return (x,), {"scale": pair(scale, "scale")}

    def shape(x, scale):
        n, h, w, c = check_image(x)
        return (n, h * scale[0], w * scale[1], c)

    def flops(x, scale):
        return 0

    def samples(rng):
        n = rng.standard_normal
        return [Sample((n((2, 3, 4, 3)),)), Sample((n((1, 2, 3, 17)),), {"scale": (3, 1)})]

    def errors():
        return [
            BadCall((np.zeros((2, 3)),), {}, ShapeError, "must be a batch of images"),
            BadCall((np.zeros((1, 2, 2, 1)),), {"scale": 0}, ConfigError, "at least 1"),
        ]

    def forward(k, x, *, scale):
        return k.upsample_nearest_forward(x, scale), (scale,)

    def backward(k, saved, dy):
        return (k.upsample_nearest_backward(dy, *saved),)


@op(
    "x[N,H,W,C] -> y[N,OH,OW,C]",
    formula="y = x at (i + ½)·H/OH - ½ (align_corners: i·(H-1)/(OH-1)), linear between pixels, clamped at the border",
    slope="dx = the transposed interpolation of dy",
)
class upsample_bilinear:
    """Bilinear resampling to `size`, or by the factor `scale` (default 2); also shrinks, without anti-aliasing."""

    real = True
    onnx = "Resize"

    def arguments(x, scale=None, size=None, align_corners=False):
        if size is not None and scale is not None:
            raise ConfigError("upsample_bilinear: give size or scale, not both")
        if size is None:
            a, b = pair(2 if scale is None else scale, "scale")
            size = (x.shape[1] * a, x.shape[2] * b) if len(x.shape) == 4 else (1, 1)
        return (x,), {"size": pair(size, "size"), "align_corners": bool(align_corners)}

    def shape(x, size, align_corners):
        n, h, w, c = check_image(x)
        if 0 in (h, w):
            raise ShapeError(f"an image of {h}×{w} pixels cannot be enlarged")
        return (n, *size, c)

    def flops(x, size, align_corners):
        return 8 * x[0] * x[3] * math.prod(size)

    def samples(rng):
        n = rng.standard_normal
        return [
            Sample((n((2, 3, 4, 3)),)),
            Sample((n((1, 3, 2, 17)),), {"size": (5, 7)}),
            Sample((n((1, 3, 4, 2)),), {"scale": 3, "align_corners": True}),
            Sample((n((1, 5, 6, 1)),), {"size": (3, 4)}),
            Sample((n((1, 1, 1, 2)),), {"size": (2, 3), "align_corners": True}),
        ]

    def errors():
        return [
            BadCall((np.zeros((2, 3)),), {}, ShapeError, "must be a batch of images"),
            BadCall((np.zeros((1, 2, 2, 1)),), {"size": 4, "scale": 2}, ConfigError, "not both"),
        ]

    def forward(k, x, *, size, align_corners):
        return k.upsample_bilinear_forward(x, size, align_corners), (tuple(x.shape[1:3]), align_corners)

    def backward(k, saved, dy):
        return (k.upsample_bilinear_backward(dy, *saved),)
