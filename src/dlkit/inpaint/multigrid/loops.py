"""The loops over a hole's cells. `x`, `b`, ... are [n + 1, C], C = 1 or 3: a row for each cell, and a row of 0.

A level's cells are numbered 0..n-1; `index` [h + 4, w + 4], flat, holds the number of the cell at each place of a grid
with a border of 2, and n where there is none. `place` [n] is the way back. A cell's weights stand in `weights[kind]`, one for
each of `offsets`, the steps through `index` to the cells it touches.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import prange

from dlkit.jit import Kernel, kernel, renamed

BLOCK = 2048  # cells: the unit of work of a thread, and of a sum


def for_channels(loop: Callable) -> dict[int, Kernel]:
    """The loop compiled for grey and for RGB, `C` a constant in it: the sums stay in registers."""
    return {C: Kernel(renamed(loop, f"{loop.__name__}_{C}", loop, C=C)) for C in (1, 3)}


C = 3  # replaced by for_channels


def _chebyshev(x, new, d, b, scale, keep, gain, place, index, offsets, kind, weights):
    n = place.size
    for block in prange((n + BLOCK - 1) // BLOCK):
        for r in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            p, w = place[r], kind[r]
            s0 = b[r, 0]
            if C == 3:
                s1, s2 = b[r, 1], b[r, 2]
            for k in range(offsets.size):
                a, q = weights[w, k], index[np.uintp(p + offsets[k])]
                s0 -= a * x[q, 0]
                if C == 3:
                    s1 -= a * x[q, 1]
                    s2 -= a * x[q, 2]
            g = gain * scale[r]
            d[r, 0] = keep * d[r, 0] + g * s0
            new[r, 0] = x[r, 0] + d[r, 0]
            if C == 3:
                d[r, 1] = keep * d[r, 1] + g * s1
                d[r, 2] = keep * d[r, 2] + g * s2
                new[r, 1] = x[r, 1] + d[r, 1]
                new[r, 2] = x[r, 2] + d[r, 2]


chebyshev = for_channels(_chebyshev)  # d = keep · d + gain · D⁻¹(b - A x); new = x + d


def _residual(x, b, out, place, index, offsets, kind, weights):
    n = place.size
    for block in prange((n + BLOCK - 1) // BLOCK):
        for r in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            p, w = place[r], kind[r]
            s0 = b[r, 0]
            if C == 3:
                s1, s2 = b[r, 1], b[r, 2]
            for k in range(offsets.size):
                a, q = weights[w, k], index[np.uintp(p + offsets[k])]
                s0 -= a * x[q, 0]
                if C == 3:
                    s1 -= a * x[q, 1]
                    s2 -= a * x[q, 2]
            out[r, 0] = s0
            if C == 3:
                out[r, 1] = s1
                out[r, 2] = s2


residual = for_channels(_residual)  # out = b - A x


@kernel(threads=False)
def first_step(x, d, b, scale, gain):
    """x = d = gain · D⁻¹b: the step from x = 0"""
    n = scale.size
    for block in prange((n + BLOCK - 1) // BLOCK):
        for r in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            for c in range(x.shape[1]):
                d[r, c] = gain * scale[r] * b[r, c]
                x[r, c] = d[r, c]


@kernel
def restrict(fine, coarse, index, stride, down, across, coarse_place, coarse_stride):
    """coarse = Pᵀ fine; `down` and `across` are P's shares along each axis (see `levels.shares`)"""
    n = coarse_place.size
    for block in prange((n + BLOCK - 1) // BLOCK):
        for R in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            i, j = 2 * (coarse_place[R] // coarse_stride - 2) - 1, 2 * (coarse_place[R] % coarse_stride - 2) - 1
            for c in range(fine.shape[1]):
                coarse[R, c] = 0
            for a in range(4):  # the four rows, and columns, of cells that have a share in this one
                for e in range(4):
                    weight = down[i + a + 1, 1 - a // 2] * across[j + e + 1, 1 - e // 2]
                    r = index[np.uintp((i + a + 2) * stride + j + e + 2)]
                    for c in range(fine.shape[1]):
                        coarse[R, c] += weight * fine[r, c]


@kernel
def prolong(coarse, fine, place, stride, down, across, coarse_index, coarse_stride):
    """fine += P coarse"""
    n = place.size
    for block in prange((n + BLOCK - 1) // BLOCK):
        for r in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            i, j = place[r] // stride - 2, place[r] % stride - 2
            corner = ((i + 1) // 2 + 1) * coarse_stride + (j + 1) // 2 + 1
            for a in range(2):
                for e in range(2):
                    weight = down[i + 1, a] * across[j + 1, e]
                    R = coarse_index[np.uintp(corner + a * coarse_stride + e)]
                    for c in range(fine.shape[1]):
                        fine[r, c] += weight * coarse[R, c]


@kernel(serial=False)
def galerkin(
    place, index, stride, offsets, kind, weights, down, across, coarse_place, coarse_stride, coarse_index, out
):
    """out [m, 5, 5] = Pᵀ A P, zeroed before"""
    n, m = place.size, coarse_place.size
    for block in prange((m + BLOCK - 1) // BLOCK):
        for R in range(block * BLOCK, min((block + 1) * BLOCK, m)):
            I, J = coarse_place[R] // coarse_stride - 2, coarse_place[R] % coarse_stride - 2
            for a in range(4):
                for e in range(4):
                    i, j = 2 * I - 1 + a, 2 * J - 1 + e
                    r = index[np.uintp((i + 2) * stride + j + 2)]
                    here = down[i + 1, 1 - a // 2] * across[j + 1, 1 - e // 2]
                    if r == n or here == 0:
                        continue
                    for k in range(offsets.size):
                        q = place[r] + offsets[k]
                        value = here * weights[kind[r], k]
                        if value == 0 or index[np.uintp(q)] == n:
                            continue
                        y, x = q // stride - 2, q % stride - 2
                        Y, X = (y + 1) // 2 - 1, (x + 1) // 2 - 1  # the first of two parents, each way
                        for v in range(2):
                            for u in range(2):
                                if coarse_index[np.uintp((Y + v + 2) * coarse_stride + X + u + 2)] < m:
                                    out[R, Y + v - I + 2, X + u - J + 2] += value * down[y + 1, v] * across[x + 1, u]


@kernel(threads=False)
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


@kernel(threads=False)
def right_hand_side(image, place, index, offsets, kind, weights, b):
    """b = -A image, image [places, C] with 0 in the hole"""
    n = place.size
    for block in prange((n + BLOCK - 1) // BLOCK):
        for r in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            for c in range(b.shape[1]):
                s = 0.0
                for k in range(offsets.size):
                    s -= weights[kind[r], k] * image[place[r] + offsets[k], c]
                b[r, c] = s


@kernel(threads=False)
def dot(a, b, n, parts):
    """parts [blocks, C]: Σ a b over each block of cells; to be added up in order"""
    for block in prange(parts.shape[0]):
        for c in range(a.shape[1]):
            s = 0.0
            for r in range(block * BLOCK, min((block + 1) * BLOCK, n)):
                s += np.float64(a[r, c]) * np.float64(b[r, c])
            parts[block, c] = s


@kernel(threads=False)
def step(x, r, p, q, alpha, n, moved):
    """x += α p, r += α q; moved [blocks] = the largest |α p|"""
    for block in prange(moved.size):
        largest = 0.0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            for c in range(x.shape[1]):
                change = alpha[c] * p[i, c]
                x[i, c] += change
                r[i, c] += alpha[c] * q[i, c]
                largest = max(largest, abs(change))
        moved[block] = largest


@kernel(threads=False)
def turn(p, z, beta, n):
    """p = z + β p"""
    for block in prange((n + BLOCK - 1) // BLOCK):
        for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            for c in range(p.shape[1]):
                p[i, c] = z[i, c] + beta[c] * p[i, c]
