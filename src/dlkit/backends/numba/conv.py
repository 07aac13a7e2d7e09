"""Convolution, directly, row by row of the image.

Forward, and backward to the input, are one computation: every tap (r, s) of the filter adds, along a row of
pixels,

    target[t0 + t_step*j, :] += source[s0 + s_step*j, :] weights[r, s]        for first <= j < last

Forward, the target is y and the source x, whose pixels lie a stride apart; backward it is the other way
round, with the weights transposed. Each is a product of matrices (pixels × channels in) × (channels in ×
channels out), made of tiles: no copy of the image is needed. Tables say which source row meets which target
row, and which pixels are inside. One channel per group ("depthwise") has no product in it and gets plain
loops. Few channels in: `narrow`; 3×3 at stride 1: `winograd`, unless `algorithm` asks for
another.
"""

import numpy as np
from numba import prange

from dlkit.backends.contract import Decline
from dlkit.backends.numba import narrow, winograd
from dlkit.backends.numba._compile import jit, kernel, or_empty, real
from dlkit.backends.numba._tile import add_product, columns
from dlkit.backends.numba.activation import FUSED, finish, finished
from dlkit.backends.numba.matmul import product
from dlkit.backends.reference.conv import output_size

WINOGRAD = ("auto", "winograd")  # F(4×4, 3×3); who asks for "winograd2" wants its accuracy and gets the direct sum

__all__ = ["conv2d_backward_input", "conv2d_backward_weight", "conv2d_forward"]

PIXELS = 48  # a task's share: rows of the target with so many pixels together
CHUNKS = 32  # backward to the weights: into so many sums the images' rows are split, or R*S times fewer,
WORKSPACE = 2**24  # as long as the sums together have no more elements than this


# -- where taps meet pixels ------------------------------------------------------------------------


def inside(size, count, offset, stride):
    """The positions j = first ... last-1 of `count` that meet a pixel 0 <= offset + stride*j < size."""
    first = max(0, -(offset // stride))
    last = min(count, (size - 1 - offset) // stride + 1)
    return first, max(first, last)


def rows_met(H, OH, R, stride, top, dilation):
    """[OH, R]: the image row that tap r meets at position i, -1 outside the image."""
    row = np.arange(OH)[:, None] * stride + np.arange(R) * dilation - top
    return np.where((row >= 0) & (row < H), row, -1)


def rows_meeting(H, OH, R, stride, top, dilation):
    """[H, R]: the position i at which tap r meets image row h, -1 if there is none."""
    distance = np.arange(H)[:, None] + top - np.arange(R) * dilation
    i = distance // stride
    return np.where((distance % stride == 0) & (i >= 0) & (i < OH), i, -1)


def columns_met(W, OW, S, stride, left, dilation):
    """[S, 3]: for tap s first and last (exclusive) j inside, and the image column met at j = 0."""
    offsets = [s * dilation - left for s in range(S)]
    return np.array([(*inside(W, OW, offset, stride), offset) for offset in offsets], np.int64).reshape(S, 3)


# -- forward, and backward to the input ------------------------------------------------------------


@jit
def correlate_rows(task, source, weights, bias, rows, taps, s_step, t_step, relu, target):
    """Some rows of target [N, TH, TW, G*width], source [N, SH, SW, G*depth], w [R, S, G, P, depth, NR]."""
    TH, TW, TC = target.shape[1:]
    SH, SW, SC = source.shape[1:]
    R, S, G, P, depth, NR = weights.shape
    width = TC // G
    height = max(1, PIXELS // TW)
    tasks = (TH + height - 1) // height
    n, t0 = task // tasks, task % tasks * height
    height = min(height, TH - t0)

    sums = np.zeros((height, TW, G * P * NR), target.dtype)
    row = G * P * NR
    for g in range(G):
        for p in range(P):
            for r in range(R):
                for i in range(height):
                    h = rows[t0 + i, r]
                    if h < 0:
                        continue
                    for s in range(S):
                        first, last, offset = taps[s]
                        s0 = first if s_step == 0 else first * s_step + offset
                        j0 = first if t_step == 0 else first * t_step + offset
                        add_product(
                            last - first,
                            sums, (i * TW + j0) * row + (g * P + p) * NR, max(1, t_step) * row,
                            source, ((n * SH + h) * SW + s0) * SC + g * depth, max(1, s_step) * SC, 1,
                            weights, (((r * S + s) * G + g) * P + p) * depth * NR, NR,
                            depth,
                        )  # fmt: skip

    for i in range(height):
        for j in range(TW):
            for g in range(G):
                for k in range(width):
                    v = sums[i, j, g * P * NR + k]
                    if bias.size:
                        v += bias[g * width + k]
                    target[n, t0 + i, j, g * width + k] = finish(v, relu)


@kernel
def correlate(source, weights, bias, rows, taps, s_step, t_step, relu, target):
    """s_step and t_step: the stride on the image's side, 0 on the other."""
    N, TH, TW, _ = target.shape
    height = max(1, PIXELS // TW)
    for task in prange(N * ((TH + height - 1) // height)):
        correlate_rows(task, source, weights, bias, rows, taps, s_step, t_step, relu, target)


@kernel
def correlate_depthwise(source, weights, bias, rows, taps, s_step, t_step, relu, target):
    """The same for weights [R, S, C], each channel by itself."""
    N, TH, TW, C = target.shape
    R, S, _ = weights.shape
    for task in prange(N * TH):
        n, t = task // TH, task % TH
        sums = np.zeros((TW, C), target.dtype)
        for r in range(R):
            h = rows[t, r]
            if h < 0:
                continue
            for s in range(S):
                first, last, offset = taps[s]
                for j in range(first, last):
                    from_ = j if s_step == 0 else j * s_step + offset
                    to = j if t_step == 0 else j * t_step + offset
                    for c in range(C):
                        sums[to, c] += source[n, h, from_, c] * weights[r, s, c]
        for j in range(TW):
            for c in range(C):
                v = sums[j, c]
                if bias.size:
                    v += bias[c]
                target[n, t, j, c] = finish(v, relu)


def in_panels(w):
    """w [R, S, G, depth, width] -> [R, S, G, P, depth, NR], zeros behind the last column."""
    R, S, G, depth, width = w.shape
    NR = columns(w.dtype)
    P = -(-width // NR)
    padded = np.zeros((R, S, G, depth, P * NR), w.dtype)
    padded[..., :width] = w
    return np.ascontiguousarray(padded.reshape(R, S, G, depth, P, NR).swapaxes(3, 4))


def run(source, w, bias, rows, taps, s_step, t_step, activation, target):
    """w [R, S, G, depth, width]"""
    work = target.size * w.shape[0] * w.shape[1] * w.shape[3] // 8
    loop, weights = correlate, w
    if w.shape[3:] == (1, 1):
        loop, weights = correlate_depthwise, np.ascontiguousarray(w[..., 0, 0])
    else:
        weights = in_panels(w)
    if target.size:
        relu = activation == "relu"
        loop(work, source, weights, or_empty(bias, source), rows, taps, s_step, t_step, relu, target)
    return finished(target, activation)


@real
def conv2d_forward(x, w, b, stride, padding, dilation, groups, activation, algorithm="auto"):
    if activation not in FUSED:
        return Decline(f"activation {activation!r}")
    (N, H, W, C), (R, S, C_G, K) = x.shape, w.shape
    OH, OW = output_size((H, W), (R, S), stride, padding, dilation)
    if (R, S, groups) == (1, 1, 1) and tuple(stride) == (1, 1) and not any(padding):
        return product(x.reshape(1, N * H * W, C), w[0], False, False, b, activation).reshape(N, H, W, K)
    if narrow.suits(C, dilation, groups) and N * OH * OW * R * S:
        y = np.empty((N, OH, OW, K), x.dtype)
        narrow.forward(x, w, b, stride, padding, activation == "relu", y)
        return finished(y, activation)
    if algorithm in WINOGRAD and winograd.suits(x.dtype, (R, S), stride, dilation, groups, (C, K), (OH, OW)) and N:
        y = np.empty((N, OH, OW, K), x.dtype)
        winograd.correlate_tiles(x, w, False, b, padding[0], padding[2], activation == "relu", y)
        return finished(y, activation)
    rows = rows_met(H, OH, R, stride[0], padding[0], dilation[0])
    taps = columns_met(W, OW, S, stride[1], padding[2], dilation[1])
    w = w.reshape(R, S, C_G, groups, K // groups).swapaxes(2, 3)
    return run(x, w, b, rows, taps, stride[1], 0, activation, np.empty((N, OH, OW, K), x.dtype))


@real
def conv2d_backward_input(dy, w, size, stride, padding, dilation, groups, algorithm="auto"):
    (N, OH, OW, K), (R, S, C_G, _), (H, W) = dy.shape, w.shape, size
    before = R - 1 - padding[0], S - 1 - padding[2]
    if algorithm in WINOGRAD and winograd.suits(dy.dtype, (R, S), stride, dilation, groups, (C_G, K), size) and N:
        return winograd.correlate_tiles(dy, w, True, None, *before, False, np.empty((N, H, W, C_G), dy.dtype))
    if narrow.suits(K, dilation, groups) and tuple(stride) == (1, 1) and min(before) >= 0 and N * H * W * R * S * C_G:
        dx, turned = np.empty((N, H, W, C_G), dy.dtype), np.ascontiguousarray(w[::-1, ::-1].swapaxes(2, 3))
        narrow.forward(dy, turned, None, stride, (before[0], 0, before[1], 0), False, dx)
        return dx
    rows = rows_meeting(H, OH, R, stride[0], padding[0], dilation[0])
    taps = columns_met(W, OW, S, stride[1], padding[2], dilation[1])
    w = w.reshape(R, S, C_G, groups, K // groups).transpose(0, 1, 3, 4, 2)
    return run(dy, w, None, rows, taps, 0, stride[1], None, np.empty((N, H, W, C_G * groups), dy.dtype))


# -- backward to the weights -----------------------------------------------------------------------


@jit
def weight_sums(task, x, dy, rows, taps, step, sums):
    """One chunk and tap of sums [chunks, R, S, G, C/G, width]; dy [N, OH, OW, G*width], width whole tiles."""
    chunks, R, S, G, C_G, width = sums.shape
    _, H, W, C = x.shape
    N, OH, OW, _ = dy.shape
    NR = 64 // dy.itemsize
    chunk, r, s = task // (R * S), task // S % R, task % S
    first, last, offset = taps[s]
    for line in range(chunk * N * OH // chunks, (chunk + 1) * N * OH // chunks):
        n, i = line // OH, line % OH
        h = rows[i, r]
        if h < 0:
            continue
        for g in range(G):
            for k in range(0, width, NR):
                add_product(
                    C_G,
                    sums, (task * G + g) * C_G * width + k, width,
                    x, ((n * H + h) * W + first * step + offset) * C + g * C_G, 1, step * C,
                    dy, ((n * OH + i) * OW + first) * G * width + g * width + k, G * width,
                    last - first,
                )  # fmt: skip


@kernel
def backward_weight(x, dy, rows, taps, step, sums):
    for task in prange(sums.shape[0] * sums.shape[1] * sums.shape[2]):
        weight_sums(task, x, dy, rows, taps, step, sums)


@kernel
def backward_weight_depthwise(x, dy, rows, taps, step, sums):
    """The same for sums [chunks, R, S, C]."""
    chunks, R, S, C = sums.shape
    N, OH = dy.shape[:2]
    for task in prange(chunks * R * S):
        chunk, r, s = task // (R * S), task // S % R, task % S
        first, last, offset = taps[s]
        for line in range(chunk * N * OH // chunks, (chunk + 1) * N * OH // chunks):
            n, i = line // OH, line % OH
            h = rows[i, r]
            if h < 0:
                continue
            for j in range(first, last):
                for c in range(C):
                    sums[chunk, r, s, c] += x[n, h, j * step + offset, c] * dy[n, i, j, c]


@real
def conv2d_backward_weight(x, dy, kernel, stride, padding, dilation, groups, algorithm="auto"):
    (N, H, W, C), (_, OH, OW, K), (R, S) = x.shape, dy.shape, kernel
    if narrow.suits(C, dilation, groups) and N * OH * OW * R * S:
        return narrow.gradient_of_weights(x, dy, kernel, stride, padding)
    if algorithm in WINOGRAD and winograd.suits(x.dtype, kernel, stride, dilation, groups, (C, K), (OH, OW)) and N:
        return winograd.gradient_of_weights(x, dy, padding[0], padding[2])
    C_G, K_G, work = C // groups, K // groups, dy.size * R * S * (C // groups) // 8
    rows = rows_met(H, OH, R, stride[0], padding[0], dilation[0])
    taps = columns_met(W, OW, S, stride[1], padding[2], dilation[1])
    chunks = max(1, min(CHUNKS // (R * S) + 1, N * OH, WORKSPACE // max(1, R * S * C_G * K)))
    if C_G == K_G == 1:
        sums = np.zeros((chunks, R, S, C), x.dtype)
        backward_weight_depthwise(work, x, dy, rows, taps, stride[1], sums)
        return sums.sum(axis=0).reshape(R, S, 1, K)
    NR = columns(x.dtype)
    width = -(-K_G // NR) * NR
    if width != K_G:
        unpadded, dy = dy, np.zeros((N, OH, OW, groups, width), x.dtype)
        dy[..., :K_G] = unpadded.reshape(N, OH, OW, groups, K_G)
        dy = dy.reshape(N, OH, OW, groups * width)
    sums = np.zeros((chunks, R, S, groups, C_G, width), x.dtype)
    backward_weight(work, x, dy, rows, taps, stride[1], sums)
    dw = sums.sum(axis=0)[..., :K_G]
    return np.ascontiguousarray(dw.swapaxes(2, 3)).reshape(R, S, C_G, K)
