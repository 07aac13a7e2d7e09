"""Activations. Each keeps for backward what its slope is cheapest to get from: its output y where y determines it."""

from __future__ import annotations

import math

import numpy as np

from dlkit.errors import ShapeError
from dlkit.ops.arithmetic import apart
from dlkit.ops.op import BadCall, Sample, op
from dlkit.ops.second import constant, formula_of

FROM_OUTPUT = ("relu", "tanh", "sigmoid")  # slopes that follow from y: these can be fused behind a product


def activation_backward(k, dy, y, activation: str | None):
    """dz for y = activation(z), from y alone; `activation` is None or one of FROM_OUTPUT."""
    return dy if activation is None else getattr(k, f"{activation}_backward")(dy, y)


def smooth(rng: np.random.Generator) -> list[Sample]:
    return [Sample((2 * rng.standard_normal(s),)) for s in ((), (7,), (3, 5), (2, 3, 4, 5), (2, 0))]


def kinked(rng: np.random.Generator) -> list[Sample]:
    return [Sample((apart(rng, s),)) for s in ((), (7,), (3, 5), (2, 3, 4, 5), (2, 0))]


@op("x[...] -> y[...]", formula="y = 1 / (1 + e^-x)", slope="dx = dy · y (1 - y)")
class sigmoid:
    real = True
    second = True
    onnx = "Sigmoid"
    samples = smooth

    def flops(x):
        return 4 * math.prod(x)

    def forward(k, x):
        y = k.sigmoid(x)
        return y, (y,)

    def backward(k, saved, dy):
        (y,) = saved
        return (k.sigmoid_backward(dy, y),)


@formula_of("sigmoid_backward")
def _(dy, y):
    return dy * y * (1.0 - y)


@op("x[...] -> y[...]", formula="y = (e^x - e^-x) / (e^x + e^-x)", slope="dx = dy · (1 - y²)")
class tanh:
    real = True
    second = True
    onnx = "Tanh"
    samples = smooth

    def flops(x):
        return 6 * math.prod(x)

    def forward(k, x):
        y = k.tanh(x)
        return y, (y,)

    def backward(k, saved, dy):
        (y,) = saved
        return (k.tanh_backward(dy, y),)


@formula_of("tanh_backward")
def _(dy, y):
    return dy * (1.0 - y * y)


@op(
    "x[...] -> y[...]",
    formula="y = max(x, 0)",
    slope="dx = dy · [x > 0]",
    source="Nair & Hinton 2010, Rectified linear units improve restricted Boltzmann machines",
)
class relu:
    second = True
    onnx = "Relu"
    samples = kinked

    def forward(k, x):
        y = k.relu(x)
        return y, (y,)

    def backward(k, saved, dy):
        (y,) = saved
        return (k.relu_backward(dy, y),)


@formula_of("relu_backward")
def _(dy, y):
    return dy * (constant(y) > 0.0).astype(dy.dtype)


@op(
    "x[...] -> y[...]",
    formula="y = x if x > 0 else slope · x",
    slope="dx = dy · (1 if x > 0 else slope)",
    source="Maas et al. 2013, Rectifier nonlinearities improve neural network acoustic models",
)
class leaky_relu:
    real = True
    second = True
    onnx = "LeakyRelu"
    samples = kinked

    def arguments(x, slope=0.01):
        return (x,), {"slope": float(slope)}

    def shape(x, slope):
        return x

    def forward(k, x, *, slope):
        return k.leaky_relu(x, slope), (x, slope)

    def backward(k, saved, dy):
        x, slope = saved
        return (k.leaky_relu_backward(dy, x, slope),)


@formula_of("leaky_relu_backward")
def _(dy, x, slope):
    positive = (constant(x) > 0.0).astype(dy.dtype)
    return dy * (positive + slope * (1.0 - positive))


@op(
    "x[...] -> y[...]",
    formula="y = x if x > 0 else alpha (e^x - 1)",
    slope="dx = dy · (1 if x > 0 else alpha e^x)",
    source="Clevert et al. 2016, Fast and accurate deep network learning by exponential linear units",
)
class elu:
    real = True
    second = True
    onnx = "Elu"
    samples = kinked

    def arguments(x, alpha=1.0):
        return (x,), {"alpha": float(alpha)}

    def shape(x, alpha):
        return x

    def flops(x, alpha):
        return 4 * math.prod(x)

    def forward(k, x, *, alpha):
        return k.elu(x, alpha), (x, alpha)

    def backward(k, saved, dy):
        x, alpha = saved
        return (k.elu_backward(dy, x, alpha),)


@formula_of("elu_backward")
def _(dy, x, alpha):
    positive = (constant(x) > 0.0).astype(dy.dtype)
    below = alpha * ((1.0 - positive) * x).exp()
    return dy * (positive + (1.0 - positive) * below)


@op(
    "x[...] -> y[...]",
    formula="y = x Φ(x) = x/2 · (1 + erf(x/√2))",
    slope="dx = dy · (Φ(x) + x φ(x))",
    source="Hendrycks & Gimpel 2016, Gaussian error linear units (the exact form)",
)
class gelu:
    real = True
    onnx = "Gelu"
    samples = smooth

    def flops(x):
        return 8 * math.prod(x)

    def forward(k, x):
        return k.gelu(x), (x,)

    def backward(k, saved, dy):
        (x,) = saved
        return (k.gelu_backward(dy, x),)


@op(
    "x[...] -> y[...]",
    formula="y = x σ(x)",
    slope="dx = dy · σ(x) (1 + x (1 - σ(x)))",
    source="Elfwing et al. 2017; Ramachandran et al. 2017 (swish)",
)
class silu:
    real = True
    second = True
    samples = smooth

    def flops(x):
        return 5 * math.prod(x)

    def forward(k, x):
        return k.silu(x), (x,)

    def backward(k, saved, dy):
        (x,) = saved
        return (k.silu_backward(dy, x),)


@formula_of("silu_backward")
def _(dy, x):
    s = x.sigmoid()
    return dy * s * (1.0 + x * (1.0 - s))


@op(
    "x[...] -> y[...]",
    formula="y = ln(1 + e^x)",
    slope="dx = dy · σ(x)",
    source="Dugas et al. 2001, Incorporating second-order functional knowledge",
)
class softplus:
    real = True
    second = True
    onnx = "Softplus"
    samples = smooth

    def flops(x):
        return 5 * math.prod(x)

    def forward(k, x):
        return k.softplus(x), (x,)

    def backward(k, saved, dy):
        (x,) = saved
        return (k.softplus_backward(dy, x),)


@formula_of("softplus_backward")
def _(dy, x):
    return dy * x.sigmoid()


def _axis_arguments(x, axis=-1):
    n = len(x.shape) if hasattr(x, "shape") else np.ndim(x)
    if not -n <= axis < n:
        raise ShapeError(f"axis (={axis}) is outside an input with {n} axes")
    return (x,), {"axis": axis % n}


def _axis_shape(x: tuple, axis: int) -> tuple:
    if x[axis] == 0:
        raise ShapeError(f"axis {axis} of an input of shape {x} has nothing to share the probability")
    return x


def _axis_samples(rng: np.random.Generator) -> list[Sample]:
    n = rng.standard_normal
    return [
        Sample((n((4, 5)),), {"axis": -1}),
        Sample((n((2, 3, 4)),), {"axis": 1}),
        Sample((n((3, 1)),), {"axis": 1}),
        Sample((30 * n((2, 6)),), {"axis": 0}, "large logits"),
        Sample((n((0, 4)),), {"axis": 1}, "empty"),
    ]


def _axis_errors() -> list[BadCall]:
    return [
        BadCall((np.zeros((2, 3)),), {"axis": 2}, ShapeError, r"axis \(=2\) is outside an input with 2 axes"),
        BadCall((np.zeros((0, 0)),), {"axis": 1}, ShapeError, "nothing to share the probability"),
    ]


@op("x[...] -> y[...]", formula="y_i = e^x_i / Σ_j e^x_j along axis", slope="dx = y · (dy - Σ dy · y)")
class softmax:
    real = True
    second = True
    onnx = "Softmax"
    arguments, samples, errors = _axis_arguments, _axis_samples, _axis_errors

    shape = _axis_shape

    def flops(x, axis):
        return 5 * math.prod(x)

    def forward(k, x, *, axis):
        y = k.softmax(x, axis)
        return y, (y, axis)

    def backward(k, saved, dy):
        y, axis = saved
        return (k.softmax_backward(dy, y, axis),)


@formula_of("softmax_backward")
def _(dy, y, axis):
    return y * (dy - (dy * y).sum(axis, keepdims=True))


@op("x[...] -> y[...]", formula="y_i = x_i - ln Σ_j e^x_j along axis", slope="dx = dy - e^y · Σ dy")
class log_softmax:
    real = True
    second = True
    onnx = "LogSoftmax"
    arguments, samples, errors = _axis_arguments, _axis_samples, _axis_errors

    shape = _axis_shape

    def flops(x, axis):
        return 5 * math.prod(x)

    def forward(k, x, *, axis):
        y = k.log_softmax(x, axis)
        return y, (y, axis)

    def backward(k, saved, dy):
        y, axis = saved
        return (k.log_softmax_backward(dy, y, axis),)


@formula_of("log_softmax_backward")
def _(dy, y, axis):
    return dy - y.exp() * dy.sum(axis, keepdims=True)
