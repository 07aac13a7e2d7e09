"""Convolution, pooling, normalisation and resampling: on images as ONNX has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit.onnx.emit.writer import FIRST, LAST, Call, Writer, emitter, refuse
from dlkit.tensor import Tensor


def _pads(padding: tuple) -> list[int]:
    top, bottom, left, right = padding
    return [top, left, bottom, right]


def _filters(w: Writer, x: Tensor) -> str:
    """[R, S, C/G, K] as [K, C/G, R, S]."""
    if not w.is_weight(x):
        return w.node("Transpose", [w.name(x)], perm=(3, 2, 0, 1))
    return w.weight(x, x.numpy().transpose(3, 2, 0, 1))


def _vector(w: Writer, x: Tensor | None, size: int, fill: float) -> str:
    return w.constant(np.full(size, fill, np.float32)) if x is None else w.name(x)


@emitter("conv2d")
def conv2d(w: Writer, call: Call) -> None:
    x, filters, bias = call.inputs
    a = call.attributes
    inputs = [w.name(x, FIRST), _filters(w, filters), *([] if bias is None else [w.name(bias)])]
    y = w.node(
        "Conv",
        inputs,
        kernel_shape=tuple(filters.shape[:2]),
        strides=a["stride"],
        pads=_pads(a["padding"]),
        dilations=a["dilation"],
        group=a["groups"],
    )
    w.define(call.output, w.activated(y, a["activation"]), FIRST)


@emitter("conv_transpose2d")
def conv_transpose2d(w: Writer, call: Call) -> None:
    x, filters, bias = call.inputs
    a = call.attributes
    top, bottom, left, right = a["padding"]
    natural = [
        (n - 1) * s + d * (k - 1) + 1 - p
        for n, s, d, k, p in zip(
            x.shape[1:3], a["stride"], a["dilation"], filters.shape[:2], (top + bottom, left + right)
        )
    ]
    y = w.node(
        "ConvTranspose",
        [w.name(x, FIRST), _filters(w, filters), *([] if bias is None else [w.name(bias)])],
        kernel_shape=tuple(filters.shape[:2]),
        strides=a["stride"],
        pads=_pads(a["padding"]),
        dilations=a["dilation"],
        group=a["groups"],
        output_padding=tuple(size - n for size, n in zip(a["size"], natural)),
    )
    w.define(call.output, y, FIRST)


def _pool(operator: str) -> Any:
    def emit(w: Writer, call: Call) -> None:
        a = call.attributes
        x = w.name(call.inputs[0], FIRST)
        y = w.node(operator, [x], kernel_shape=a["kernel"], strides=a["stride"], pads=_pads(a["padding"]))
        w.define(call.output, y, FIRST)

    return emit


emitter("max_pool2d")(_pool("MaxPool"))
emitter("avg_pool2d")(_pool("AveragePool"))


def _means(n: int, out: int) -> np.ndarray:
    """[out, n]: row i takes the mean over places ⌊i·n/out⌋ to ⌈(i+1)·n/out⌉ - 1."""
    means = np.zeros((out, n))
    for i in range(out):
        first, end = i * n // out, -(-(i + 1) * n // out)
        means[i, first:end] = 1 / (end - first)
    return means


@emitter("adaptive_avg_pool2d")
def adaptive_avg_pool2d(w: Writer, call: Call) -> None:
    x, size = call.inputs[0], call.attributes["size"]
    name = w.name(x, FIRST)
    if size == (1, 1):
        w.define(call.output, w.node("GlobalAveragePool", [name]), FIRST)
        return
    if any(n % o for n, o in zip(x.shape[1:3], size)):  # regions that overlap: their means as two products
        rows, columns = (_means(n, o) for n, o in zip(x.shape[1:3], size))
        tall = w.node("MatMul", [w.constant(rows.astype(x.dtype)), name])
        w.define(call.output, w.node("MatMul", [tall, w.constant(columns.T.astype(x.dtype))]), FIRST)
        return
    step = tuple(n // o for n, o in zip(x.shape[1:3], size))
    w.define(call.output, w.node("AveragePool", [name], kernel_shape=step, strides=step), FIRST)


@emitter("batch_norm_inference")
def batch_norm(w: Writer, call: Call) -> None:
    x, gamma, beta, mean, var, residual = call.inputs
    a = call.attributes
    form = FIRST if x.ndim == 4 else LAST
    if x.ndim not in (2, 4):
        raise refuse("batch_norm_inference", f"an input of {x.ndim} axes")
    statistics = [w.name(v) for v in (gamma, beta, mean, var)]
    y = w.node("BatchNormalization", [w.name(x, form), *statistics], epsilon=a["eps"])
    if residual is not None:
        y = w.node("Add", [y, w.name(residual, form)])
    w.define(call.output, w.activated(y, a["activation"], a["slope"]), form)


@emitter("instance_norm")
def instance_norm(w: Writer, call: Call) -> None:
    x, gamma, beta = call.inputs
    if x.ndim != 4:
        raise refuse("instance_norm", f"an input of {x.ndim} axes")
    c = x.shape[-1]
    inputs = [w.name(x, FIRST), _vector(w, gamma, c, 1.0), _vector(w, beta, c, 0.0)]
    w.define(call.output, w.node("InstanceNormalization", inputs, epsilon=call.attributes["eps"]), FIRST)


@emitter("group_norm")
def group_norm(w: Writer, call: Call) -> None:
    x, gamma, beta = call.inputs
    if x.ndim not in (2, 4):
        raise refuse("group_norm", f"an input of {x.ndim} axes")
    form, c = (FIRST if x.ndim == 4 else LAST), x.shape[-1]
    inputs = [w.name(x, form), _vector(w, gamma, c, 1.0), _vector(w, beta, c, 0.0)]
    a = call.attributes
    w.define(call.output, w.node("GroupNormalization", inputs, epsilon=a["eps"], num_groups=a["groups"]), form)


@emitter("layer_norm")
def layer_norm(w: Writer, call: Call) -> None:
    x, gamma, beta = call.inputs
    inputs = [w.name(x), _vector(w, gamma, x.shape[-1], 1.0), *([] if beta is None else [w.name(beta)])]
    w.define(call.output, w.node("LayerNormalization", inputs, axis=-1, epsilon=call.attributes["eps"]))


def _resized(w: Writer, call: Call, size: tuple, **how: str) -> None:
    x = call.inputs[0]
    scales = [1.0, 1.0, *(o / n for o, n in zip(size, x.shape[1:3]))]
    if all(float(s).is_integer() for s in scales):
        inputs = [w.name(x, FIRST), "", w.constant(np.array(scales, np.float32))]
        y = w.node("Resize", inputs, **how)
    else:
        y = w.node("Resize", [w.name(x, FIRST), "", "", w.integers(*size)], axes=(2, 3), **how)
    w.define(call.output, y, FIRST)


@emitter("upsample_nearest")
def upsample_nearest(w: Writer, call: Call) -> None:
    size = tuple(n * s for n, s in zip(call.inputs[0].shape[1:3], call.attributes["scale"]))
    _resized(w, call, size, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")


@emitter("upsample_bilinear")
def upsample_bilinear(w: Writer, call: Call) -> None:
    corners = "align_corners" if call.attributes["align_corners"] else "half_pixel"
    _resized(w, call, call.attributes["size"], mode="linear", coordinate_transformation_mode=corners)
