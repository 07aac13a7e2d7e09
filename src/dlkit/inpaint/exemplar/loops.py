"""PatchMatch: for every patch of the hole the known patch most like it, and the hole's pixels from what those say.

A level is one scale of the photo: `layers` float32 [H, W, D], its colours followed by its texture features; `centres`
int64 [n, 2], the middles of the patches that touch the hole; `index` [H, W], a centre's number, -1 elsewhere; `found`
int64 [n, 2], for each the middle of the most similar known patch so far, and `cost` [n], the sum of squared differences.

A sweep looks at the state before it only, and the random numbers of a centre follow from the seed, the sweep and its
place: the result is the same for any number of threads.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np
from numba import prange

from dlkit.jit import jit

RADIUS = 3  # patches are 7 x 7
FAR = 1.3  # by this factor a patch counts less for each pixel that it lies further inside the hole


@jit
def scrambled(x):
    """A random-looking 64-bit number for each x: the finaliser of splitmix64 (Steele, Lea & Flood 2014)."""
    x = (x + np.uint64(0x9E3779B97F4A7C15)) & np.uint64(0xFFFFFFFFFFFFFFFF)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@jit(reassociate=True)
def difference(layers, i, j, y, x, limit):
    """Σ (patch at (i, j) - patch at (y, x))²; at least `limit` once that is sure."""
    total = np.float32(0)
    for r in range(-RADIUS, RADIUS + 1):
        for s in range(-RADIUS, RADIUS + 1):
            for c in range(layers.shape[2]):
                step = layers[i + r, j + s, c] - layers[y + r, x + s, c]
                total += step * step
        if total >= limit:
            break
    return total


@jit(parallel=True)
def measure(layers, centres, found, cost):
    """cost, after the layers have changed"""
    for n in prange(len(centres)):
        cost[n] = difference(layers, centres[n, 0], centres[n, 1], found[n, 0], found[n, 1], np.float32(np.inf))


@jit(parallel=True)
def sweep(layers, whole, centres, index, found, cost, new_found, new_cost, distance, seed):
    """Each centre tries what its neighbours at `distance` have found, moved along, then places at random, ever nearer.

    whole : bool [H, W], whether the patch around a pixel is known. Barnes et al. 2009, section 3.2, all at once.
    """
    H, W = whole.shape
    for n in prange(len(centres)):
        i, j = centres[n]
        best_y, best_x, best = found[n, 0], found[n, 1], cost[n]
        for k in range(4):
            di, dj = ((-distance, 0), (distance, 0), (0, -distance), (0, distance))[k]
            if not (0 <= i + di < H and 0 <= j + dj < W):
                continue
            m = index[i + di, j + dj]
            if m < 0:
                continue
            y, x = found[m, 0] - di, found[m, 1] - dj
            if 0 <= y < H and 0 <= x < W and whole[y, x]:
                d = difference(layers, i, j, y, x, best)
                if d < best:
                    best_y, best_x, best = y, x, d
        state = scrambled(np.uint64(seed) * np.uint64(0x2545F4914F6CDD1D) + np.uint64(i * W + j))
        reach = max(H, W)
        while reach >= 1:
            state = scrambled(state)
            y = best_y - reach + np.int64(state % np.uint64(2 * reach + 1))
            state = scrambled(state)
            x = best_x - reach + np.int64(state % np.uint64(2 * reach + 1))
            if 0 <= y < H and 0 <= x < W and whole[y, x]:
                d = difference(layers, i, j, y, x, best)
                if d < best:
                    best_y, best_x, best = y, x, d
            reach //= 2
        new_found[n, 0], new_found[n, 1], new_cost[n] = best_y, best_x, best


@jit(parallel=True)
def peel(layers, known, ring, candidates, found):
    """found[n] = the candidate, int64 [m, 2], whose patch is most like what is known of the patch around pixel ring[n]."""
    H, W, D = layers.shape
    for n in prange(len(ring)):
        i, j = ring[n]
        best = np.float32(np.inf)
        for y, x in candidates:
            total = np.float32(0)
            for r in range(max(-RADIUS, -i), min(RADIUS + 1, H - i)):
                for s in range(max(-RADIUS, -j), min(RADIUS + 1, W - j)):
                    if known[i + r, j + s]:
                        for c in range(D):
                            step = layers[i + r, j + s, c] - layers[y + r, x + s, c]
                            total += step * step
                if total >= best:
                    break
            if total < best:
                best = total
                found[n, 0], found[n, 1] = y, x


@jit(parallel=True)
def vote(layers, pixels, index, found, cost, depth, scale, sharp, out):
    """out[p] = what the patches over hole pixel p say its layers are.

    A patch's say is exp(-cost / (2 scale)) · FAR^-depth of its middle (Wexler et al. 2007, section 3.2): a mean of all, or,
    if `sharp`, what the one with the largest say says.
    """
    H, W, D = layers.shape
    for p in prange(len(pixels)):
        i, j = pixels[p]
        total = np.zeros(D)
        weights, most = 0.0, -1.0
        for r in range(max(i - RADIUS, 0), min(i + RADIUS + 1, H)):
            for s in range(max(j - RADIUS, 0), min(j + RADIUS + 1, W)):
                n = index[r, s]
                if n < 0:
                    continue
                weight = np.exp(-cost[n] / (2 * scale)) * FAR ** -depth[r, s] + 1e-30
                y, x = found[n, 0] + i - r, found[n, 1] + j - s
                if not sharp:
                    weights += weight
                    for c in range(D):
                        total[c] += weight * layers[y, x, c]
                elif weight > most:
                    most = weight
                    weights = 1.0
                    for c in range(D):
                        total[c] = layers[y, x, c]
        for c in range(D):
            out[p, c] = total[c] / weights if weights > 0 else layers[i, j, c]
