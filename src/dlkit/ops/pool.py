"""Pooling. A window that reaches over the border sees only the pixels inside the image."""

from __future__ import annotations

import math

import numpy as np

from dlkit.errors import ConfigError, ShapeError
from dlkit.ops.op import BadCall, Sample, op
from dlkit.ops.window import check_image, pair, resolve_padding, window_output


def _arguments(x, kernel, stride=None, padding=0):
    kernel = pair(kernel, "kernel")
    stride = kernel if stride is None else pair(stride, "stride")
    size = tuple(x.shape[1:3]) if len(x.shape) == 4 else (0, 0)
    padding = resolve_padding(padding, size, kernel, stride, (1, 1))
    if any(p >= r for p, r in zip(padding, (kernel[0], kernel[0], kernel[1], kernel[1]))):
        raise ConfigError(
            f"padding (={padding}) must be smaller than the window (={kernel}), or windows would be empty"
        )
    return (x,), {"kernel": kernel, "stride": stride, "padding": padding}


def _shape(x, kernel, stride, padding):
    n, h, w, c = check_image(x)
    oh, ow = window_output((h, w), kernel, stride, padding)
    return (n, oh, ow, c)


def _flops(x, kernel, stride, padding):
    return math.prod(_shape(x, kernel, stride, padding)) * math.prod(kernel)


def _samples(rng: np.random.Generator) -> list[Sample]:
    def distinct(shape):  # no two pixels tie, so the maximum has a slope
        return rng.permutation(math.prod(shape)).reshape(shape) / 10.0

    return [
        Sample((distinct((2, 4, 6, 3)),), {"kernel": 2}),
        Sample((distinct((1, 7, 5, 2)),), {"kernel": 3, "stride": 2, "padding": 1}),
        Sample((distinct((1, 5, 7, 17)),), {"kernel": (3, 2), "stride": (1, 2)}),
        Sample((distinct((2, 5, 5, 1)),), {"kernel": 2, "stride": 2, "padding": "same"}),
        Sample((distinct((1, 6, 6, 2)),), {"kernel": 3, "stride": 1, "padding": "same"}),
        Sample((distinct((1, 1, 1, 1)),), {"kernel": 1}),
        Sample((np.zeros((0, 4, 4, 2)),), {"kernel": 2}, "empty"),
    ]


def _errors() -> list[BadCall]:
    x = np.zeros((1, 4, 4, 2))
    return [
        BadCall((np.zeros((4, 4, 2)),), {"kernel": 2}, ShapeError, "must be a batch of images"),
        BadCall((x,), {"kernel": 5}, ShapeError, "a window of 5 does not fit into 4 pixels"),
        BadCall((x,), {"kernel": 2, "padding": 2}, ConfigError, "must be smaller than the window"),
    ]


@op(
    "x[N,H,W,C] -> y[N,OH,OW,C]",
    formula="y = max of the window",
    slope="dx at the first maximum of each window += dy",
    source="Ranzato et al. 2007, Unsupervised learning of invariant feature hierarchies",
)
class max_pool2d:
    onnx = "MaxPool"
    arguments, shape, flops, samples, errors = _arguments, _shape, _flops, _samples, _errors

    def forward(k, x, *, kernel, stride, padding):
        y, position = k.max_pool2d_forward(x, kernel, stride, padding)
        return y, (position, tuple(x.shape[1:3]), kernel, stride, padding)

    def backward(k, saved, dy):
        return (k.max_pool2d_backward(dy, *saved),)


@op(
    "x[N,H,W,C] -> y[N,OH,OW,C]",
    formula="y = mean of the window's pixels inside the image",
    slope="dx += dy / count over each window",
    source="LeCun et al. 1998 (subsampling layers)",
)
class avg_pool2d:
    real = True
    onnx = "AveragePool"
    arguments, shape, flops, samples, errors = _arguments, _shape, _flops, _samples, _errors

    def forward(k, x, *, kernel, stride, padding):
        return k.avg_pool2d_forward(x, kernel, stride, padding), (tuple(x.shape[1:3]), kernel, stride, padding)

    def backward(k, saved, dy):
        return (k.avg_pool2d_backward(dy, *saved),)


@op(
    "x[N,H,W,C] -> y[N,OH,OW,C]",
    formula="y[i] = mean of x over rows ⌊i·H/OH⌋ … ⌈(i+1)·H/OH⌉-1, columns likewise",
    slope="dx += dy / count over each window",
    source="Lin et al. 2014, Network in network (global: size 1)",
)
class adaptive_avg_pool2d:
    """Average pooling to a given output size; size 1 is global average pooling."""

    real = True
    onnx = "GlobalAveragePool"

    def arguments(x, size=1):
        return (x,), {"size": pair(size, "size")}

    def shape(x, size):
        n, h, w, c = check_image(x)
        if 0 in (h, w):
            raise ShapeError(f"an image of {h}×{w} pixels has no mean")
        return (n, *size, c)

    def flops(x, size):
        return math.prod(x)

    def samples(rng):
        n = rng.standard_normal
        return [
            Sample((n((2, 5, 4, 3)),)),
            Sample((n((1, 7, 5, 2)),), {"size": (3, 2)}),
            Sample((n((1, 2, 3, 1)),), {"size": 4}),
            Sample((n((2, 6, 6, 17)),), {"size": (2, 3)}),
        ]

    def errors():
        return [
            BadCall((np.zeros((2, 3)),), {}, ShapeError, "must be a batch of images"),
            BadCall((np.zeros((1, 2, 2, 1)),), {"size": 0}, ConfigError, "at least 1"),
        ]

    def forward(k, x, *, size):
        return k.adaptive_avg_pool2d_forward(x, size), (tuple(x.shape[1:3]),)

    def backward(k, saved, dy):
        return (k.adaptive_avg_pool2d_backward(dy, *saved),)
