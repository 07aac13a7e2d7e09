"""What all reference kernels promise, said once, so that the body of each is its formula and nothing else."""

import functools

import numpy as np


def kernel(f):
    """Infinities and NaN raise no warnings inside f; it returns C-contiguous arrays, never NumPy scalars."""

    @functools.wraps(f)
    def wrapped(*args, **kwargs):
        with np.errstate(all="ignore"):
            y = f(*args, **kwargs)
        if isinstance(y, tuple):
            return tuple(None if part is None else np.asarray(part, order="C") for part in y)
        return np.asarray(y, order="C")

    return wrapped
