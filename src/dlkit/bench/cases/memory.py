"""Work that is bound by memory: pooling, batch norm, activations, resampling. Forward alone, and forward with backward
through the tape, on an activation of ResNet-20 (4 MB) and on one that no cache holds (26 MB)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from dlkit import nn, ops
from dlkit.bench.case import Case, Inputs, Work, add
from dlkit.bench.cases.common import forward, forward_backward, label, normal, numbers
from dlkit.tensor import Tensor

SIZES = [(64, 32, 32, 16), (8, 112, 112, 64)]
TINY = (2, 6, 6, 3)
Shape = tuple[int, ...]


def _inputs(output: Callable[[Shape], Shape], shape: Shape, options: dict, rng: np.random.Generator) -> Inputs:
    return {"x": normal(rng, *shape), "dy": normal(rng, *output(shape)), **options}


def _forward_bytes(inputs: Inputs) -> float:
    return float(inputs["x"].nbytes + inputs["dy"].nbytes)


def _both_bytes(inputs: Inputs) -> float:
    """Read x, write y, read dy, write dx."""
    return 2 * _forward_bytes(inputs)


def _add(
    name: str,
    group: str,
    f: Callable[..., Tensor],
    output: Callable[[Shape], Shape] = lambda shape: shape,
    sizes: list[Any] = SIZES,
    peer: str | None = None,
    **options: Any,
) -> None:
    """f(inputs, x) in both directions."""
    for shape in sizes:
        for direction, ours, count in (
            ("forward", forward, _forward_bytes),
            ("forward+backward", forward_backward, _both_bytes),
        ):
            add(
                Case(
                    f"{name} {label(*shape)} {direction}",
                    group,
                    partial(_inputs, output, shape, options),
                    partial(_inputs, output, TINY, options),
                    ours(f, ("x",)),
                    f"{peer or name} {direction}",
                    bytes=count,
                )
            )


def _scaled(scale: float) -> Callable[[Shape], Shape]:
    return lambda shape: (shape[0], int(shape[1] * scale), int(shape[2] * scale), shape[3])


def _pool(op: Any) -> Callable[..., Tensor]:
    return lambda inputs, x: op(x, kernel=inputs["kernel"], stride=inputs["stride"], padding=inputs["padding"])


for _name, _op, _kernel in (
    ("max_pool2d 2x2", ops.max_pool2d, 2),
    ("max_pool2d 3x3 s2", ops.max_pool2d, 3),
    ("avg_pool2d 2x2", ops.avg_pool2d, 2),
):
    _window: dict[str, Any] = {"kernel": _kernel, "stride": 2, "padding": _kernel // 2 if _kernel % 2 else 0}
    _add(_name, "pool", _pool(_op), _scaled(0.5), peer=_name.partition(" ")[0], **_window)
_add(
    "global_avg_pool",
    "pool",
    lambda inputs, x: ops.adaptive_avg_pool2d(x, size=1),
    lambda shape: (shape[0], 1, 1, shape[3]),
)
_add("relu", "activation", lambda inputs, x: ops.relu(x))
_add("gelu", "activation", lambda inputs, x: ops.gelu(x))
for _mode, _enlarge in (("nearest", ops.upsample_nearest), ("bilinear", ops.upsample_bilinear)):
    _add(
        f"upsample {_mode} x2",
        "resample",
        lambda inputs, x, f=_enlarge: f(x, scale=2),
        _scaled(2),
        [(64, 16, 16, 32), (1, 128, 128, 128)],
    )


def _batch_norm(activation: str | None, backward: bool, inputs: Inputs) -> Work:
    """The layer in training mode: batch statistics, running averages, and with `activation` the ReLU behind it."""
    x = Tensor(inputs["x"], requires_grad=backward)
    dy = Tensor(inputs["dy"])
    layer = nn.BatchNorm2d(x.shape[-1], activation=activation)
    layer.astype(x.dtype)
    layer.gamma.data, layer.beta.data = Tensor(inputs["gamma"]).data, Tensor(inputs["beta"]).data
    parameters = [x, layer.gamma, layer.beta]
    for p in parameters:
        p.requires_grad = backward

    def run() -> Tensor:
        for p in parameters:
            p.grad = None
        y = layer(x)
        if backward:
            y.backward(dy)
        return y

    return Work(run, lambda y: numbers(y, *(p.grad for p in parameters if backward)))


def _norm_inputs(shape: Shape, rng: np.random.Generator) -> Inputs:
    c = shape[-1]
    return {
        "x": normal(rng, *shape),
        "gamma": 1 + 0.1 * normal(rng, c),
        "beta": 0.1 * normal(rng, c),
        "dy": normal(rng, *shape),
    }


for _shape in SIZES:
    for _activation in (None, "relu"):
        for _direction, _back in (("forward", False), ("forward+backward", True)):
            _kind = "batch_norm" + ("+relu" if _activation else "")
            add(
                Case(
                    f"{_kind} {label(*_shape)} {_direction}",
                    "norm",
                    partial(_norm_inputs, _shape),
                    partial(_norm_inputs, TINY),
                    partial(_batch_norm, _activation, _back),
                    f"{_kind} {_direction}",
                    bytes=_both_bytes if _back else _forward_bytes,
                )
            )
