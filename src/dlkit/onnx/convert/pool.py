"""Pooling in any number of spatial axes.

Two axes without dilation run on dlkit's kernels. Everything else is composed from what each place of the window sees
(window.taps), which is exact and differentiable.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from dlkit import ops
from dlkit.errors import OnnxError, UnsupportedOnnx
from dlkit.onnx.convert.registry import Context, converter
from dlkit.onnx.convert.window import Border, borders, numbers, pad_spatial, taps
from dlkit.onnx.layout import channels_last, from_channels_last, image_order, permute
from dlkit.onnx.values import flat, whole_numbers
from dlkit.tensor import Tensor


def _sizes(
    size: tuple,
    kernel: tuple,
    stride: tuple,
    border: tuple[Border, ...],
    dilation: tuple,
    ceil_mode: int,
    auto_pad: str,
) -> tuple[int, ...]:
    """How many windows there are along each axis. With ceil_mode the last one may reach over the border, but it must
    begin inside the image or the border before it."""
    out = []
    for n, k, s, (a, z), d in zip(size, kernel, stride, border, dilation):
        room = n + a + z - d * (k - 1) - 1
        if room < 0 and not ceil_mode:
            raise OnnxError(f"a window of {d * (k - 1) + 1} does not fit into {n} pixels with pads {a} + {z}")
        count = (-(-room // s) if ceil_mode and auto_pad == "NOTSET" else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + a:
            count -= 1
        if count < 1:
            raise OnnxError(f"a window of {d * (k - 1) + 1} does not fit into {n} pixels with pads {a} + {z}")
        out.append(count)
    return tuple(out)


def _reaching(size: tuple, kernel: tuple, stride: tuple, border: tuple, dilation: tuple, out: tuple) -> tuple:
    """The border that the last windows need, at least the one that is given."""
    return tuple(
        (a, max(z, (o - 1) * s + d * (k - 1) + 1 - n - a))
        for n, k, s, (a, z), d, o in zip(size, kernel, stride, border, dilation, out)
    )


def _is_plain(kernel: tuple, border: tuple, dilation: tuple, x: Any) -> bool:
    """Can dlkit's own pooling take it?"""
    fits = all(max(edge) < k for edge, k in zip(border, kernel))
    return isinstance(x, Tensor) and len(kernel) == 2 and set(dilation) == {1} and fits


@converter("MaxPool", layout="image")
def max_pool(
    x: Any,
    *,
    context: Context,
    kernel_shape: list[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    storage_order: int = 0,
    strides: list[int] | None = None,
) -> Any:
    x = channels_last(x)
    n = x.ndim - 2
    kernel, stride = numbers(kernel_shape, n, 1, "kernel_shape", 1), numbers(strides, n, 1, "strides", 1)
    dilation = numbers(dilations, n, 1, "dilations", 1)
    border = borders(auto_pad, pads, x.shape[1:-1], kernel, stride, dilation)
    out = _sizes(x.shape[1:-1], kernel, stride, border, dilation, ceil_mode, auto_pad)
    reach = _reaching(x.shape[1:-1], kernel, stride, border, dilation, out)
    if len(context.outputs) > 1 and context.outputs[1]:
        index = _positions(flat(x), kernel, stride, dilation, reach, out, storage_order)
        y = ops.gather(_as_rows(x), _as_rows(index[1]), axis=1) if isinstance(x, Tensor) else index[0]
        return _nchw(y.reshape(index[0].shape)), _nchw(index[2])
    if _is_plain(kernel, reach, dilation, x):
        y = ops.max_pool2d(x, kernel=kernel, stride=stride, padding=(*reach[0], *reach[1]))
        return from_channels_last(y[:, : out[0], : out[1]] if y.shape[1:3] != out else y)
    if isinstance(x, Tensor):
        seen = taps(pad_spatial(x, reach, -np.inf), kernel, stride, dilation, out)
        return from_channels_last(reduce(ops.maximum, (part for _, part in seen)))
    return _nchw(_positions(x, kernel, stride, dilation, reach, out, 0)[0])


def _nchw(y: Any) -> Any:
    return permute(y, tuple(int(i) for i in np.argsort(image_order(y.ndim))))


def _as_rows(x: Any) -> Any:
    """[N, ..., C] as [N, everything else]."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def _positions(
    x: np.ndarray, kernel: tuple, stride: tuple, dilation: tuple, border: tuple, out: tuple, storage_order: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(maxima, where in the image [..., C] each was found, where ONNX says it was: in the whole tensor, [N, C, ...])."""
    size, channels = x.shape[1:-1], x.shape[-1]
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    padded = np.pad(x, ((0, 0), *border, (0, 0)), constant_values=lowest)
    best = np.full((x.shape[0], *out, channels), lowest, x.dtype)
    spot = np.zeros(best.shape, np.int64)
    said = np.zeros(best.shape, np.int64)
    for place, seen in taps(padded, kernel, stride, dilation, out):
        at = np.ix_(*(np.arange(o) * s + p * d - a for o, s, p, d, (a, _) in zip(out, stride, place, dilation, border)))
        inside = np.ones(out, bool)
        for i, n in zip(at, size):
            inside = inside & (i >= 0) & (i < n)
        clipped = tuple(np.broadcast_to(np.clip(i, 0, n - 1), out) for i, n in zip(at, size))
        index = _flat_index(clipped, size, 0)
        better = inside[..., None] & ((seen > best) | (place == (0,) * len(place)))
        first = inside[..., None] & (best == lowest) & (spot == 0) & (seen == lowest)
        better = better | first
        best = np.where(better, seen, best)
        spot = np.where(better, index[..., None], spot)
        said = np.where(better, _flat_index(clipped, size, storage_order)[..., None], said)
    whole = (np.arange(x.shape[0])[:, None] * channels + np.arange(channels)) * math.prod(size)
    lead = whole.reshape((x.shape[0],) + (1,) * len(size) + (channels,))
    return best, spot * channels + np.arange(channels), said + lead


def _flat_index(at: tuple, size: tuple, column_major: int) -> np.ndarray:
    return np.asarray(np.ravel_multi_index(at, size, order="F" if column_major else "C"))


@converter("AveragePool", layout="image")
def average_pool(
    x: Any,
    *,
    kernel_shape: list[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    x = _floats(channels_last(x))
    n = x.ndim - 2
    kernel, stride = numbers(kernel_shape, n, 1, "kernel_shape", 1), numbers(strides, n, 1, "strides", 1)
    dilation = numbers(dilations, n, 1, "dilations", 1)
    size = x.shape[1:-1]
    border = borders(auto_pad, pads, size, kernel, stride, dilation)
    out = _sizes(size, kernel, stride, border, dilation, ceil_mode, auto_pad)
    reach = _reaching(size, kernel, stride, border, dilation, out)
    if _is_plain(kernel, reach, dilation, x) and (not count_include_pad or not any(map(any, reach))):
        y = ops.avg_pool2d(x, kernel=kernel, stride=stride, padding=(*reach[0], *reach[1]))
        return from_channels_last(y[:, : out[0], : out[1]] if y.shape[1:3] != out else y)
    total = _sum_of_windows(x, kernel, stride, dilation, reach, out)
    count: Any = 1.0
    for i in range(n):  # how many pixels of each window count: a product over the axes
        a = border[i][0]
        line = np.zeros(sum(reach[i]) + size[i])
        line[slice(0, a + size[i] + border[i][1]) if count_include_pad else slice(a, a + size[i])] = 1
        at = np.arange(out[i])[:, None] * stride[i] + np.arange(kernel[i]) * dilation[i]
        along = (1,) * i + (out[i],) + (1,) * (n - i - 1)
        count = count * line[at].sum(1).reshape(along)
    return from_channels_last(total / Tensor(np.asarray(np.maximum(count, 1), x.dtype)[None, ..., None]))


def _sum_of_windows(x: Any, kernel: tuple, stride: tuple, dilation: tuple, border: tuple, out: tuple) -> Any:
    seen = taps(pad_spatial(x, border), kernel, stride, dilation, out)
    return reduce(lambda a, b: a + b, (part for _, part in seen))


def _floats(x: Any) -> Tensor:
    if not isinstance(x, Tensor):
        raise UnsupportedOnnx(f"an average of {x.dtype} is not done; float32 or float64 is")
    return x


@converter("LpPool", layout="image")
def lp_pool(
    x: Any,
    *,
    kernel_shape: list[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    p: int = 2,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """(Σ |x|^p)^(1/p) over each window."""
    x = _floats(channels_last(x))
    n = x.ndim - 2
    kernel, stride = numbers(kernel_shape, n, 1, "kernel_shape", 1), numbers(strides, n, 1, "strides", 1)
    dilation = numbers(dilations, n, 1, "dilations", 1)
    border = borders(auto_pad, pads, x.shape[1:-1], kernel, stride, dilation)
    out = _sizes(x.shape[1:-1], kernel, stride, border, dilation, ceil_mode, auto_pad)
    reach = _reaching(x.shape[1:-1], kernel, stride, border, dilation, out)
    total = _sum_of_windows(ops.abs(x) ** p, kernel, stride, dilation, reach, out)
    return from_channels_last(total ** (1.0 / p))


def _spatial(x: Any) -> tuple[int, ...]:
    if x.ndim < 3:
        raise OnnxError(f"x must be images [N, C, ...]; it has shape {x.shape}")
    return tuple(range(1, x.ndim - 1))


@converter("GlobalAveragePool", layout="image")
def global_average_pool(x: Any) -> Any:
    x = channels_last(x)
    y = ops.adaptive_avg_pool2d(x, size=1) if x.ndim == 4 else ops.mean(x, axis=_spatial(x), keepdims=True)
    return from_channels_last(y)


@converter("GlobalMaxPool", layout="image")
def global_max_pool(x: Any) -> Any:
    x = channels_last(x)
    return from_channels_last(ops.max(x, axis=_spatial(x), keepdims=True))


@converter("GlobalLpPool", layout="image")
def global_lp_pool(x: Any, *, p: int = 2) -> Any:
    x = channels_last(x)
    return from_channels_last(ops.sum(ops.abs(x) ** p, axis=_spatial(x), keepdims=True) ** (1.0 / p))


@converter("MaxUnpool", constants=(1, 2))
def max_unpool(
    x: Any,
    index: np.ndarray,
    output_shape: Any = None,
    *,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    """Each element back where its maximum was, zeros elsewhere; `index` counts in the unpadded default output."""
    n = x.ndim - 2
    kernel, stride = numbers(kernel_shape, n, 1, "kernel_shape", 1), numbers(strides, n, 1, "strides", 1)
    border = borders("NOTSET", pads, x.shape[2:], kernel, stride, (1,) * n)
    natural = tuple((i - 1) * s + k - a - z for i, s, k, (a, z) in zip(x.shape[2:], stride, kernel, border))
    shape = (*x.shape[:2], *natural)
    wanted = shape if output_shape is None else whole_numbers(output_shape, "output_shape")
    if len(wanted) != len(shape) or any(w < s for w, s in zip(wanted, shape)) or min(natural) < 1:
        raise OnnxError(f"output_shape {wanted} must be at least {shape}")
    size = math.prod(shape)
    if index.shape != x.shape or (index.size and not 0 <= index.min() <= index.max() < size):
        raise OnnxError(f"indices of shape {index.shape} must be that of x, {x.shape}, and lie within {shape}")
    y = ops.take_backward(x.reshape(-1), index=(index.reshape(-1),), shape=(size,)).reshape(shape)
    return ops.pad(y, widths=tuple((0, w - s) for w, s in zip(wanted, shape)))
