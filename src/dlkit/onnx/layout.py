"""How ONNX's order of axes meets dlkit's.

ONNX images are [N, C, H, W] and filters [K, C/G, R, S]; dlkit's are [N, H, W, C] and [R, S, C/G, K]. A value in an
imported graph may be kept in dlkit's order: `Permuted(tensor, order)` is the tensor as it lies in memory, and `order`
says which ONNX axis each of its axes is. An operation that wants channels last asks for `stored(x, order)`, which
costs nothing where x already lies that way; one that wants ONNX's own order asks for `plain(x)`. So between two
convolutions nothing is moved, whatever stands between them element by element.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit import ops
from dlkit.tensor import Tensor

Order = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Permuted:
    """tensor.shape[j] is the size of ONNX axis order[j]."""

    tensor: Tensor
    order: Order

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape ONNX speaks of."""
        return tuple(self.tensor.shape[self.order.index(i)] for i in range(len(self.order)))

    @property
    def ndim(self) -> int:
        return len(self.order)

    @property
    def dtype(self) -> np.dtype:
        return self.tensor.dtype


def image_order(rank: int) -> Order:
    """[N, C, ...] kept as [N, ..., C]."""
    return (0, *range(2, rank), 1)


def filter_order(rank: int) -> Order:
    """[K, C, R, S] kept as [R, S, C, K]."""
    return (*range(2, rank), 1, 0)


def permute(x: Any, axes: Order) -> Any:
    """x with its axes in another order; a reshape where only axes of one element move."""
    if axes == tuple(range(len(axes))):
        return x
    long = [a for a in axes if x.shape[a] != 1]
    if long == sorted(long):
        return x.reshape(tuple(x.shape[a] for a in axes))
    return ops.transpose(x, axes=axes) if isinstance(x, Tensor) else x.transpose(axes)


def stored(x: Any, order: Order) -> Any:
    """The tensor (or array) of x with its axes in the given order."""
    if isinstance(x, Permuted):
        return permute(x.tensor, tuple(x.order.index(a) for a in order))
    return permute(x, order)


def plain(x: Any) -> Any:
    """x in ONNX's order of axes."""
    return stored(x, tuple(range(len(x.order)))) if isinstance(x, Permuted) else x


def channels_last(x: Any) -> Any:
    return stored(x, image_order(x.ndim))


def from_channels_last(y: Tensor) -> Permuted:
    """A result of an operation on [N, ..., C], to be known as [N, C, ...]."""
    return Permuted(y, image_order(y.ndim))


def pointwise(f: Any, inputs: tuple) -> Any:
    """f(*inputs) for a function that acts element by element with broadcasting: computed in the order in which the
    first permuted input lies."""
    order = next((x.order for x in inputs if isinstance(x, Permuted)), None)
    if order is None:
        return f(*inputs)
    if any(x is not None and x.ndim > len(order) for x in inputs):
        return f(*map(plain, inputs))
    y = f(*(None if x is None else _broadcast_stored(x, order) for x in inputs))
    return Permuted(y, order) if isinstance(y, Tensor) else permute(y, tuple(np.argsort(order)))


def _broadcast_stored(x: Any, order: Order) -> Any:
    """x with the axes that broadcasting would put in front of it, in the given order."""
    if x.ndim == 0:
        return x
    if x.ndim < len(order):
        x = plain(x)
        x = x.reshape((1,) * (len(order) - x.ndim) + tuple(x.shape))
    return stored(x, order)
