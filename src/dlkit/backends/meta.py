"""Arrays without data: a shape and a dtype. Ops on them run only their shape rule, so a network's sizes and cost are
known before any data flows (`dlkit summary`)."""

from __future__ import annotations

import numpy as np


class MetaArray:
    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype | type | str = "float32"):
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)

    def __repr__(self) -> str:
        return f"MetaArray({self.shape}, {self.dtype})"
