"""One output element from one element of each input, as plain Python: a formula each, and its slope times dy.

Only `math` is needed, so the same functions compile for any device, and run uncompiled. Papers: the
reference.
"""

from math import erf, exp, expm1, log1p, pi, sqrt
from math import tanh as tanh_

ROOT_HALF = sqrt(0.5)
PEAK = 1 / sqrt(2 * pi)  # of the normal density


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


def exponential(x):
    return exp(x)


def square_root(x):
    return sqrt(x)


def absolute(x):
    return abs(x)


def clip(x, low, high):
    x = low if x < low else x
    return high if x > high else x


def sigmoid(x):
    e = exp(-abs(x))
    return 1 / (1 + e) if x >= 0 else e / (1 + e)


def sigmoid_backward(dy, y):
    return dy * y * (1 - y)


def tanh(x):
    return tanh_(x)


def tanh_backward(dy, y):
    return dy * (1 - y * y)


def relu(x):
    return 0.0 if x <= 0 else x  # NaN stays


def relu_backward(dy, y):
    return dy if y > 0 else 0.0


def leaky_relu(x, slope):
    return x if x > 0 else slope * x


def leaky_relu_backward(dy, x, slope):
    return dy if x > 0 else slope * dy


def elu(x, alpha):
    return x if x > 0 else alpha * expm1(x)


def elu_backward(dy, x, alpha):
    return dy if x > 0 else dy * alpha * exp(x)


def gelu(x):
    return x * 0.5 * (1 + erf(x * ROOT_HALF))


def gelu_backward(dy, x):
    return dy * (0.5 * (1 + erf(x * ROOT_HALF)) + x * PEAK * exp(-0.5 * x * x))


def silu(x):
    e = exp(-abs(x))
    return (x if x >= 0 else x * e) / (1 + e)


def silu_backward(dy, x):
    e = exp(-abs(x))
    s = (1 if x >= 0 else e) / (1 + e)
    return dy * (s + x * s * (1 - s))


def softplus(x):
    return x + log1p(exp(-x)) if x > 0 else log1p(exp(x))


def softplus_backward(dy, x):
    e = exp(-abs(x))
    return dy * (1 if x >= 0 else e) / (1 + e)
