"""Products and convolutions by csrc/matrix/. float32 and float64; an array that is not contiguous is copied once,
a transposed matrix is taken as it lies."""

from __future__ import annotations

from dlkit._native import matrix as _matrix
from dlkit.backends.contract import Decline

__all__ = [
    "col2im",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_forward",
    "im2col",
    "linear_forward",
    "matmul",
]


def matmul(a, b, transpose_a=False, transpose_b=False):
    y = _matrix.matmul(a, b, transpose_a, transpose_b)
    return Decline(y) if y.__class__ is str else y


def linear_forward(x, w, b, activation):
    y = _matrix.linear_forward(x, w, b, activation)
    return Decline(y) if y.__class__ is str else y


def conv2d_forward(x, w, b, stride, padding, dilation, groups, activation, algorithm="auto"):
    y = _matrix.conv2d_forward(x, w, b, stride, padding, dilation, groups, activation, algorithm)
    return Decline(y) if y.__class__ is str else y


def conv2d_backward_input(dy, w, size, stride, padding, dilation, groups, algorithm="auto"):
    dx = _matrix.conv2d_backward_input(dy, w, size, stride, padding, dilation, groups, algorithm)
    return Decline(dx) if dx.__class__ is str else dx


def conv2d_backward_weight(x, dy, kernel, stride, padding, dilation, groups, algorithm="auto"):
    dw = _matrix.conv2d_backward_weight(x, dy, kernel, stride, padding, dilation, groups, algorithm)
    return Decline(dw) if dw.__class__ is str else dw


def im2col(x, kernel, stride, padding, dilation):
    columns = _matrix.im2col(x, kernel, stride, padding, dilation)
    return Decline(columns) if columns.__class__ is str else columns


def col2im(columns, size, kernel, stride, padding, dilation):
    x = _matrix.col2im(columns, size, kernel, stride, padding, dilation)
    return Decline(x) if x.__class__ is str else x
