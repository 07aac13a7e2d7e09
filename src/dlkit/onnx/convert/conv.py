"""Convolution and transposed convolution in any number of spatial axes, on top of the 2-D kernels.

One axis is a second one of a single pixel; each further axis is a sum over the filter's places along it, exact and
differentiable: y[d] = Σ_t conv2d(x[d·stride + t·dilation], w[t]).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dlkit import ops
from dlkit.errors import OnnxError, UnsupportedOnnx
from dlkit.onnx.convert.registry import converter
from dlkit.onnx.convert.window import Border, borders, numbers, pad_spatial
from dlkit.onnx.layout import channels_last, filter_order, from_channels_last, stored
from dlkit.onnx.values import whole_numbers
from dlkit.tensor import Tensor

LARGEST_STEP = 1 << 14  # the kernels treat each offset between two painted pixels by itself


def _filters(shapes: list, attributes: dict) -> dict:
    return {1: filter_order(len(shapes[1]))} if shapes[1] is not None and len(shapes[1]) > 2 else {}


def _check(x: Any, w: Any, kernel_shape: list[int] | None) -> tuple[int, ...]:
    """The filter's spatial shape.  Raises : OnnxError, UnsupportedOnnx."""
    if not isinstance(x, Tensor):
        raise UnsupportedOnnx(f"a convolution of {x.dtype} is not done; float32 or float64 is")
    if x.ndim < 3 or w.ndim != x.ndim:
        raise OnnxError(
            f"x and w must be images and filters of equally many axes; they have shapes {x.shape}, {w.shape}"
        )
    kernel = tuple(w.shape[:-2])
    if kernel_shape is not None and tuple(kernel_shape) != kernel:
        raise OnnxError(f"kernel_shape (={kernel_shape}) is not that of the filters, {kernel}")
    if min(kernel) < 1:
        raise OnnxError(f"filters of shape {w.shape} have no elements")
    return kernel


@converter("Conv", layout="image", weights=_filters)
def conv(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    x, w = channels_last(x), stored(w, filter_order(w.ndim))
    kernel = _check(x, w, kernel_shape)
    n = len(kernel)
    stride, dilation = numbers(strides, n, 1, "strides", 1), numbers(dilations, n, 1, "dilations", 1)
    border = borders(auto_pad, pads, x.shape[1:-1], kernel, stride, dilation)
    return from_channels_last(convolve(x, w, b, stride, border, dilation, group))


def convolve(
    x: Tensor, w: Tensor, b: Tensor | None, stride: tuple, border: tuple[Border, ...], dilation: tuple, groups: int
) -> Tensor:
    """x [N, ..., C], w [..., C/G, K] -> [N, ..., K]."""
    n = len(stride)
    if n == 1:
        wide = convolve(_add_axis(x, 1), _add_axis(w, 0), b, (1, *stride), ((0, 0), *border), (1, *dilation), groups)
        return _drop_axis(wide, 1)
    if n == 2:
        padding = (*border[0], *border[1])
        return ops.conv2d(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    x = pad_spatial(x, (border[0], *((0, 0),) * (n - 1)))
    out = (x.shape[1] - dilation[0] * (w.shape[0] - 1) - 1) // stride[0] + 1
    if out < 1:
        raise OnnxError(f"a window of {w.shape[0]} does not fit into {x.shape[1]} pixels")
    y: Any = None
    for t in range(w.shape[0]):
        start = t * dilation[0]
        seen = x[:, start : start + (out - 1) * stride[0] + 1 : stride[0]]
        flat = seen.reshape((seen.shape[0] * out, *seen.shape[2:]))
        part = convolve(flat, w[t], b if t == 0 else None, stride[1:], border[1:], dilation[1:], groups)
        y = part if y is None else y + part
    return y.reshape((x.shape[0], out, *y.shape[1:]))


def _add_axis(x: Tensor, at: int) -> Tensor:
    return x.reshape((*x.shape[:at], 1, *x.shape[at:]))


def _drop_axis(x: Tensor, at: int) -> Tensor:
    return x.reshape((*x.shape[:at], *x.shape[at + 1 :]))


@converter("ConvTranspose", layout="image", weights=_filters)
def conv_transpose(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    output_padding: list[int] | None = None,
    output_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """The whole transposed convolution, cut or filled up to the size that is asked for."""
    x, w = channels_last(x), stored(w, filter_order(w.ndim))
    kernel = _check(x, w, kernel_shape)
    n, size = len(kernel), x.shape[1:-1]
    stride, dilation = numbers(strides, n, 1, "strides", 1), numbers(dilations, n, 1, "dilations", 1)
    extra = numbers(output_padding, n, 0, "output_padding", 0)
    whole = tuple((i - 1) * s + d * (k - 1) + 1 for i, s, d, k in zip(size, stride, dilation, kernel))
    if output_shape is not None:
        wanted = numbers(list(output_shape)[-n:], n, 1, "output_shape", 1)
        border = _centred(whole, extra, wanted, auto_pad)
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(i * s for i, s in zip(size, stride))
        border = _centred(whole, extra, wanted, auto_pad)
    else:
        border = borders(auto_pad, pads, size, kernel, stride, dilation)
        wanted = tuple(w + e - a - z for w, e, (a, z) in zip(whole, extra, border))
    if min(wanted) < 1:
        raise OnnxError(f"pads {border} leave nothing of an output of {whole}")
    y = transposed(x, w, stride, dilation, group)
    y = _window(y, tuple(a for a, _ in border), wanted)
    return from_channels_last(y if b is None else y + b)


def _centred(whole: tuple, extra: tuple, wanted: tuple, auto_pad: str) -> tuple[Border, ...]:
    """What to cut off so that `wanted` is left; the odd pixel goes to the end for SAME_UPPER, else to the beginning."""
    out = []
    for w, e, o in zip(whole, extra, wanted):
        total = w + e - o
        half = total // 2
        out.append((half, total - half) if auto_pad == "SAME_UPPER" else (total - half, half))
    return tuple(out)


def _window(y: Tensor, start: tuple, size: tuple) -> Tensor:
    """y [N, ..., C] from `start` on in `size` pixels; 0 where it has none."""
    before = tuple(max(-a, 0) for a in start)
    index = tuple(slice(max(a, 0), max(a + n, 0)) for a, n in zip(start, size))
    y = y[(slice(None), *index, slice(None))]
    missing = tuple((b, n - b - i) for b, n, i in zip(before, size, y.shape[1:-1]))
    return pad_spatial(y, missing)


def transposed(x: Tensor, w: Tensor, stride: tuple, dilation: tuple, groups: int) -> Tensor:
    """x [N, ..., K], w [..., C/G, K] -> [N, ..., C], nothing cut off."""
    n = len(stride)
    if math.prod(stride) > LARGEST_STEP:
        raise UnsupportedOnnx(f"strides {stride}, which leave nearly all pixels empty, are not done")
    if n == 1:
        return _drop_axis(transposed(_add_axis(x, 1), _add_axis(w, 0), (1, *stride), (1, *dilation), groups), 1)
    if n == 2:
        return ops.conv_transpose2d(x, w, stride=stride, dilation=dilation, groups=groups)
    depth = x.shape[1]
    size = (depth - 1) * stride[0] + dilation[0] * (w.shape[0] - 1) + 1
    flat = x.reshape((x.shape[0] * depth, *x.shape[2:]))
    y: Any = None
    for t in range(w.shape[0]):
        part = transposed(flat, w[t], stride[1:], dilation[1:], groups)
        part = part.reshape((x.shape[0], depth, *part.shape[1:]))
        start = t * dilation[0]
        index = (slice(None), slice(start, start + (depth - 1) * stride[0] + 1, stride[0]))
        painted = ops.take_backward(part, index=index, shape=(x.shape[0], size, *part.shape[2:]))
        y = painted if y is None else y + painted
    return y


@converter("Col2Im", constants=(1, 2))
def col2im(
    x: Any,
    image_shape: Any,
    block_shape: Any,
    *,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """Columns [N, C · block, windows] back into images, overlaps added: the transpose of cutting out windows."""
    image, block = whole_numbers(image_shape, "image_shape"), whole_numbers(block_shape, "block_shape")
    n = len(block)
    stride, dilation = numbers(strides, n, 1, "strides", 1), numbers(dilations, n, 1, "dilations", 1)
    border = borders("NOTSET", pads, image, block, stride, dilation)
    padded = tuple(i + a + z for i, (a, z) in zip(image, border))
    out = tuple((i - d * (k - 1) - 1) // s + 1 for i, d, k, s in zip(padded, dilation, block, stride))
    channels = x.shape[1] // math.prod(block)
    if x.shape[1:] != (channels * math.prod(block), math.prod(out)):
        raise OnnxError(f"columns of shape {x.shape} do not belong to images {image} and blocks {block}")
    columns = x.reshape((x.shape[0], channels, *block, *out))
    y: Any = None
    for place in np.ndindex(*block):
        index = tuple(slice(p * d, p * d + (o - 1) * s + 1, s) for p, d, o, s in zip(place, dilation, out, stride))
        part = columns[(slice(None), slice(None), *place)]
        painted = ops.take_backward(
            part, index=(slice(None), slice(None), *index), shape=(x.shape[0], channels, *padded)
        )
        y = painted if y is None else y + painted
    inside = tuple(slice(a, a + i) for i, (a, _) in zip(image, border))
    return y[(slice(None), slice(None), *inside)]
