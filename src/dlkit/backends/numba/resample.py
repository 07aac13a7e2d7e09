"""Enlarging images. Forward each task fills a row of y; backward each fills an image, or a row, of dx."""

import numpy as np
from numba import prange

from dlkit.backends.numba._compile import kernel, real

__all__ = [
    "upsample_bilinear_backward",
    "upsample_bilinear_forward",
    "upsample_nearest_backward",
    "upsample_nearest_forward",
]


@kernel(threads=False)
def repeat_rows(x, down, across, y):
    N, OH, OW, C = y.shape
    for task in range(N * OH):
        n, i = task // OH, task % OH
        for j in range(OW):
            for c in range(C):
                y[n, i, j, c] = x[n, i // down, j // across, c]


@kernel(threads=False)
def sum_blocks(dy, down, across, dx):
    N, H, W, C = dx.shape
    for task in range(N * H):
        n, h = task // H, task % H
        for w in range(W):
            for c in range(C):
                dx[n, h, w, c] = 0
            for i in range(h * down, (h + 1) * down):
                for j in range(w * across, (w + 1) * across):
                    for c in range(C):
                        dx[n, h, w, c] += dy[n, i, j, c]


@kernel
def mix_rows(x, low, share, low_across, share_across, y):
    """y[i, j] mixes the four pixels at low[i], low_across[j] and next to them; share: of the farther one."""
    _, H, W, C = x.shape
    N, OH, OW, _ = y.shape
    for task in prange(N * OH):
        n, i = task // OH, task % OH
        h0, h1, u = low[i], min(low[i] + 1, H - 1), share[i]
        for j in range(OW):
            w0, w1, v = low_across[j], min(low_across[j] + 1, W - 1), share_across[j]
            for c in range(C):
                left = (1 - u) * x[n, h0, w0, c] + u * x[n, h1, w0, c]
                right = (1 - u) * x[n, h0, w1, c] + u * x[n, h1, w1, c]
                y[n, i, j, c] = (1 - v) * left + v * right


@kernel
def unmix_images(dy, low, share, low_across, share_across, dx):
    """dx, zero at first, receives every dy at its four pixels."""
    N, H, W, C = dx.shape
    _, OH, OW, _ = dy.shape
    for n in prange(N):
        for i in range(OH):
            h0, h1, u = low[i], min(low[i] + 1, H - 1), share[i]
            for j in range(OW):
                w0, w1, v = low_across[j], min(low_across[j] + 1, W - 1), share_across[j]
                for c in range(C):
                    d = dy[n, i, j, c]
                    dx[n, h0, w0, c] += (1 - u) * (1 - v) * d
                    dx[n, h1, w0, c] += u * (1 - v) * d
                    dx[n, h0, w1, c] += (1 - u) * v * d
                    dx[n, h1, w1, c] += u * v * d


def neighbours(output, size, align_corners, dtype):
    """For each output pixel the lower of its two neighbours, and how much it takes of the higher one."""
    i = np.arange(output)
    if align_corners:
        position = i * (size - 1) / max(output - 1, 1)
    else:
        position = np.clip((i + 0.5) * size / output - 0.5, 0, size - 1)
    low = np.floor(position).astype(np.int64)
    return low, (position - low).astype(dtype)


def mixing(output, size, align_corners, dtype):
    return (
        *neighbours(output[0], size[0], align_corners, dtype),
        *neighbours(output[1], size[1], align_corners, dtype),
    )


@real
def upsample_nearest_forward(x, scale):
    N, H, W, C = x.shape
    y = np.empty((N, H * scale[0], W * scale[1], C), x.dtype)
    repeat_rows(y.size, x, *scale, y)
    return y


@real
def upsample_nearest_backward(dy, scale):
    N, OH, OW, C = dy.shape
    dx = np.empty((N, OH // scale[0], OW // scale[1], C), dy.dtype)
    sum_blocks(dy.size, dy, *scale, dx)
    return dx


@real
def upsample_bilinear_forward(x, size, align_corners):
    y = np.empty((x.shape[0], *size, x.shape[3]), x.dtype)
    mix_rows(2 * y.size, x, *mixing(size, x.shape[1:3], align_corners, x.dtype), y)
    return y


@real
def upsample_bilinear_backward(dy, size, align_corners):
    dx = np.zeros((dy.shape[0], *size, dy.shape[3]), dy.dtype)
    unmix_images(4 * dy.size, dy, *mixing(dy.shape[1:3], size, align_corners, dy.dtype), dx)
    return dx
