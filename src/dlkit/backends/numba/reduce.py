"""Sums, in fixed chunks that are added up in order, in float64."""

import numpy as np
from numba import prange

from dlkit.backends.contract import Decline
from dlkit.backends.numba._compile import kernel, real
from dlkit.backends.numba.elementwise import flat

__all__ = ["all_finite", "sum", "sum_of_squares"]

CHUNK, MOST = 4096, 64  # a chunk has at least so many elements; there are at most so many chunks


def chunks(elements):
    return max(1, min(MOST, elements // CHUNK))


@kernel(reassociate=True)
def partial_sums(x, sums):
    """x [O, R, P] -> sums [O, chunks, P]: each chunk of R by itself."""
    O, R, P = x.shape
    count = sums.shape[1]
    for task in prange(O * count):
        o, chunk = task // count, task % count
        first, last = chunk * R // count, (chunk + 1) * R // count
        if P == 1:
            total = x.dtype.type(0)
            for r in range(first, last):
                total += x[o, r, 0]
            sums[o, chunk, 0] = total
        else:
            for p in range(P):
                sums[o, chunk, p] = 0
            for r in range(first, last):
                for p in range(P):
                    sums[o, chunk, p] += x[o, r, p]


@kernel(reassociate=True)
def partial_squares(x, sums):
    for chunk in prange(sums.size):
        total = 0.0
        for i in range(chunk * x.size // sums.size, (chunk + 1) * x.size // sums.size):
            total += np.float64(x[i]) * np.float64(x[i])
        sums[chunk] = total


@kernel
def chunks_not_finite(x, found):
    for chunk in prange(found.size):
        any_ = 0
        for i in range(chunk * x.size // found.size, (chunk + 1) * x.size // found.size):
            any_ |= x[i] - x[i] != 0  # infinity - infinity is NaN
        found[chunk] = any_


def sums_over(x):
    """x [O, R, P] -> [O, P]"""
    O, R, P = x.shape
    sums = np.empty((O, chunks(R * P), P), x.dtype)
    partial_sums(x.size, x, sums)
    return sums.sum(axis=1, dtype=np.float64).astype(x.dtype)


@real
def sum(x, axes, keepdims):
    axes = sorted(axis % x.ndim for axis in axes)
    if not axes or axes != list(range(axes[0], axes[-1] + 1)):
        return Decline(f"sums over neighbouring axes only, not {tuple(axes)}")
    before, over, after = x.shape[: axes[0]], x.shape[axes[0] : axes[-1] + 1], x.shape[axes[-1] + 1 :]
    y = sums_over(x.reshape([int(np.prod(part)) for part in (before, over, after)]))
    return y.reshape(before + (1,) * len(over) * bool(keepdims) + after)


@real
def sum_of_squares(x):
    sums = np.empty(chunks(x.size))
    partial_squares(x.size, flat(x), sums)
    return float(sums.sum())


@real
def all_finite(x):
    found = np.empty(chunks(x.size), np.bool_)
    chunks_not_finite(x.size, flat(x), found)
    return not found.any()
