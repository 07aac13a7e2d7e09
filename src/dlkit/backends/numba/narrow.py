"""Convolution of images with few channels in, such as a network's first layer, row by row.

With C channels only, a product for each tap would be too flat. In a row of the image, though, the S*C inputs under a row
of the filter lie side by side, those of the next pixel a stride further. So a row of outputs is, over R segments,

    y[j, :] = Σ_r Σ_t strip[i*down + r, j*across*C + t] w[r, t, :]        t < S*C

with the sums in registers throughout, and the weight gradient Σ_j strip[i*down + r, j*across*C + t] dy[j, :]. The strip
is a copy of the rows of the image that some rows of outputs need, with zeros around the image.
"""

import numpy as np
from numba import prange

from dlkit.backends.numba._compile import jit, kernel, or_empty
from dlkit.backends.numba._tile import add_products, columns, set_products
from dlkit.backends.numba.activation import finish

CHANNELS = 8  # at most so many are few
STRIP = 2**13  # elements that a strip should have: they stay in the first cache
CHUNKS = 32  # sums of the weight gradient, at most


def suits(channels, dilation, groups):
    return 0 < channels <= CHANNELS and tuple(dilation) == (1, 1) and groups == 1


@jit
def fill_strip(x, n, top, left, strip):
    """strip [rows, span, C]: image n from row `top` and column `left`"""
    H, W = x.shape[1:3]
    rows, span = strip.shape[:2]
    first, last = max(0, -left), min(span, W - left)
    for i in range(rows):
        h = top + i
        strip[i] = 0
        if 0 <= h < H and first < last:
            strip[i, first:last] = x[n, h, left + first : left + last]


@jit
def correlate_block(x, weights, bias, R, down, across, top, left, relu, first, height, n, y):
    """`height` rows of y from `first`; weights [P, R*S*C, NR]"""
    C = x.shape[3]
    _, _, OW, K = y.shape
    P, taps, NR = weights.shape
    run = taps // R
    span = (OW - 1) * across + run // C
    strip = np.empty(((height - 1) * down + R, span, C), x.dtype)
    fill_strip(x, n, first * down - top, -left, strip)
    sums = np.empty((OW, NR), x.dtype)
    for p in range(P):
        width = min(NR, K - p * NR)
        for i in range(height):
            set_products(
                OW,
                sums, 0, NR,
                strip, i * down * span * C, across * C, 1,
                weights, p * taps * NR, NR,
                run, R, span * C, run * NR,
            )  # fmt: skip
            for j in range(OW):
                for k in range(width):
                    v = sums[j, k]
                    if bias.size:
                        v += bias[p * NR + k]
                    y[n, first + i, j, p * NR + k] = finish(v, relu)


@kernel
def correlate(x, weights, bias, R, down, across, top, left, relu, rows, y):
    N, OH = y.shape[:2]
    blocks = (OH + rows - 1) // rows
    for task in prange(N * blocks):
        n, first = task // blocks, task % blocks * rows
        height = min(rows, OH - first)
        correlate_block(x, weights, bias, R, down, across, top, left, relu, first, height, n, y)


@jit
def add_block(x, dy, down, across, top, left, first, height, n, chunk, sums):
    """What `height` rows of dy [N, OH, OW, K] from `first` add to sums[chunk]; sums [chunks, R, S*C, width]"""
    C = x.shape[3]
    _, OH, OW, K = dy.shape
    R, run, width = sums.shape[1:]
    NR = 64 // dy.itemsize
    lines, line = dy, (n * OH + first) * OW * K
    if width != K:
        lines, line = np.zeros((1, height, OW, width), dy.dtype), 0
        for i in range(height):
            for j in range(OW):
                for k in range(K):
                    lines[0, i, j, k] = dy[n, first + i, j, k]
    span = (OW - 1) * across + run // C
    strip = np.empty(((height - 1) * down + R, span, C), x.dtype)
    fill_strip(x, n, first * down - top, -left, strip)
    for r in range(R):
        for k in range(0, width, NR):
            add_products(
                run,
                sums, (chunk * R + r) * run * width + k, width,
                strip, r * span * C, 1, across * C,
                lines, line + k, width,
                OW, height, down * span * C, OW * width,
            )  # fmt: skip


@kernel
def backward_weight(x, dy, down, across, top, left, rows, sums):
    N, OH = dy.shape[:2]
    blocks = (OH + rows - 1) // rows
    chunks = sums.shape[0]
    for chunk in prange(chunks):
        for task in range(chunk * N * blocks // chunks, (chunk + 1) * N * blocks // chunks):
            n, first = task // blocks, task % blocks * rows
            add_block(x, dy, down, across, top, left, first, min(rows, OH - first), n, chunk, sums)


def block_rows(OH, OW, across, down, R, S, C):
    """Rows of outputs whose strip has about STRIP elements"""
    row = ((OW - 1) * across + S) * C
    return max(1, min(OH, (STRIP // row - R) // down + 1))


def forward(x, w, b, stride, padding, relu, y):
    R, S, C, K = w.shape
    NR = columns(x.dtype)
    panels = np.zeros((R * S * C, -(-K // NR) * NR), x.dtype)
    panels[:, :K] = w.reshape(-1, K)
    panels = np.ascontiguousarray(panels.reshape(R * S * C, -1, NR).swapaxes(0, 1))
    rows = block_rows(y.shape[1], y.shape[2], stride[1], stride[0], R, S, C)
    work = y.size * R * S * C // 8
    correlate(work, x, panels, or_empty(b, x), R, *stride, padding[0], padding[2], relu, rows, y)


def gradient_of_weights(x, dy, kernel, stride, padding):
    (R, S), C, (N, OH, OW, K) = kernel, x.shape[3], dy.shape
    NR = columns(x.dtype)
    width = -(-K // NR) * NR
    rows = block_rows(OH, OW, stride[1], stride[0], R, S, C)
    sums = np.zeros((min(CHUNKS, N * -(-OH // rows)), R, S * C, width), x.dtype)
    backward_weight(dy.size * R * S * C // 8, x, dy, *stride, padding[0], padding[2], rows, sums)
    return np.ascontiguousarray(sums.sum(axis=0)[..., :K]).reshape(R, S, C, K)
