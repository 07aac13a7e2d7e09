"""One output element from one element of each input, broadcast; either operand may be a Python number."""

import math

import numpy as np

from dlkit.backends.reference._kernel import kernel


@kernel
def add(a, b):
    """a + b"""
    return np.add(a, b)


@kernel
def subtract(a, b):
    """a - b"""
    return np.subtract(a, b)


@kernel
def multiply(a, b):
    """a * b"""
    return np.multiply(a, b)


@kernel
def divide(a, b):
    """a / b; 1/0 is inf, 0/0 is NaN"""
    return np.divide(a, b)


@kernel
def power(a, b):
    """a ** b"""
    return np.power(a, b)


@kernel
def maximum(a, b):
    """The larger of a and b; NaN if either is"""
    return np.maximum(a, b)


@kernel
def minimum(a, b):
    """The smaller of a and b; NaN if either is"""
    return np.minimum(a, b)


@kernel
def greater(a, b):
    """a > b"""
    return np.greater(a, b)


@kernel
def greater_equal(a, b):
    """a >= b"""
    return np.greater_equal(a, b)


@kernel
def equal(a, b):
    """a == b"""
    return np.equal(a, b)


@kernel
def where(mask, a, b):
    """a where mask is true, b elsewhere"""
    return np.where(mask, a, b)


@kernel
def negative(x):
    """-x"""
    return np.negative(x)


@kernel
def exp(x):
    """eˣ"""
    return np.exp(x)


@kernel
def log(x):
    """The natural logarithm; log 0 is -inf, log of a negative number NaN"""
    return np.log(x)


@kernel
def sqrt(x):
    """√x"""
    return np.sqrt(x)


@kernel
def sin(x):
    """sin x"""
    return np.sin(x)


@kernel
def cos(x):
    """cos x"""
    return np.cos(x)


_erf = np.vectorize(math.erf, otypes=[np.float64])


@kernel
def erf(x):
    """2/√π ∫₀ˣ e^-t² dt"""
    return _erf(x).astype(x.dtype)


@kernel
def abs(x):
    """|x|"""
    return np.abs(x)


@kernel
def sign(x):
    """-1, 0 or 1"""
    return np.sign(x)


@kernel
def clip(x, low, high):
    """min(max(x, low), high)"""
    return np.minimum(np.maximum(x, low), high)
