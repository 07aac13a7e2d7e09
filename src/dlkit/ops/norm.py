"""Normalisation. Statistics are biased (divided by n), as in the papers; γ and β act per channel, the last axis."""

from __future__ import annotations

import math

import numpy as np

from dlkit.errors import ConfigError, ShapeError
from dlkit.ops.op import BadCall, Sample, op


def _check_scale(x: tuple, gamma: tuple | None, beta: tuple | None) -> None:
    for name, v in (("gamma", gamma), ("beta", beta)):
        if v is not None and v != x[-1:]:
            raise ShapeError(f"{name} has shape {v}, expected {x[-1:]} (the channels of x {x})")


def _rows(x: tuple) -> tuple[int, int]:
    return math.prod(x[:-1]), x[-1]


def _fused(eps: float, activation: str | None, slope: float) -> dict:
    if activation not in (None, "relu", "relu6", "leaky_relu"):
        raise ConfigError(
            f"activation {activation!r} cannot be fused with batch norm; expected 'relu', 'relu6', 'leaky_relu' or None"
        )
    if not slope >= 0:
        raise ConfigError(f"slope (={slope}) must not be negative, or the sign of y would not tell where x was cut off")
    return {"eps": float(eps), "activation": activation, "slope": float(slope)}


def _check_residual(x: tuple, residual: tuple | None) -> None:
    if residual is not None and residual != x:
        raise ShapeError(f"residual has shape {residual}, expected that of x, {x}")


def _as_rows(k, rows: tuple, *arrays):
    return tuple(None if a is None else k.reshape(a, rows) for a in arrays)


@op(
    "x[...,C], gamma[C], beta[C], residual[...,C]? -> y[...,C], mean[C], inv_std[C]",
    formula="y = f(z), z = γ x̂ + β + residual, x̂ = (x - μ) / √(σ² + eps), μ and σ² over all axes but the last",
    slope="dz = dy · f'(z); dγ = Σ dz x̂, dβ = Σ dz, dx = γ / √(σ² + eps) · (dz - dβ/m - x̂ dγ/m), dresidual = dz",
    source="Ioffe & Szegedy 2015, Batch normalization, algorithm 1; the residual: He et al. 2016",
)
class batch_norm:
    """Training mode. Returns (y, mean, inv_std); the last two are plain arrays for running averages.

    residual : added before the activation f, which is None, "relu", "relu6" (cut off above 6) or "leaky_relu" with `slope` below 0.
    """

    real = True
    onnx = "BatchNormalization"
    auxiliary = 2

    def arguments(x, gamma, beta, residual=None, eps=1e-5, activation=None, slope=0.01):
        return (x, gamma, beta, residual), _fused(eps, activation, slope)

    def shape(x, gamma, beta, residual, eps, activation, slope):
        if len(x) < 2 or _rows(x)[0] == 0:
            raise ShapeError(f"batch statistics need at least one row of channels; x has shape {x}")
        _check_scale(x, gamma, beta)
        _check_residual(x, residual)
        return x

    def flops(x, gamma, beta, residual, eps, activation, slope):
        return (8 if residual is None else 9) * math.prod(x)

    def samples(rng):
        n = rng.standard_normal
        relu, leaky = {"activation": "relu"}, {"activation": "leaky_relu", "slope": 0.2}

        def clear(c, *levels):  # γ x̂ is small beside β: no element near a kink
            return 0.2 * n(c), np.resize(levels or [2.0, -2.0], c)

        return [
            Sample((n((6, 3)), n(3), n(3))),
            Sample((2 * n((2, 4, 3, 5)) + 1, n(5), n(5)), {"eps": 1e-3}),
            Sample((n((9, 1)), n(1), n(1))),
            Sample((n((3, 5, 2, 17)), n(17), n(17))),
            Sample((n((4, 3, 2)), *clear(2)), relu),
            Sample((n((4, 3, 5)), *clear(5)), leaky),
            Sample((n((2, 3, 4)), n(4), n(4), n((2, 3, 4)))),
            Sample((n((5, 3, 2)), *clear(2), 0.1 * n((5, 3, 2))), relu),
            Sample((n((4, 33)), *clear(33), 0.1 * n((4, 33))), leaky),
            Sample((n((4, 3, 5)), *clear(5, 3.0, 9.0, -3.0)), {"activation": "relu6"}),
            Sample((n((5, 3, 3)), *clear(3, 3.0, 9.0, -3.0), 0.1 * n((5, 3, 3))), {"activation": "relu6"}),
        ]

    def errors():
        x, v = np.zeros((4, 3)), np.zeros(3)
        return [
            BadCall((x, np.zeros(2), v), {}, ShapeError, r"gamma has shape \(2,\), expected \(3,\)"),
            BadCall((np.zeros((0, 3)), v, v), {}, ShapeError, "at least one row"),
            BadCall((x, v, v), {"activation": "tanh"}, ConfigError, "cannot be fused with batch norm"),
            BadCall((x, v, v, v), {}, ShapeError, r"residual has shape \(3,\), expected that of x, \(4, 3\)"),
            BadCall((x, v, v), {"slope": -0.1}, ConfigError, r"slope \(=-0.1\) must not be negative"),
        ]

    def forward(k, x, gamma, beta, residual, *, eps, activation, slope):
        rows, more = _as_rows(k, _rows(x.shape), x, residual)
        y, mean, inv_std = k.batch_norm_forward(rows, gamma, beta, more, eps, activation, slope)
        y = k.reshape(y, tuple(x.shape))
        kept = None if residual is None or activation is None else y
        return y, (x, kept, gamma, beta, mean, inv_std, activation, slope, residual is not None), mean, inv_std

    def backward(k, saved, dy):
        x, y, gamma, beta, mean, inv_std, activation, slope, residual = saved
        shape = tuple(x.shape)
        dx, dgamma, dbeta, dz = k.batch_norm_backward(
            *_as_rows(k, _rows(shape), dy, x, y), gamma, beta, mean, inv_std, activation, slope, residual
        )
        return k.reshape(dx, shape), dgamma, dbeta, k.reshape(dz, shape) if residual else None


@op(
    "x[...,C], gamma[C], beta[C], mean[C], var[C], residual[...,C]? -> y[...,C]",
    formula="y = f(z), z = γ (x - mean) / √(var + eps) + β + residual",
    slope="dx = dz · γ / √(var + eps), dγ = Σ dz (x - mean) / √(var + eps), dβ = Σ dz, dresidual = dz",
    source="Ioffe & Szegedy 2015, algorithm 2",
)
class batch_norm_inference:
    """Inference mode: the running mean and variance are constants. Residual and activation as in batch_norm."""

    real = True
    nondiff = (3, 4)
    onnx = "BatchNormalization"

    def arguments(x, gamma, beta, mean, var, residual=None, eps=1e-5, activation=None, slope=0.01):
        return (x, gamma, beta, mean, var, residual), _fused(eps, activation, slope)

    def shape(x, gamma, beta, mean, var, residual, eps, activation, slope):
        _check_scale(x, gamma, beta)
        if mean != x[-1:] or var != x[-1:]:
            raise ShapeError(f"mean and var have shapes {mean} and {var}, expected {x[-1:]}")
        _check_residual(x, residual)
        return x

    def flops(x, gamma, beta, mean, var, residual, eps, activation, slope):
        return (2 if residual is None else 3) * math.prod(x)

    def samples(rng):
        n = rng.standard_normal
        relu, leaky = {"activation": "relu"}, {"activation": "leaky_relu", "slope": 0.2}
        far = np.array([4.0, -4.0])

        def statistics(c):
            return n(c), rng.random(c) + 0.5

        return [
            Sample((n((6, 3)), n(3), n(3), *statistics(3))),
            Sample((n((2, 3, 3, 17)), n(17), n(17), *statistics(17)), {"eps": 1e-3}),
            Sample((0.1 * n((4, 2)), 0.2 * n(2), far, *statistics(2)), relu),
            Sample((n((4, 3)), n(3), n(3), *statistics(3), n((4, 3)))),
            Sample((0.1 * n((4, 2)), 0.2 * n(2), far, *statistics(2), 0.1 * n((4, 2))), leaky),
            Sample((0.1 * n((4, 2)), 0.2 * n(2), 2 * far + 1, *statistics(2)), {"activation": "relu6"}),
        ]

    def errors():
        x, v = np.zeros((4, 3)), np.zeros(3)
        return [
            BadCall((x, v, v, np.zeros(2), v), {}, ShapeError, "mean and var have shapes"),
            BadCall((x, v, v, v, v, v), {}, ShapeError, "expected that of x"),
        ]

    def forward(k, x, gamma, beta, mean, var, residual, *, eps, activation, slope):
        rows, more = _as_rows(k, _rows(x.shape), x, residual)
        y = k.batch_norm_inference(rows, gamma, beta, mean, var, more, eps, activation, slope)
        y = k.reshape(y, tuple(x.shape))
        return y, (x, y if activation else None, gamma, mean, var, eps, activation, slope)

    def backward(k, saved, dy, needs):
        x, y, gamma, mean, var, eps, activation, slope = saved
        dz = dy
        if activation == "relu":
            dz = k.relu_backward(dy, y)
        elif activation == "leaky_relu":
            dz = k.leaky_relu_backward(dy, y, slope)  # y has the sign of z
        elif activation == "relu6":
            dz = k.where(k.greater(6.0, y), k.relu_backward(dy, y), 0.0)
        inv_std = k.divide(1.0, k.sqrt(k.add(var, eps)))
        axes = tuple(range(len(x.shape) - 1))
        x_hat = k.multiply(k.subtract(x, mean), inv_std) if needs[1] else None
        return (
            k.multiply(dz, k.multiply(gamma, inv_std)) if needs[0] else None,
            k.sum(k.multiply(dz, x_hat), axes, False) if needs[1] else None,
            k.sum(dz, axes, False) if needs[2] else None,
            None,
            None,
            dz,
        )


def _standardized(k, x, gamma, beta, grouped: tuple, axes: tuple, eps: float):
    """y = γ x̂ + β with x̂ standardised over `axes` of x seen in shape `grouped`."""
    x_hat, inv_std = k.standardize_forward(k.reshape(x, grouped), axes, eps)
    flat = k.reshape(x_hat, tuple(x.shape))
    y = flat if gamma is None else k.multiply(flat, gamma)
    return y if beta is None else k.add(y, beta), (x_hat, inv_std, gamma, tuple(x.shape), axes)


def _standardized_backward(k, saved, dy, needs):
    x_hat, inv_std, gamma, shape, axes = saved
    lead = tuple(range(len(shape) - 1))
    dx_hat = dy if gamma is None else k.multiply(dy, gamma)
    dx = k.standardize_backward(k.reshape(dx_hat, tuple(x_hat.shape)), x_hat, inv_std, axes) if needs[0] else None
    return (
        None if dx is None else k.reshape(dx, shape),
        k.sum(k.multiply(dy, k.reshape(x_hat, shape)), lead, False) if needs[1] else None,
        k.sum(dy, lead, False) if needs[2] else None,
    )


@op(
    "x[...,C], gamma[C]?, beta[C]? -> y[...,C]",
    formula="y = γ (x - μ) / √(σ² + eps) + β, μ and σ² over the last axis",
    slope="dx = (dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)) / √(σ² + eps), dx̂ = γ dy",
    source="Ba et al. 2016, Layer normalization",
)
class layer_norm:
    real = True
    onnx = "LayerNormalization"

    def arguments(x, gamma=None, beta=None, eps=1e-5):
        return (x, gamma, beta), {"eps": float(eps)}

    def shape(x, gamma, beta, eps):
        if not x or x[-1] == 0:
            raise ShapeError(f"x of shape {x} has no channels to normalise over")
        _check_scale(x, gamma, beta)
        return x

    def flops(x, gamma, beta, eps):
        return 8 * math.prod(x)

    def samples(rng):
        n = rng.standard_normal
        return [
            Sample((n((4, 5)), n(5), n(5))),
            Sample((n((2, 3, 4)), None, None)),
            Sample((n((2, 2, 2, 7)), n(7), n(7))),
        ]

    def errors():
        return [BadCall((np.zeros((4, 3)), np.zeros(2), None), {}, ShapeError, r"gamma has shape \(2,\)")]

    def forward(k, x, gamma, beta, *, eps):
        return _standardized(k, x, gamma, beta, tuple(x.shape), (len(x.shape) - 1,), eps)

    def backward(k, saved, dy, needs):
        return _standardized_backward(k, saved, dy, needs)


@op(
    "x[N,...,C], gamma[C]?, beta[C]? -> y[N,...,C]",
    formula="y = γ (x - μ) / √(σ² + eps) + β, μ and σ² per image and group of C/G channels",
    slope="as layer_norm, over each group",
    source="Wu & He 2018, Group normalization",
)
class group_norm:
    real = True
    onnx = "GroupNormalization"

    def arguments(x, gamma=None, beta=None, groups=1, eps=1e-5):
        return (x, gamma, beta), {"groups": groups, "eps": float(eps)}

    def shape(x, gamma, beta, groups, eps):
        if len(x) < 2:
            raise ShapeError(f"x must be [N, ..., C]; it has shape {x}")
        if groups < 1 or x[-1] % groups:
            raise ShapeError(f"channels (={x[-1]}) must be divisible by groups (={groups})")
        _check_scale(x, gamma, beta)
        return x

    def flops(x, gamma, beta, groups, eps):
        return 8 * math.prod(x)

    def samples(rng):
        n = rng.standard_normal
        return [Sample((n((2, 3, 4, 6)), n(6), n(6)), {"groups": g}) for g in (1, 2, 3)] + [
            Sample((n((3, 8)), None, None), {"groups": 2})
        ]

    def errors():
        return [
            BadCall(
                (np.zeros((2, 4)),), {"groups": 3}, ShapeError, r"channels \(=4\) must be divisible by groups \(=3\)"
            )
        ]

    def forward(k, x, gamma, beta, *, groups, eps):
        n, c = x.shape[0], x.shape[-1]
        grouped = (n, math.prod(x.shape[1:-1]), groups, c // groups)
        return _standardized(k, x, gamma, beta, grouped, (1, 3), eps)

    def backward(k, saved, dy, needs):
        return _standardized_backward(k, saved, dy, needs)


@op(
    "x[N,...,C], gamma[C]?, beta[C]? -> y[N,...,C]",
    formula="y = γ (x - μ) / √(σ² + eps) + β, μ and σ² per image and channel",
    slope="as layer_norm, over each image's pixels",
    source="Ulyanov et al. 2016, Instance normalization",
)
class instance_norm:
    real = True
    onnx = "InstanceNormalization"

    def arguments(x, gamma=None, beta=None, eps=1e-5):
        return (x, gamma, beta), {"eps": float(eps)}

    def shape(x, gamma, beta, eps):
        if len(x) < 3 or math.prod(x[1:-1]) == 0:
            raise ShapeError(f"x must be [N, ..., C] with pixels to normalise over; it has shape {x}")
        _check_scale(x, gamma, beta)
        return x

    def flops(x, gamma, beta, eps):
        return 8 * math.prod(x)

    def samples(rng):
        n = rng.standard_normal
        return [Sample((n((2, 4, 3, 5)), n(5), n(5))), Sample((n((1, 7, 2)), None, None))]

    def errors():
        return [BadCall((np.zeros((4, 3)),), {}, ShapeError, "with pixels to normalise over")]

    def forward(k, x, gamma, beta, *, eps):
        n, c = x.shape[0], x.shape[-1]
        return _standardized(k, x, gamma, beta, (n, math.prod(x.shape[1:-1]), c), (1,), eps)

    def backward(k, saved, dy, needs):
        return _standardized_backward(k, saved, dy, needs)
