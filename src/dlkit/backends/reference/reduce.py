"""Many elements to one."""

import numpy as np

from dlkit.backends.reference._kernel import kernel


@kernel
def sum(x, axes, keepdims):
    """Σ x over `axes`; kept as axes of size 1 if keepdims"""
    return np.sum(x, axis=tuple(axes), keepdims=keepdims)


@kernel
def max(x, axes, keepdims):
    """The largest x over `axes`; NaN if there is one"""
    return np.max(x, axis=tuple(axes), keepdims=keepdims)


@kernel
def argmax(x, axis):
    """Where along `axis` the first maximum stands, int64"""
    return np.argmax(x, axis=axis).astype(np.int64)


def all_finite(x):
    """True if x holds neither infinity nor NaN"""
    return bool(np.isfinite(x).all())


@np.errstate(all="ignore")
def sum_of_squares(x):
    """Σ x², accumulated in float64, a Python float"""
    return float(np.square(x, dtype=np.float64).sum())
