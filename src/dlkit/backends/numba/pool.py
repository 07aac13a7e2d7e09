"""Pooling. Forward each task fills a row of y; backward each fills a row of dx from the windows that cover
it.

A mean pooling, of either kind, is given by its windows: rows[i] = (first, last) of output row i, columns[j]
likewise.
"""

import numpy as np
from numba import prange

from dlkit.backends.numba._compile import kernel, real, real_but
from dlkit.backends.reference.conv import output_size

__all__ = [
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool2d_forward",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
]


@kernel
def max_rows(x, R, S, down, across, top, left, y, where):
    _, H, W, C = x.shape
    N, OH, OW, _ = y.shape
    for task in prange(N * OH):
        n, i = task // OH, task % OH
        for j in range(OW):
            for c in range(C):
                y[n, i, j, c] = -np.inf
                where[n, i, j, c] = 0
            fresh = True
            for r in range(R):
                h = i * down + r - top
                if h < 0 or h >= H:
                    continue
                for s in range(S):
                    w = j * across + s - left
                    if w < 0 or w >= W:
                        continue
                    position = where.dtype.type(r * S + s)
                    for c in range(C):
                        v, best, at = x[n, h, w, c], y[n, i, j, c], where[n, i, j, c]
                        better = fresh | ((not v <= best) & (best == best))  # the first maximum, or NaN
                        y[n, i, j, c] = v if better else best  # stored in any case: so LLVM vectorises
                        where[n, i, j, c] = position if better else at
                    fresh = False


@kernel
def max_gradient_rows(dy, where, R, S, down, across, top, left, dx):
    N, H, W, C = dx.shape
    _, OH, OW, _ = dy.shape
    for task in prange(N * H):
        n, h = task // H, task % H
        for w in range(W):
            for c in range(C):
                dx[n, h, w, c] = 0
        for i in range(max(0, (h + top - R) // down), min(OH, (h + top) // down + 1)):
            r = h + top - i * down
            if r < 0 or r >= R:
                continue
            for j in range(OW):
                for c in range(C):
                    s = np.int64(where[n, i, j, c]) - r * S
                    w = j * across + s - left
                    if 0 <= s < S and 0 <= w < W:
                        dx[n, h, w, c] += dy[n, i, j, c]


@kernel
def mean_rows(x, rows, columns, y):
    N, OH, OW, C = y.shape
    for task in prange(N * OH):
        n, i = task // OH, task % OH
        for j in range(OW):
            for c in range(C):
                y[n, i, j, c] = 0
            for h in range(rows[i, 0], rows[i, 1]):
                for w in range(columns[j, 0], columns[j, 1]):
                    for c in range(C):
                        y[n, i, j, c] += x[n, h, w, c]
            pixels = (rows[i, 1] - rows[i, 0]) * (columns[j, 1] - columns[j, 0])
            for c in range(C):
                y[n, i, j, c] /= pixels


@kernel
def mean_gradient_rows(dy, rows, columns, dx):
    N, H, W, C = dx.shape
    _, OH, OW, _ = dy.shape
    for task in prange(N * H):
        n, h = task // H, task % H
        for w in range(W):
            for c in range(C):
                dx[n, h, w, c] = 0
        for i in range(OH):
            if h < rows[i, 0] or h >= rows[i, 1]:
                continue
            for j in range(OW):
                pixels = (rows[i, 1] - rows[i, 0]) * (columns[j, 1] - columns[j, 0])
                for w in range(columns[j, 0], columns[j, 1]):
                    for c in range(C):
                        dx[n, h, w, c] += dy[n, i, j, c] / pixels


@real
def max_pool2d_forward(x, kernel, stride, padding):
    OH, OW = output_size(x.shape[1:3], kernel, stride, padding, (1, 1))
    y = np.empty((x.shape[0], OH, OW, x.shape[3]), x.dtype)
    where = np.empty(y.shape, np.uint8 if kernel[0] * kernel[1] <= 256 else np.uint16)
    max_rows(y.size * kernel[0] * kernel[1], x, *kernel, *stride, padding[0], padding[2], y, where)
    return y, where


@real_but("where")
def max_pool2d_backward(dy, where, size, kernel, stride, padding):
    dx = np.empty((dy.shape[0], *size, dy.shape[3]), dy.dtype)
    max_gradient_rows(dx.size + dy.size, dy, where, *kernel, *stride, padding[0], padding[2], dx)
    return dx


def windows(size, output, kernel, stride, before):
    """[output, 2]: the first pixel of each window and the first behind it, inside the image"""
    first = np.arange(output) * stride - before
    return np.stack([first, np.maximum(first + kernel, first)], axis=1).clip(0, size)


def regions(size, output):
    """[output, 2]: likewise, for the adaptive kind"""
    i = np.arange(output)
    return np.stack([i * size // output, -(-(i + 1) * size // output)], axis=1)


def both_windows(size, kernel, stride, padding):
    OH, OW = output_size(size, kernel, stride, padding, (1, 1))
    return (
        windows(size[0], OH, kernel[0], stride[0], padding[0]),
        windows(size[1], OW, kernel[1], stride[1], padding[2]),
    )


def means(x, rows, columns):
    y = np.empty((x.shape[0], len(rows), len(columns), x.shape[3]), x.dtype)
    mean_rows(x.size, x, rows, columns, y)
    return y


def spread(dy, rows, columns, size):
    dx = np.empty((dy.shape[0], *size, dy.shape[3]), dy.dtype)
    mean_gradient_rows(dx.size, dy, rows, columns, dx)
    return dx


@real
def avg_pool2d_forward(x, kernel, stride, padding):
    return means(x, *both_windows(x.shape[1:3], kernel, stride, padding))


@real
def avg_pool2d_backward(dy, size, kernel, stride, padding):
    return spread(dy, *both_windows(size, kernel, stride, padding), size)


@real
def adaptive_avg_pool2d_forward(x, size):
    return means(x, regions(x.shape[1], size[0]), regions(x.shape[2], size[1]))


@real
def adaptive_avg_pool2d_backward(dy, size):
    return spread(dy, regions(size[0], dy.shape[1]), regions(size[1], dy.shape[2]), size)
