"""Element-wise kernels on two arrays of one shape, or an array and a Python number. Other broadcasts are
declined."""

import numpy as np
from numba import prange

from dlkit.backends.contract import Decline
from dlkit.backends.numba import _formulas as formulas
from dlkit.backends.numba import _functions as functions
from dlkit.backends.numba._compile import loop_over, real

__all__ = [
    "abs",
    "add",
    "clip",
    "divide",
    "exp",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "sqrt",
    "subtract",
]


def formula(*elements):
    """Stands for the formula that `loop_over` puts here."""


def each(x, y):
    for i in prange(x.size):
        y[i] = formula(x[i])


def each_of_two(a, b, y):
    for i in prange(y.size):
        y[i] = formula(a[i], b[i])


def each_and_number(a, b, y):
    b = y.dtype.type(b)
    for i in prange(y.size):
        y[i] = formula(a[i], b)


def number_and_each(a, b, y):
    a = y.dtype.type(a)
    for i in prange(y.size):
        y[i] = formula(a, b[i])


def each_and_limits(x, low, high, y):
    low, high = y.dtype.type(low), y.dtype.type(high)
    for i in prange(y.size):
        y[i] = formula(x[i], low, high)


def flat(x):
    """x as one row; a view, x being contiguous."""
    return x.reshape(-1)


def unary(formula, name=None, cost=1):
    """The kernel y = formula(x); `cost` in simple operations per element."""
    loop = loop_over(formula, each)

    def apply(x):
        y = np.empty_like(x)
        loop(cost * x.size, flat(x), flat(y))
        return y

    apply.__name__ = apply.__qualname__ = name or formula.__name__
    return real(apply)


def binary(formula):
    """The kernel y = formula(a, b), either of them a Python number."""
    both, right, left = (loop_over(formula, f) for f in (each_of_two, each_and_number, number_and_each))

    def apply(a, b):
        if type(b) in (int, float):
            y = np.empty_like(a)
            right(y.size, flat(a), float(b), flat(y))
        elif type(a) in (int, float):
            y = np.empty_like(b)
            left(y.size, float(a), flat(b), flat(y))
        elif isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape == b.shape:
            y = np.empty_like(a)
            both(y.size, flat(a), flat(b), flat(y))
        else:
            return Decline("broadcasts only an array with a Python number")
        return y

    apply.__name__ = apply.__qualname__ = formula.__name__
    return real(apply)


add = binary(formulas.add)
subtract = binary(formulas.subtract)
multiply = binary(formulas.multiply)
divide = binary(formulas.divide)
maximum = binary(formulas.maximum)
minimum = binary(formulas.minimum)

negative = unary(formulas.negative)
exp = unary(functions.exp, cost=8)
sqrt = unary(formulas.square_root, "sqrt")
abs = unary(formulas.absolute, "abs")

_clip = loop_over(formulas.clip, each_and_limits)


@real
def clip(x, low, high):
    y = np.empty_like(x)
    _clip(x.size, flat(x), float(low), float(high), flat(y))
    return y
