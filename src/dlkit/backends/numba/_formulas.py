"""One output element from one element of each input, as plain Python: a formula each, and its slope times dy.

Their constants are numbers of `_functions`, which keep the type of x. Papers: the reference.
"""

from math import sqrt

import numpy as np

from dlkit.backends.numba._functions import (
    ONE,
    ZERO,
    exp,
    expm1,
    gauss,
    limit,
    normal_distribution,
    root_tau_inverse,
    sigmoid,
    widest,
)

BEYOND = np.float32(1000)  # there e^-x is 0, and the sigmoid 0 or 1


def add(a, b):
    return a + b


def subtract(a, b):
    return a - b


def multiply(a, b):
    return a * b


def divide(a, b):
    return a / b


def maximum(a, b):
    return a if a >= b or a != a else b


def minimum(a, b):
    return a if a <= b or a != a else b


def negative(x):
    return -x


def square_root(x):
    return sqrt(x)


def absolute(x):
    return abs(x)


def clip(x, low, high):
    x = low if x < low else x
    return high if x > high else x


def sigmoid_backward(dy, y):
    return dy * (y * (ONE - y))


def tanh_backward(dy, y):
    return dy * ((ONE - y) * (ONE + y))


def relu(x):
    return ZERO if x <= ZERO else x  # NaN stays


def relu_backward(dy, y):
    return dy if y > ZERO else ZERO


def leaky_relu(x, slope):
    return x if x > ZERO else slope * x


def leaky_relu_backward(dy, x, slope):
    return dy if x > ZERO else slope * dy


def elu(x, alpha):
    return x if x > ZERO else alpha * expm1(x)


def elu_backward(dy, x, alpha):
    return dy if x > ZERO else dy * (alpha * exp(x))


def gelu(x):
    z = limit(x, -widest(x), widest(x))
    return x * normal_distribution(z, gauss(z))


def gelu_backward(dy, x):
    z = limit(x, -widest(x), widest(x))
    density = gauss(z)
    return dy * (normal_distribution(z, density) + z * density * root_tau_inverse(x))


def silu(x):
    return x * sigmoid(x)


def silu_backward(dy, x):
    x = limit(x, -BEYOND, BEYOND)
    e = exp(-abs(x))
    larger = ONE / (ONE + e)
    smaller = e * larger  # the two add up to 1, and neither has lost digits
    return dy * ((larger if x > ZERO else smaller) + x * (larger * smaller))


def softplus_backward(dy, x):
    return dy * sigmoid(x)
