"""Matrix products."""

from __future__ import annotations

import math

import numpy as np

from dlkit.errors import ConfigError, ShapeError
from dlkit.ops.activation import FROM_OUTPUT, activation_backward
from dlkit.ops.op import BadCall, Sample, broadcast_shape, op, unbroadcast


def check_activation(activation: str | None) -> str | None:
    """Raises ConfigError unless `activation` can be fused behind a product."""
    if activation not in (None, *FROM_OUTPUT):
        raise ConfigError(
            f"activation {activation!r} cannot be fused; expected one of {', '.join(FROM_OUTPUT)} or None"
        )
    return activation


@op("a[...,M,I], b[...,I,O] -> y[...,M,O]", formula="y = a b", slope="da = dy bᵀ, db = aᵀ dy")
class matmul:
    """Matrix product over the last two axes; leading axes broadcast. `transpose_a`, `transpose_b` read a or b
    transposed without copying it."""

    second = True
    onnx = "MatMul"

    def arguments(a, b, transpose_a=False, transpose_b=False):
        return (a, b), {"transpose_a": bool(transpose_a), "transpose_b": bool(transpose_b)}

    def shape(a, b, transpose_a, transpose_b):
        if len(a) < 2 or len(b) < 2:
            raise ShapeError(f"shapes {a} and {b} must have two axes at least; reshape a vector to (1, n) or (n, 1)")
        m, i = (a[-1], a[-2]) if transpose_a else a[-2:]
        i2, o = (b[-1], b[-2]) if transpose_b else b[-2:]
        if i != i2:
            raise ShapeError(
                f"inner sizes {i} and {i2} of shapes {a} and {b} differ"
                + (f" (transpose_a={transpose_a}, transpose_b={transpose_b})" if transpose_a or transpose_b else "")
            )
        return (*broadcast_shape(a[:-2], b[:-2]), m, o)

    def flops(a, b, transpose_a, transpose_b):
        return 2 * math.prod(matmul.unit.shape(a, b, transpose_a, transpose_b)) * a[-2 if transpose_a else -1]

    def samples(rng):
        n = rng.standard_normal
        flat = [
            Sample((n((4, 3) if ta else (3, 4)), n((5, 4) if tb else (4, 5))), {"transpose_a": ta, "transpose_b": tb})
            for ta in (False, True)
            for tb in (False, True)
        ]
        return [
            *flat,
            Sample((n((2, 3, 4)), n((2, 4, 5)))),
            Sample((n((2, 3, 4)), n((4, 1)))),
            Sample((n((1, 3, 4)), n((2, 5, 4))), {"transpose_b": True}),
            Sample((n((33, 17)), n((17, 19)))),
            Sample((n((1, 1)), n((1, 1)))),
            Sample((n((2, 0)), n((0, 3)))),
            Sample((n((0, 2)), n((2, 3)))),
        ]

    def errors():
        return [
            BadCall((np.zeros((2, 3)), np.zeros((4, 5))), {}, ShapeError, "inner sizes 3 and 4"),
            BadCall((np.zeros(3), np.zeros((3, 2))), {}, ShapeError, "two axes at least"),
        ]

    def forward(k, a, b, *, transpose_a, transpose_b):
        return k.matmul(a, b, transpose_a, transpose_b), (a, b, transpose_a, transpose_b)

    def backward(k, saved, dy, needs):
        a, b, ta, tb = saved
        da = db = None
        if needs[0]:
            da = k.matmul(b, dy, tb, True) if ta else k.matmul(dy, b, False, not tb)
            da = unbroadcast(k, da, a.shape)
        if needs[1]:
            db = k.matmul(dy, a, True, ta) if tb else k.matmul(a, dy, not ta, False)
            db = unbroadcast(k, db, b.shape)
        return da, db


@op(
    "x[...,I], w[I,O], b[O]? -> y[...,O]",
    formula="y = f(x w + b), f the fused activation or none",
    slope="dz = dy · f'(z); dx = dz wᵀ, dw = xᵀ dz, db = Σ_rows dz",
)
class linear:
    second = True
    onnx = "Gemm"

    def arguments(x, w, b=None, activation=None):
        return (x, w, b), {"activation": check_activation(activation)}

    def shape(x, w, b=None, *, activation):
        if not x or len(w) != 2 or x[-1] != w[0]:
            raise ShapeError(f"x has shape {x}, its last axis must equal the first of w, which has shape {w}")
        if b is not None and b != (w[1],):
            raise ShapeError(f"b has shape {b}, expected ({w[1]},)")
        return (*x[:-1], w[1])

    def flops(x, w, b=None, *, activation):
        return 2 * math.prod(x) * w[1]

    def samples(rng):
        n = rng.standard_normal
        # |z| is kept away from 0 by the bias where the activation has a kink
        return [
            Sample((n((5, 4)), n((4, 3)), n(3))),
            Sample((n((2, 3, 4)), n((4, 3)), None)),
            Sample((n((6, 4)), n((4, 3)), n(3)), {"activation": "tanh"}),
            Sample((n((6, 4)), n((4, 3)), n(3)), {"activation": "sigmoid"}),
            Sample((0.3 * n((6, 4)), 0.3 * n((4, 3)), np.array([3.0, -3.0, 2.5])), {"activation": "relu"}),
            Sample((n((1, 1)), n((1, 1)), n(1))),
            Sample((n((17, 33)), n((33, 18)), n(18))),
            Sample((n((0, 4)), n((4, 3)), n(3))),
        ]

    def errors():
        x = np.zeros((2, 3))
        return [
            BadCall((x, np.zeros((4, 5))), {}, ShapeError, r"last axis must equal the first of w"),
            BadCall((x, np.zeros((3, 5)), np.zeros(4)), {}, ShapeError, r"b has shape \(4,\), expected \(5,\)"),
            BadCall((x, np.zeros((3, 5))), {"activation": "gelu"}, ConfigError, "cannot be fused"),
        ]

    def forward(k, x, w, b, *, activation):
        y = k.linear_forward(_rows(k, x), w, b, activation)
        if len(x.shape) != 2:
            y = k.reshape(y, (*x.shape[:-1], w.shape[1]))
        return y, (x, w, y if activation else None, activation)

    def backward(k, saved, dy, needs):
        x, w, y, activation = saved
        dz = _rows(k, activation_backward(k, dy, y, activation))
        dx = k.matmul(dz, w, False, True) if needs[0] else None
        return (
            k.reshape(dx, tuple(x.shape)) if needs[0] and len(x.shape) != 2 else dx,
            k.matmul(_rows(k, x), dz, True, False) if needs[1] else None,
            k.sum(dz, (0,), False) if needs[2] else None,
        )


def _rows(k, x):
    """x[..., C] as a matrix with C columns."""
    return x if len(x.shape) == 2 else k.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
