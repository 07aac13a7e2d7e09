"""Products of matrices from tiles.

B is packed into panels as wide as a tile, zeros behind its last column. Each task computes ROWS × WIDTH of
C in a buffer of its own; from A it packs ROWS × DEPTH at a time, six rows side by side. Sizes: A's block
and the buffer stay in the second cache (512 KB), DEPTH rows of a panel in the first (32 KB).
"""

import numpy as np
from numba import prange

from dlkit.backends.contract import Decline
from dlkit.backends.numba._compile import jit, kernel, or_empty, real
from dlkit.backends.numba._tile import MOST_ROWS, add_six, columns
from dlkit.backends.numba.activation import FUSED, finish, finished

__all__ = ["linear_forward", "matmul"]

ROWS, WIDTH, DEPTH = 96, 256, 256
TILE = MOST_ROWS


@kernel
def pack_panels(b, transposed, panels):
    """b [B, I, O], or [B, O, I] if transposed -> panels [B, P, I, NR]"""
    B, P, I, NR = panels.shape
    O = b.shape[1] if transposed else b.shape[2]
    for task in prange(B * P):
        n, p = task // P, task % P
        width = min(NR, O - p * NR)
        for i in range(I):
            for j in range(width):
                panels[n, p, i, j] = b[n, p * NR + j, i] if transposed else b[n, i, p * NR + j]
            for j in range(width, NR):
                panels[n, p, i, j] = 0


@jit
def blocks(y):
    """Into how many blocks of ROWS × WIDTH the matrices of y fall: down, across."""
    return (y.shape[1] + ROWS - 1) // ROWS, (y.shape[2] + WIDTH - 1) // WIDTH


@jit
def pack_rows(a, n, transposed, m0, i0, depth, packed):
    """depth columns of a from i0, rows from m0, side by side in sixes -> packed [tiles, DEPTH, TILE]"""
    M = a.shape[2] if transposed else a.shape[1]
    for t in range(packed.shape[0]):
        first = m0 + t * TILE
        count = min(TILE, M - first)
        if transposed:
            for i in range(depth):
                for row in range(count):
                    packed[t, i, row] = a[n, i0 + i, first + row]
        else:
            for row in range(count):
                for i in range(depth):
                    packed[t, i, row] = a[n, first + row, i0 + i]
        for row in range(count, TILE):
            for i in range(depth):
                packed[t, i, row] = 0


@jit
def multiply_block(task, a, transposed, panels, bias, relu, y):
    """One block of y [B, M, O] = a b + bias, then relu: a [B, M, I], or [B, I, M] if transposed."""
    M, O = y.shape[1:]
    P, I, NR = panels.shape[1:]
    down, across = blocks(y)
    n, block = task // (down * across), task % (down * across)
    m0, o0 = block // across * ROWS, block % across * WIDTH
    rows, width = min(ROWS, M - m0), min(WIDTH, O - o0)
    tiles, strips = (rows + TILE - 1) // TILE, (width + NR - 1) // NR

    c = np.zeros((tiles * TILE, strips * NR), y.dtype)
    packed = np.empty((tiles, DEPTH, TILE), y.dtype)
    for i0 in range(0, I, DEPTH):
        depth = min(DEPTH, I - i0)
        pack_rows(a, n % a.shape[0], transposed, m0, i0, depth, packed)
        for strip in range(strips):
            b0 = ((n % panels.shape[0] * P + o0 // NR + strip) * I + i0) * NR
            for t in range(tiles):
                c0 = (t * TILE * strips + strip) * NR
                add_six(c, c0, strips * NR, packed, t * DEPTH * TILE, 1, TILE, panels, b0, NR, depth, 1, 0, 0)

    for row in range(rows):
        for o in range(width):
            v = c[row, o] + bias[o0 + o] if bias.size else c[row, o]
            y[n, m0 + row, o0 + o] = finish(v, relu)


@kernel
def multiply_panels(a, transposed, panels, bias, relu, y):
    """y = a b + bias, then relu, block by block; a and b may have one matrix for all of y's."""
    down, across = blocks(y)
    for task in prange(y.shape[0] * down * across):
        multiply_block(task, a, transposed, panels, bias, relu, y)


def product(a, b, transpose_a, transpose_b, bias, activation):
    """f(a b + bias) with one leading axis each, equal or 1."""
    I, M = a.shape[1:] if transpose_a else a.shape[:0:-1]
    O = b.shape[1] if transpose_b else b.shape[2]
    B = max(len(a), len(b)) if len(a) and len(b) else 0
    y = np.empty((B, M, O), a.dtype)
    if y.size:
        NR = columns(a.dtype)
        panels = np.empty((len(b), -(-O // NR), I, NR), a.dtype)
        pack_panels(panels.size, b, transpose_b, panels)
        bias = or_empty(bias, a)
        multiply_panels(B * M * I * O // 8, a, transpose_a, panels, bias, activation == "relu", y)
    return finished(y, activation)


def stacked(x, leading):
    """x [..., M, I] as [B, M, I], with B = 1 or the product of `leading`."""
    if x.size and x.shape[:-2] != leading and any(size != 1 for size in x.shape[:-2]):
        x = np.ascontiguousarray(np.broadcast_to(x, leading + x.shape[-2:]))
    B = 1 if all(size == 1 for size in x.shape[:-2]) else int(np.prod(x.shape[:-2]))
    return x.reshape(B, *x.shape[-2:])


@real
def matmul(a, b, transpose_a=False, transpose_b=False):
    if a.ndim < 2 or b.ndim < 2:
        return Decline("matrices only, no vectors")
    I = a.shape[-2] if transpose_a else a.shape[-1]
    M = a.shape[-1] if transpose_a else a.shape[-2]
    I_b, O = b.shape[:-3:-1] if transpose_b else b.shape[-2:]
    try:
        leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        return Decline(f"leading axes {a.shape[:-2]} and {b.shape[:-2]} do not broadcast")
    if I_b != I:
        return Decline(f"inner sizes {I} and {I_b} differ")
    if 0 in leading:
        return np.empty((*leading, M, O), a.dtype)
    if b.ndim == 2 and not transpose_a:
        a = a.reshape(1, -1, I) if I else a.reshape(1, int(np.prod(a.shape[:-1])), 0)  # one tall matrix
        return product(a, b[None], False, transpose_b, None, None).reshape(*leading, M, O)
    a, b = stacked(a, leading), stacked(b, leading)
    return product(a, b, bool(transpose_a), bool(transpose_b), None, None).reshape(*leading, M, O)


@real
def linear_forward(x, w, b, activation):
    if activation not in FUSED:
        return Decline(f"activation {activation!r}")
    return product(x[None], w[None], False, False, b, activation)[0]
