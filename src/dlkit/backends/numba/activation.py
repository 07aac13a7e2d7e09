"""Activations: a formula in a loop, and softmax, which needs a whole row."""

from math import log

import numpy as np
from numba import prange

from dlkit.backends.contract import Decline
from dlkit.backends.numba import _formulas as formulas
from dlkit.backends.numba import _functions as functions
from dlkit.backends.numba._compile import jit, kernel, loop_over, real
from dlkit.backends.numba._functions import exp, larger
from dlkit.backends.numba.elementwise import each, each_of_two, flat, formula, unary

__all__ = [
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_softmax",
    "log_softmax_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softplus",
    "softplus_backward",
    "tanh",
    "tanh_backward",
]

EXP = 8  # what an exponential costs, in simple operations


def each_and_constant(x, constant, y):
    constant = y.dtype.type(constant)
    for i in prange(x.size):
        y[i] = formula(x[i], constant)


def each_of_two_and_constant(dy, x, constant, dx):
    constant = dx.dtype.type(constant)
    for i in prange(x.size):
        dx[i] = formula(dy[i], x[i], constant)


def from_input(formula, cost=EXP):
    """The kernel dx = formula(dy, x), for slopes that need x."""
    loop = loop_over(formula, each_of_two)

    def apply(dy, x):
        dx = np.empty_like(x)
        loop(cost * x.size, flat(dy), flat(x), flat(dx))
        return dx

    apply.__name__ = apply.__qualname__ = formula.__name__
    return real(apply)


def from_output(formula):
    """The kernel dx = formula(dy, y), for slopes that follow from y."""
    loop = loop_over(formula, each_of_two)

    def apply(dy, y):
        dx = np.empty_like(y)
        loop(y.size, flat(dy), flat(y), flat(dx))
        return dx

    apply.__name__ = apply.__qualname__ = formula.__name__
    return real(apply)


sigmoid, sigmoid_backward = unary(functions.sigmoid, cost=EXP), from_output(formulas.sigmoid_backward)
tanh, tanh_backward = unary(functions.tanh, cost=EXP), from_output(formulas.tanh_backward)
relu, relu_backward = unary(formulas.relu), from_output(formulas.relu_backward)
gelu, gelu_backward = unary(formulas.gelu, cost=EXP), from_input(formulas.gelu_backward)
silu, silu_backward = unary(formulas.silu, cost=EXP), from_input(formulas.silu_backward)
softplus, softplus_backward = unary(functions.softplus, cost=EXP), from_input(formulas.softplus_backward)

_leaky_relu = loop_over(formulas.leaky_relu, each_and_constant)
_leaky_relu_backward = loop_over(formulas.leaky_relu_backward, each_of_two_and_constant)
_elu = loop_over(formulas.elu, each_and_constant)
_elu_backward = loop_over(formulas.elu_backward, each_of_two_and_constant)


@real
def leaky_relu(x, slope):
    y = np.empty_like(x)
    _leaky_relu(x.size, flat(x), float(slope), flat(y))
    return y


@real
def leaky_relu_backward(dy, x, slope):
    dx = np.empty_like(x)
    _leaky_relu_backward(x.size, flat(dy), flat(x), float(slope), flat(dx))
    return dx


@real
def elu(x, alpha):
    y = np.empty_like(x)
    _elu(EXP * x.size, flat(x), float(alpha), flat(y))
    return y


@real
def elu_backward(dy, x, alpha):
    dx = np.empty_like(x)
    _elu_backward(EXP * x.size, flat(dy), flat(x), float(alpha), flat(dx))
    return dx


# -- softmax: x as rows [M, K] ---------------------------------------------------------------------


@jit
def exponentials(x, y):
    """y = exp(x - max x); returns max x and Σ y"""
    top = x[0]
    for k in range(1, x.size):
        top = larger(top, x[k])
    for k in range(x.size):
        y[k] = exp(x[k] - top)
    total = y.dtype.type(0)
    for k in range(x.size):
        total += y[k]
    return top, total


@kernel(reassociate=True)
def softmax_rows(x, y):
    for m in prange(len(x)):
        _, total = exponentials(x[m], y[m])
        for k in range(x.shape[1]):
            y[m, k] /= total


@kernel(reassociate=True)
def softmax_backward_rows(dy, y, dx):
    M, K = y.shape
    for m in prange(M):
        total = dx.dtype.type(0)
        for k in range(K):
            total += dy[m, k] * y[m, k]
        for k in range(K):
            dx[m, k] = y[m, k] * (dy[m, k] - total)


@kernel(reassociate=True)
def log_softmax_rows(x, y):
    for m in prange(len(x)):
        top, total = exponentials(x[m], y[m])
        log_sum = y.dtype.type(log(total))
        for k in range(x.shape[1]):
            y[m, k] = x[m, k] - top - log_sum


@kernel(reassociate=True)
def log_softmax_backward_rows(dy, y, dx):
    M, K = y.shape
    for m in prange(M):
        total = dx.dtype.type(0)
        for k in range(K):
            total += dy[m, k]
        for k in range(K):
            dx[m, k] = dy[m, k] - exp(y[m, k]) * total


def by_rows(loop, axis, *arrays):
    """The loop over the arrays' last axis, into a new array; other axes are declined."""
    x = arrays[0]
    if x.ndim == 0 or axis not in (-1, x.ndim - 1):
        return Decline(f"softmax along the last axis only, not {axis}")
    y = np.empty_like(x)
    if x.size:
        loop(EXP * x.size, *(a.reshape(-1, x.shape[-1]) for a in (*arrays, y)))
    return y


@real
def softmax(x, axis):
    return by_rows(softmax_rows, axis, x)


@real
def softmax_backward(dy, y, axis):
    return by_rows(softmax_backward_rows, axis, dy, y)


@real
def log_softmax(x, axis):
    return by_rows(log_softmax_rows, axis, x)


@real
def log_softmax_backward(dy, y, axis):
    return by_rows(log_softmax_backward_rows, axis, dy, y)


# -- what other kernels apply to their own output: relu as they write it, the others afterwards ----

FUSED = (None, "relu", "tanh", "sigmoid")
_AFTERWARDS = {"tanh": loop_over(functions.tanh, each), "sigmoid": loop_over(functions.sigmoid, each)}


@jit
def finish(v, relu):
    return type(v)(0) if relu and v <= 0 else v


def finished(y, activation):
    """y, on which relu was done, with tanh or sigmoid applied in place."""
    if activation in _AFTERWARDS:
        _AFTERWARDS[activation](EXP * y.size, flat(y), flat(y))
    return y
