"""3×3 convolution at stride 1 with a quarter of the multiplications: Winograd's F(4×4, 3×3), in float32.

A tile of 4×4 outputs depends on 6×6 inputs. With the matrices below

    y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ x B) ] A

where ⊙ works channel by channel, so that each of its 36 positions is a product of matrices,
(tiles × channels in) × (channels in × channels out). The input gradient is the same with turned filters, the weight
gradient

    dw = Gᵀ [ (Bᵀ x B) ⊙ (A dy Aᵀ) ] G

with products (channels in × tiles) × (tiles × channels out). The points are {0, 1, -1, 1/2, -2, ∞}: their rounding
errors are a third of those of {0, ±1, ±2, ∞}. Lavin & Gray 2016.

The tiles are worked off in groups, whose transforms stay in the cache: the inputs of a group, its 36 products, its
outputs, each over all threads. The groups follow from the shapes alone, so the bits do not depend on the threads.
"""

import numpy as np
from numba import prange

from dlkit.backends.numba._compile import jit, kernel, or_empty, workspace
from dlkit.backends.numba._tile import MOST_ROWS, add_product, columns, set_product
from dlkit.backends.numba._vector import LANES, combination, store_finished

B_T = [
    [1, -1.5, -2, 1.5, 1, 0],
    [0, -1, 0.5, 2.5, 1, 0],
    [0, 1, -2.5, 0.5, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 0.5, -1, -0.5, 1, 0],
    [0, 1, -1.5, -2, 1.5, 1],
]
G = [
    [1, 0, 0],
    [1 / 3, 1 / 3, 1 / 3],
    [-1 / 3, 1 / 3, -1 / 3],
    [-16 / 15, -8 / 15, -4 / 15],
    [1 / 15, -2 / 15, 4 / 15],
    [0, 0, 1],
]
A_T = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 0.5, -2, 0], [0, 1, 1, 0.25, 4, 0], [0, 1, -1, 0.125, -8, 1]]

IN, OUT, POSITIONS = 6, 4, 36

GROUP = 2**19  # elements of a group's transforms: 2 MB, part of the third cache,
TERMS = 64  # summed on their own before they join a weight gradient: the sum of thousands rounds less
RUN = 4  # tiles in one task of a transform
FEWEST = 128  # but no fewer tiles, or the filters are read too often

times_b, times_g, times_a_t = combination(B_T), combination(G), combination(A_T)
times_a, times_g_t = combination(list(zip(*A_T))), combination(list(zip(*G)))


def suits(dtype, kernel, stride, dilation, groups, channels, size):
    """Whether this is such a convolution, with outputs of this size, and the tiles at the border waste little."""
    tiles = -(-size[0] // OUT) * -(-size[1] // OUT)
    return (
        (dtype, *kernel, *stride, *dilation, groups) == (np.float32, 3, 3, 1, 1, 1, 1, 1)
        and all(c % LANES == 0 and c >= 16 for c in channels)
        and POSITIONS * tiles <= 0.7 * 9 * size[0] * size[1]
    )


# -- transforms, a vector of channels at a time ----------------------------------------------------


@jit
def cut_out(x, n, top, left, size, patch):
    """size × size pixels of image n from (top, left), zeros outside it -> patch [size, size, C]"""
    _, H, W, C = x.shape
    for i in range(size):
        for j in range(size):
            h, w = top + i, left + j
            if 0 <= h < H and 0 <= w < W:
                for c in range(C):
                    patch[i, j, c] = x[n, h, w, c]
            else:
                for c in range(C):
                    patch[i, j, c] = 0


@jit
def place(tile, across, down):
    """Image, tile row and tile column of a tile, of `down` × `across` in an image."""
    return tile // (down * across), tile // across % down, tile % across


@jit
def transform_inputs(x, top, left, down, across, first, count, task, V):
    """RUN of the `count` tiles from `first` -> Bᵀ x B in V [36, T, C]"""
    _, H, W, C = x.shape
    T = V.shape[1]
    patch, half = np.empty((1, IN, IN, C), np.float32), np.empty((IN, IN, LANES), np.float32)
    for tile in range(task * RUN, min(count, (task + 1) * RUN)):
        n, i, j = place(first + tile, across, down)
        h, w = i * OUT - top, j * OUT - left
        source, start, row = x, ((n * H + h) * W + w) * C, W * C
        if h < 0 or w < 0 or h + IN > H or w + IN > W:
            cut_out(x, n, h, w, IN, patch[0])
            source, start, row = patch, 0, IN * C
        for c in range(0, C, LANES):
            for s in range(IN):
                times_b(half, s * LANES, IN * LANES, source, start + s * C + c, row)
            for r in range(IN):
                times_b(V, (r * IN * T + tile) * C + c, T * C, half, r * IN * LANES, LANES)


@jit
def transform_gradients(dy, down, across, first, count, task, D):
    """RUN of the `count` tiles from `first` -> A dy Aᵀ in D [36, T, width], width >= K"""
    _, OH, OW, K = dy.shape
    T, width = D.shape[1:]
    patch, half = np.empty((1, OUT, OUT, K), np.float32), np.empty((IN, OUT, LANES), np.float32)
    for tile in range(task * RUN, min(count, (task + 1) * RUN)):
        n, i, j = place(first + tile, across, down)
        h, w = i * OUT, j * OUT
        source, start, row = dy, ((n * OH + h) * OW + w) * K, OW * K
        if h + OUT > OH or w + OUT > OW:
            cut_out(dy, n, h, w, OUT, patch[0])
            source, start, row = patch, 0, OUT * K
        for k in range(0, K, LANES):
            for s in range(OUT):
                times_a(half, s * LANES, OUT * LANES, source, start + s * K + k, row)
            for r in range(IN):
                times_a(D, (r * IN * T + tile) * width + k, T * width, half, r * OUT * LANES, LANES)


@jit
def transform_outputs(products, bias, relu, down, across, first, count, task, y):
    """Aᵀ products A, products [36, T, width] -> RUN of the `count` tiles of y from `first`"""
    _, OH, OW, K = y.shape
    T, width = products.shape[1:]
    half, whole = np.empty((OUT, IN, LANES), np.float32), np.empty((OUT, OUT, LANES), np.float32)
    for tile in range(task * RUN, min(count, (task + 1) * RUN)):
        n, i, j = place(first + tile, across, down)
        h, w = i * OUT, j * OUT
        for k in range(0, K, LANES):
            for s in range(IN):
                times_a_t(half, s * LANES, IN * LANES, products, (s * T + tile) * width + k, IN * T * width)
            for r in range(min(OUT, OH - h)):
                times_a_t(whole, r * OUT * LANES, LANES, half, r * IN * LANES, LANES)
                for s in range(min(OUT, OW - w)):
                    to = ((n * OH + h + r) * OW + w + s) * K + k
                    store_finished(y, to, whole, (r * OUT + s) * LANES, bias, k, relu)


@jit
def turn(w, k, taps):
    """w[2 - r, 2 - s, k + lane, c] -> taps [3, 3, depth, LANES], in blocks, which the nearest cache holds"""
    depth = taps.shape[2]
    for r in range(3):
        for s in range(3):
            for c0 in range(0, depth, LANES):
                for c in range(c0, min(depth, c0 + LANES)):
                    for lane in range(LANES):
                        taps[r, s, c, lane] = w[2 - r, 2 - s, k + lane, c]


@jit
def transform_filters(w, turned, panel, U):
    """G w Gᵀ -> panel `panel` of U [36, P, depth, NR]; w [3, 3, depth, width], turned: [3, 3, width, depth]"""
    P, depth, NR = U.shape[1:]
    width = w.shape[2] if turned else w.shape[3]
    turned_taps, half = np.empty((3, 3, depth, LANES), np.float32), np.empty((IN, 3, LANES), np.float32)
    for k in range(panel * NR, min(width, (panel + 1) * NR), LANES):
        if turned:
            turn(w, k, turned_taps)
        for c in range(depth):
            for s in range(3):
                if turned:
                    times_g(half, s * LANES, 3 * LANES, turned_taps, (s * depth + c) * LANES, 3 * depth * LANES)
                else:
                    times_g(half, s * LANES, 3 * LANES, w, (s * depth + c) * width + k, 3 * depth * width)
            for r in range(IN):
                to = ((r * IN * P + panel) * depth + c) * NR + k - panel * NR
                times_g(U, to, P * depth * NR, half, r * 3 * LANES, LANES)


@jit
def gather_filters(dU, c, dw):
    """Gᵀ dU G, dU [36, C, width] -> dw[:, :, c]"""
    _, C, width = dU.shape
    K = dw.shape[3]
    half = np.empty((3, IN, LANES), np.float32)
    for k in range(0, K, LANES):
        for s in range(IN):
            times_g_t(half, s * LANES, IN * LANES, dU, (s * C + c) * width + k, IN * C * width)
        for r in range(3):
            times_g_t(dw, (r * 3 * C + c) * K + k, C * K, half, r * IN * LANES, LANES)


# -- the 36 products -------------------------------------------------------------------------------


@jit
def multiply(V, count, U, task, products):
    """One position and panel of products [36, T, P*NR] = V [36, T, C] U [36, P, C, NR], for `count` tiles"""
    T, C = V.shape[1:]
    P, _, NR = U.shape[1:]
    position, panel = task // P, task % P
    set_product(
        count,
        products, position * T * P * NR + panel * NR, P * NR,
        V, position * T * C, C, 1,
        U, task * C * NR, NR,
        C,
    )  # fmt: skip


@jit
def multiply_gradients(V, D, count, task, dU):
    """One position and panel of dU [36, C, P*NR] += Vᵀ D, over `count` tiles"""
    T, C = V.shape[1:]
    width, NR = D.shape[2], 64 // D.itemsize
    P = width // NR
    position, panel = task // P, task % P
    for t in range(0, count, TERMS):
        add_product(
            C,
            dU, position * C * width + panel * NR, width,
            V, (position * T + t) * C, 1, C,
            D, (position * T + t) * width + panel * NR, width,
            min(TERMS, count - t),
        )  # fmt: skip


# -- the three convolutions ------------------------------------------------------------------------


@kernel(serial=False)
def filters(w, turned, U):
    for panel in prange(U.shape[1]):
        transform_filters(w, turned, panel, U)


@kernel(serial=False)
def outputs(x, U, bias, relu, top, left, V, products, y):
    N, OH, OW, _ = y.shape
    down, across, T = (OH + OUT - 1) // OUT, (OW + OUT - 1) // OUT, V.shape[1]
    tiles = N * down * across
    for first in range(0, tiles, T):
        count = min(T, tiles - first)
        for task in prange((count + RUN - 1) // RUN):
            transform_inputs(x, top, left, down, across, first, count, task, V)
        for task in prange(POSITIONS * U.shape[1]):
            multiply(V, count, U, task, products)
        for task in prange((count + RUN - 1) // RUN):
            transform_outputs(products, bias, relu, down, across, first, count, task, y)


@kernel(serial=False)
def weight_gradient(x, dy, top, left, V, D, dU, dw):
    N, OH, OW, _ = dy.shape
    down, across, T = (OH + OUT - 1) // OUT, (OW + OUT - 1) // OUT, V.shape[1]
    tiles = N * down * across
    for first in range(0, tiles, T):
        count = min(T, tiles - first)
        for task in prange((count + RUN - 1) // RUN):
            transform_inputs(x, top, left, down, across, first, count, task, V)
            transform_gradients(dy, down, across, first, count, task, D)
        for task in prange(POSITIONS * D.shape[2] // (64 // D.itemsize)):
            multiply_gradients(V, D, count, task, dU)
    for c in prange(dw.shape[2]):
        gather_filters(dU, c, dw)


def group(tiles, channels):
    """Tiles in a group: the groups are of nearly one size, and in whole sixes."""
    most = max(FEWEST, GROUP // (POSITIONS * channels))
    size = -(-tiles // -(-tiles // most))
    return -(-size // MOST_ROWS) * MOST_ROWS


def count_tiles(shape):
    return shape[0] * -(-shape[1] // OUT) * -(-shape[2] // OUT)


def correlate_tiles(x, w, turned, bias, top, left, relu, y):
    """y = x ⋆ w, then bias and relu; turned: with w's channels swapped and its taps in reverse."""
    C, K, NR = x.shape[3], y.shape[3], columns(x.dtype)
    P, T = -(-K // NR), group(count_tiles(y.shape), C + K)
    U, V, products = workspace(x.dtype, (POSITIONS, P, C, NR), (POSITIONS, T, C), (POSITIONS, T, P * NR))
    if K % NR:
        U[:, -1] = 0
    filters(8 * U.size, w, turned, U)
    outputs(y.size * C, x, U, or_empty(bias, x), relu, top, left, V, products, y)
    return y


def gradient_of_weights(x, dy, top, left):
    C, K, NR = x.shape[3], dy.shape[3], columns(x.dtype)
    width, T = -(-K // NR) * NR, group(count_tiles(dy.shape), C + K)
    V, D, dU = workspace(x.dtype, (POSITIONS, T, C), (POSITIONS, T, width), (POSITIONS, C, width))
    D[..., K:] = 0
    dU[:] = 0
    dw = np.empty((3, 3, C, K), x.dtype)
    weight_gradient(dy.size * C, x, dy, top, left, V, D, dU, dw)
    return dw
