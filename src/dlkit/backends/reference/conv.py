"""Convolution as a matrix product.

LeCun et al. 1989; with dilation, Yu & Koltun 2016; in groups, Krizhevsky et al. 2012. For one group,

    y[n, i, j, k] = Σ_rsc x[n, i*stride + r*dilation - top, j*stride + s*dilation - left, c] w[r, s, c, k]

`im2col` copies the pixels under every position of the filter into one row; the sum is then a product of two
matrices (Chellapilla et al. 2006). `col2im` is its transpose: it adds every row back to the pixels it was
copied from. With these two the backward passes are those of a matrix product:

    y = columns w        dw = columnsᵀ dy        dcolumns = dy wᵀ

This is the only algorithm here, whatever `algorithm` asks for: the others compute the same sums.
"""

import numpy as np

from dlkit.backends.reference._kernel import kernel
from dlkit.backends.reference.activation import activate


def output_size(size, kernel, stride, padding, dilation):
    """OH, OW: how many positions the filter takes in each direction."""
    (H, W), (R, S), (top, bottom, left, right) = size, kernel, padding
    OH = (H + top + bottom - dilation[0] * (R - 1) - 1) // stride[0] + 1
    OW = (W + left + right - dilation[1] * (S - 1) - 1) // stride[1] + 1
    return OH, OW


def tap(r, count, stride, dilation):
    """The padded rows (or columns) that tap r of the filter meets on its `count` positions."""
    return slice(r * dilation, r * dilation + count * stride, stride)


@kernel
def im2col(x, kernel, stride, padding, dilation):
    """The pixels under each position of the filter, one row for each; 0 beyond the border."""
    N, H, W, C = x.shape
    (R, S), (top, bottom, left, right) = kernel, padding
    OH, OW = output_size((H, W), kernel, stride, padding, dilation)
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    columns = np.empty((N, OH, OW, R, S, C), x.dtype)
    for r in range(R):
        for s in range(S):
            rows, cols = tap(r, OH, stride[0], dilation[0]), tap(s, OW, stride[1], dilation[1])
            columns[:, :, :, r, s] = padded[:, rows, cols]
    return columns.reshape(N, OH, OW, R * S * C)


@kernel
def col2im(columns, size, kernel, stride, padding, dilation):
    """Each pixel is the sum of its copies: the transpose of `im2col`."""
    N, OH, OW, RSC = columns.shape
    (R, S), (H, W), (top, bottom, left, right) = kernel, size, padding
    C = RSC // (R * S)
    columns = columns.reshape(N, OH, OW, R, S, C)
    padded = np.zeros((N, top + H + bottom, left + W + right, C), columns.dtype)
    for r in range(R):
        for s in range(S):
            rows, cols = tap(r, OH, stride[0], dilation[0]), tap(s, OW, stride[1], dilation[1])
            padded[:, rows, cols] += columns[:, :, :, r, s]
    return padded[:, top : top + H, left : left + W]


def channel_groups(C, K, groups):
    """The channels in and the channels out of each group: slices of C/G and of K/G."""
    C_G, K_G = C // groups, K // groups
    return [(slice(g * C_G, (g + 1) * C_G), slice(g * K_G, (g + 1) * K_G)) for g in range(groups)]


@kernel
def conv2d_forward(x, w, b, stride, padding, dilation, groups, activation, algorithm="auto"):
    """y = f(im2col(x) w + b); in groups, each on its own channels of the columns"""
    R, S, C_G, K = w.shape
    columns = im2col(x, (R, S), stride, padding, dilation)
    N, OH, OW = columns.shape[:3]
    columns = columns.reshape(N, OH, OW, R, S, C_G * groups)
    y = np.empty((N * OH * OW, K), x.dtype)
    for c, k in channel_groups(x.shape[3], K, groups):
        rows = columns[..., c].reshape(N * OH * OW, R * S * C_G)
        y[:, k] = rows @ w[..., k].reshape(R * S * C_G, K // groups)
    if b is not None:
        y = y + b
    return activate(y.reshape(N, OH, OW, K), activation)


@kernel
def conv2d_backward_input(dy, w, size, stride, padding, dilation, groups, algorithm="auto"):
    """dx = col2im(dy wᵀ)"""
    N, OH, OW, K = dy.shape
    R, S, C_G, K = w.shape
    dy = dy.reshape(N * OH * OW, K)
    dcolumns = np.empty((N, OH, OW, R, S, C_G * groups), dy.dtype)
    for c, k in channel_groups(C_G * groups, K, groups):
        drows = dy[:, k] @ w[..., k].reshape(R * S * C_G, K // groups).T
        dcolumns[..., c] = drows.reshape(N, OH, OW, R, S, C_G)
    return col2im(dcolumns.reshape(N, OH, OW, R * S * C_G * groups), size, (R, S), stride, padding, dilation)


@kernel
def conv2d_backward_weight(x, dy, kernel, stride, padding, dilation, groups, algorithm="auto"):
    """dw = im2col(x)ᵀ dy"""
    N, OH, OW, K = dy.shape
    (R, S), C = kernel, x.shape[3]
    C_G = C // groups
    columns = im2col(x, kernel, stride, padding, dilation).reshape(N, OH, OW, R, S, C)
    dy = dy.reshape(N * OH * OW, K)
    dw = np.empty((R, S, C_G, K), x.dtype)
    for c, k in channel_groups(C, K, groups):
        rows = columns[..., c].reshape(N * OH * OW, R * S * C_G)
        dw[..., k] = (rows.T @ dy[:, k]).reshape(R, S, C_G, K // groups)
    return dw
