"""Reductions over axes. `axis` is None (all), an int or a tuple; reduced axes vanish unless keepdims."""

from __future__ import annotations

import builtins
import math

import numpy as np

from dlkit.errors import ShapeError
from dlkit.ops.op import BadCall, Sample, op, spread


def normalise_axes(axis, n: int) -> tuple[int, ...]:
    """Sorted, non-negative axes of an input with n axes.  Raises : ShapeError."""
    axes = tuple(range(n)) if axis is None else (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    for a in axes:
        if not -n <= a < n:
            raise ShapeError(f"axis (={a}) is outside an input with {n} axes")
    result = tuple(sorted({int(a) % n for a in axes}))
    if len(result) != len(axes):
        raise ShapeError(f"axis (={axes}) names an axis twice")
    return result


def reduced(x: tuple, axes: tuple, keepdims: bool) -> tuple:
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(x))
    return tuple(n for i, n in enumerate(x) if i not in axes)


def _arguments(x, axis=None, keepdims=False):
    n = len(x.shape) if hasattr(x, "shape") else np.ndim(x)
    return (x,), {"axes": normalise_axes(axis, n), "keepdims": bool(keepdims)}


def _shape(x, axes, keepdims):
    return reduced(x, axes, keepdims)


def _need_elements(x: tuple, axes: tuple) -> None:
    if math.prod(x[a] for a in axes) == 0:
        raise ShapeError(f"there is no maximum over the axes {axes} of an empty input of shape {x}")


def _count(x: tuple, axes: tuple) -> int:
    return math.prod(x[a] for a in axes)


def _samples(rng: np.random.Generator) -> list[Sample]:
    n = rng.standard_normal
    return [
        Sample((n((3, 4)),)),
        Sample((n((3, 4)),), {"axis": 0}),
        Sample((n((2, 3, 4)),), {"axis": (0, 2)}),
        Sample((n((2, 3, 4)),), {"axis": -1, "keepdims": True}),
        Sample((n(()),)),
        Sample((n((1, 5)),), {"axis": 0}),
    ]


def _errors() -> list[BadCall]:
    return [
        BadCall((np.zeros((2, 3)),), {"axis": 2}, ShapeError, r"axis \(=2\) is outside"),
        BadCall((np.zeros((2, 3)),), {"axis": (0, -2)}, ShapeError, "names an axis twice"),
    ]


def _spread(k, dy, x: tuple, axes: tuple):
    """dy, one number for each reduced group, given back to every element of the group."""
    return spread(k, k.reshape(dy, reduced(x, axes, True)), x)


@op("x[...] -> y[...]", formula="y = Σ x", slope="dx = dy, spread over the summed axes")
class sum:
    second = True
    onnx = "ReduceSum"
    arguments, shape, errors = _arguments, _shape, _errors

    def samples(rng):
        return [*_samples(rng), Sample((np.zeros((0, 3)),), {"axis": 0}, "empty")]

    def flops(x, axes, keepdims):
        return math.prod(x)

    def forward(k, x, *, axes, keepdims):
        return k.sum(x, axes, keepdims), (tuple(x.shape), axes)

    def backward(k, saved, dy):
        return (_spread(k, dy, *saved),)


@op("x[...] -> y[...]", formula="y = Σ x / n", slope="dx = dy / n")
class mean:
    real = True
    second = True
    onnx = "ReduceMean"
    arguments, shape, samples, errors = _arguments, _shape, _samples, _errors

    def flops(x, axes, keepdims):
        return math.prod(x)

    def forward(k, x, *, axes, keepdims):
        n = _count(x.shape, axes)
        return k.multiply(k.sum(x, axes, keepdims), 1.0 / builtins.max(n, 1)), (tuple(x.shape), axes)

    def backward(k, saved, dy):
        x, axes = saved
        return (_spread(k, k.multiply(dy, 1.0 / builtins.max(_count(x, axes), 1)), x, axes),)


@op("x[...] -> y[...]", formula="y = Σ (x - mean)² / n (biased)", slope="dx = dy · 2 (x - mean) / n")
class var:
    real = True
    second = True
    arguments, shape, samples, errors = _arguments, _shape, _samples, _errors

    def flops(x, axes, keepdims):
        return 4 * math.prod(x)

    def forward(k, x, *, axes, keepdims):
        centred = _centred(k, x, axes)
        y = k.multiply(
            k.sum(k.multiply(centred, centred), axes, keepdims), 1.0 / builtins.max(_count(x.shape, axes), 1)
        )
        return y, (x, axes)

    def backward(k, saved, dy):
        x, axes = saved
        scaled = _spread(k, k.multiply(dy, 2.0 / builtins.max(_count(x.shape, axes), 1)), tuple(x.shape), axes)
        return (k.multiply(_centred(k, x, axes), scaled),)


def _centred(k, x, axes):
    return k.subtract(x, k.multiply(k.sum(x, axes, True), 1.0 / builtins.max(_count(x.shape, axes), 1)))


@op("x[...] -> y[...]", formula="y = max x", slope="dx = dy where x is the maximum (shared equally among ties)")
class max:
    onnx = "ReduceMax"
    arguments = _arguments

    def shape(x, axes, keepdims):
        _need_elements(x, axes)
        return reduced(x, axes, keepdims)

    def errors():
        empty = [BadCall((np.zeros(s),), {"axis": 0}, ShapeError, "there is no maximum") for s in ((0, 2), (0, 0))]
        return [*_errors(), *empty]

    def samples(rng):
        def distinct(shape):
            return rng.permutation(math.prod(shape)).reshape(shape).astype(float)

        return [
            Sample((distinct((3, 4)),)),
            Sample((distinct((3, 4)),), {"axis": 0}),
            Sample((distinct((2, 3, 4)),), {"axis": (0, 2)}),
            Sample((distinct((2, 3)),), {"axis": 1, "keepdims": True}),
        ]

    def flops(x, axes, keepdims):
        return math.prod(x)

    def forward(k, x, *, axes, keepdims):
        y = k.max(x, axes, keepdims)
        return y, (x, y, axes)

    def backward(k, saved, dy):
        x, y, axes = saved
        kept = reduced(x.shape, axes, True)
        mask = k.cast(k.equal(x, k.reshape(y, kept)), x.dtype)
        share = k.divide(k.reshape(dy, kept), k.sum(mask, axes, True))
        return (k.multiply(mask, share),)


@op("x[...] -> y[...] int64", formula="y = the first index of max x along axis")
class argmax:
    differentiable = False
    result = "int64"
    onnx = "ArgMax"

    def arguments(x, axis=-1):
        n = len(x.shape) if hasattr(x, "shape") else np.ndim(x)
        return (x,), {"axis": normalise_axes(axis, n)[0]}

    def shape(x, axis):
        _need_elements(x, (axis,))
        return reduced(x, (axis,), False)

    def samples(rng):
        return [Sample((rng.standard_normal((3, 4)),), {"axis": a}) for a in (0, 1)]

    def errors():
        return [BadCall((np.zeros((2, 3)),), {"axis": 5}, ShapeError, r"axis \(=5\) is outside")]

    def forward(k, x, *, axis):
        return k.argmax(x, axis), ()
