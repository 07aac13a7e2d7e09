"""The loops over a hole's cells. `x`, `b`, ... are [C, n + 1]: a row for each channel, and 0 behind the last cell.

A level's cells are numbered 0..n-1; `index` [h + 4, w + 4], flat, holds the number of the cell at each place of a grid
with a border of 2, and n where there is none. `place` [n] is the way back. A cell's weights stand in `weights[kind]`, one for
each of `offsets`, the steps through `index` to the cells it touches.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np
from numba import prange

from dlkit.jit import jit, kernel

BLOCK = 2048  # cells: the unit of work of a thread, and of a sum


@kernel
def chebyshev(x, new, d, b, scale, keep, gain, place, index, offsets, kind, weights):
    """d = keep · d + gain · D⁻¹(b - A x); new = x + d"""
    n = place.size
    for block in prange((n + BLOCK - 1) // BLOCK):
        for c in range(x.shape[0]):
            for r in range(block * BLOCK, min((block + 1) * BLOCK, n)):
                p, w = place[r], kind[r]
                s = b[c, r]
                for k in range(offsets.size):
                    s -= weights[w, k] * x[c, index[p + offsets[k]]]
                d[c, r] = keep * d[c, r] + gain * scale[r] * s
                new[c, r] = x[c, r] + d[c, r]


@kernel
def first_step(x, d, b, scale, gain):
    """x = d = gain · D⁻¹b: the step from x = 0"""
    n = scale.size
    for block in prange((n + BLOCK - 1) // BLOCK):
        for c in range(x.shape[0]):
            for r in range(block * BLOCK, min((block + 1) * BLOCK, n)):
                d[c, r] = gain * scale[r] * b[c, r]
                x[c, r] = d[c, r]


@kernel
def residual(x, b, out, place, index, offsets, kind, weights):
    """out = b - A x"""
    n = place.size
    for block in prange((n + BLOCK - 1) // BLOCK):
        for c in range(x.shape[0]):
            for r in range(block * BLOCK, min((block + 1) * BLOCK, n)):
                p, w = place[r], kind[r]
                s = b[c, r]
                for k in range(offsets.size):
                    s -= weights[w, k] * x[c, index[p + offsets[k]]]
                out[c, r] = s


@jit
def share(fine, coarse, cells):
    """P's weight, along one axis, between a fine cell and a coarse one; all goes to the nearest where the grid ends."""
    nearest = fine >> 1
    other = nearest + 1 if fine & 1 else nearest - 1
    if coarse == nearest:
        return 0.75 if 0 <= other < cells else 1.0
    return 0.25 if coarse == other else 0.0


@kernel
def restrict(fine, coarse, index, stride, coarse_place, coarse_stride, coarse_rows, coarse_columns):
    """coarse = Pᵀ fine"""
    n = coarse_place.size
    for block in prange((n + BLOCK - 1) // BLOCK):
        for c in range(fine.shape[0]):
            for R in range(block * BLOCK, min((block + 1) * BLOCK, n)):
                I, J = coarse_place[R] // coarse_stride - 2, coarse_place[R] % coarse_stride - 2
                s = 0.0
                for i in range(2 * I - 1, 2 * I + 3):
                    across = share(i, I, coarse_rows)
                    for j in range(2 * J - 1, 2 * J + 3):
                        s += across * share(j, J, coarse_columns) * fine[c, index[(i + 2) * stride + j + 2]]
                coarse[c, R] = s


@kernel
def prolong(coarse, fine, place, stride, coarse_index, coarse_stride, coarse_rows, coarse_columns):
    """fine += P coarse"""
    n = place.size
    for block in prange((n + BLOCK - 1) // BLOCK):
        for c in range(fine.shape[0]):
            for r in range(block * BLOCK, min((block + 1) * BLOCK, n)):
                i, j = place[r] // stride - 2, place[r] % stride - 2
                s = 0.0
                for I in range((i >> 1) - 1 + (i & 1), (i >> 1) + 1 + (i & 1)):
                    across = share(i, I, coarse_rows)
                    for J in range((j >> 1) - 1 + (j & 1), (j >> 1) + 1 + (j & 1)):
                        place_there = (I + 2) * coarse_stride + J + 2
                        s += across * share(j, J, coarse_columns) * coarse[c, coarse_index[place_there]]
                fine[c, r] += s


@kernel(serial=False)
def galerkin(
    place, index, stride, offsets, kind, weights, coarse_place, coarse_stride, rows, columns, coarse_index, out
):
    """out [m, 5, 5] = Pᵀ A P, zeroed before"""
    n, m = place.size, coarse_place.size
    for block in prange((m + BLOCK - 1) // BLOCK):
        for R in range(block * BLOCK, min((block + 1) * BLOCK, m)):
            I, J = coarse_place[R] // coarse_stride - 2, coarse_place[R] % coarse_stride - 2
            for i in range(2 * I - 1, 2 * I + 3):
                for j in range(2 * J - 1, 2 * J + 3):
                    r = index[(i + 2) * stride + j + 2]
                    here = share(i, I, rows) * share(j, J, columns)
                    if r == n or here == 0.0:
                        continue
                    for k in range(offsets.size):
                        q = place[r] + offsets[k]
                        a = here * weights[kind[r], k]
                        if a == 0.0 or index[q] == n:
                            continue
                        y, x = q // stride - 2, q % stride - 2
                        for Y in range((y >> 1) - 1 + (y & 1), (y >> 1) + 1 + (y & 1)):
                            across = a * share(y, Y, rows)
                            for X in range((x >> 1) - 1 + (x & 1), (x >> 1) + 1 + (x & 1)):
                                if coarse_index[(Y + 2) * coarse_stride + X + 2] < m:
                                    out[R, Y - I + 2, X - J + 2] += across * share(x, X, columns)


@kernel(serial=False)
def bounds(place, index, offsets, kind, weights, scale, radius):
    """scale = 1 / A's diagonal; radius [blocks] = the largest Σ|a_ij| / a_ii: no eigenvalue of D⁻¹A is larger (Gershgorin)"""
    n = place.size
    for block in prange((n + BLOCK - 1) // BLOCK):
        largest = 0.0
        for r in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            total, diagonal = 0.0, 0.0
            for k in range(offsets.size):
                if index[place[r] + offsets[k]] < n:
                    total += abs(weights[kind[r], k])
                if offsets[k] == 0:
                    diagonal = weights[kind[r], k]
            scale[r] = 1.0 / diagonal
            largest = max(largest, total / diagonal)
        radius[block] = largest


@kernel(serial=False)
def right_hand_side(image, place, index, offsets, kind, weights, b):
    """b = -A image, image [C, places] with 0 in the hole"""
    n = place.size
    for block in prange((n + BLOCK - 1) // BLOCK):
        for c in range(b.shape[0]):
            for r in range(block * BLOCK, min((block + 1) * BLOCK, n)):
                s = 0.0
                for k in range(offsets.size):
                    s -= weights[kind[r], k] * image[c, place[r] + offsets[k]]
                b[c, r] = s


@kernel
def dot(a, b, n, parts):
    """parts [C, blocks]: Σ a b over each block of cells; to be added up in order"""
    for block in prange(parts.shape[1]):
        for c in range(a.shape[0]):
            s = 0.0
            for r in range(block * BLOCK, min((block + 1) * BLOCK, n)):
                s += np.float64(a[c, r]) * np.float64(b[c, r])
            parts[c, block] = s


@kernel
def step(x, r, p, q, alpha, n, moved):
    """x += α p, r += α q; moved [blocks] = the largest |α p|"""
    for block in prange(moved.size):
        largest = 0.0
        for c in range(x.shape[0]):
            for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
                change = alpha[c] * p[c, i]
                x[c, i] += change
                r[c, i] += alpha[c] * q[c, i]
                largest = max(largest, abs(change))
        moved[block] = largest


@kernel
def turn(p, z, beta, n):
    """p = z + β p"""
    for block in prange((n + BLOCK - 1) // BLOCK):
        for c in range(p.shape[0]):
            for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
                p[c, i] = z[c, i] + beta[c] * p[c, i]
