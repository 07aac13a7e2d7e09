"""Reductions over axes, cumulative sums, and the order of elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dlkit import ops
from dlkit.onnx.convert.registry import converter
from dlkit.onnx.values import axes_of, axis_of, flat, host, number, value, whole_numbers
from dlkit.tensor import Tensor


def _sum(x: Any, axes: tuple, keepdims: bool) -> Any:
    if isinstance(x, Tensor):
        return ops.sum(x, axis=axes, keepdims=keepdims)
    return x.sum(axes, dtype=x.dtype, keepdims=keepdims)


def _mean(x: Any, axes: tuple, keepdims: bool) -> Any:
    if isinstance(x, Tensor):
        return ops.mean(x, axis=axes, keepdims=keepdims)
    return x.mean(axes, keepdims=keepdims).astype(x.dtype)


def _extreme(sign: int) -> Callable:
    def reduce(x: Any, axes: tuple, keepdims: bool) -> Any:
        if 0 in (x.shape[a] for a in axes):
            return _of_nothing(x, axes, keepdims, sign)
        if isinstance(x, Tensor):
            return (
                ops.max(x * sign, axis=axes, keepdims=keepdims) * sign
                if sign < 0
                else ops.max(x, axis=axes, keepdims=keepdims)
            )
        return (x.max if sign > 0 else x.min)(axes, keepdims=keepdims)

    return reduce


def _of_nothing(x: Any, axes: tuple, keepdims: bool, sign: int) -> Any:
    """The neutral element: the smallest number of the type for a maximum, the largest for a minimum."""
    if x.dtype == bool:
        worst: Any = sign < 0
    elif x.dtype.kind == "f":
        worst = -sign * np.inf
    else:
        worst = np.iinfo(x.dtype).min if sign > 0 else np.iinfo(x.dtype).max
    shape = np.sum(np.broadcast_to(np.int8(0), x.shape), axes, keepdims=keepdims).shape
    return value(np.full(shape, worst, x.dtype))


def _product(x: Any, axes: tuple, keepdims: bool) -> Any:
    return value(host(x).prod(axes, dtype=x.dtype, keepdims=keepdims))


def _log(x: Any) -> Any:
    return ops.log(x) if isinstance(x, Tensor) else np.log(x).astype(x.dtype)


def _l1(x: Any, axes: tuple, keepdims: bool) -> Any:
    return _sum(ops.abs(x) if isinstance(x, Tensor) else np.abs(x), axes, keepdims)


def _sum_square(x: Any, axes: tuple, keepdims: bool) -> Any:
    return _sum(x * x, axes, keepdims)


def _l2(x: Any, axes: tuple, keepdims: bool) -> Any:
    square = _sum_square(x, axes, keepdims)
    return ops.sqrt(square) if isinstance(x, Tensor) else np.sqrt(square).astype(x.dtype)


def _log_sum(x: Any, axes: tuple, keepdims: bool) -> Any:
    return _log(_sum(x, axes, keepdims))


def _log_sum_exp(x: Any, axes: tuple, keepdims: bool) -> Any:
    """The largest element is taken out first, so that nothing overflows."""
    if not isinstance(x, Tensor):
        return np.log(np.exp(x.astype(np.float64)).sum(axes, keepdims=keepdims)).astype(x.dtype)
    if x.size == 0:
        return ops.log(_sum(x, axes, keepdims))
    largest = flat(x).max(axes, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0).astype(x.dtype)
    y = ops.log(_sum(ops.exp(x - Tensor(largest)), axes, True)) + Tensor(largest)
    return y if keepdims else y.reshape(tuple(n for i, n in enumerate(y.shape) if i not in axes))


REDUCTIONS: dict[str, tuple[Callable, int]] = {  # name -> (function, opset version from which axes are an input)
    "ReduceSum": (_sum, 13),
    "ReduceMean": (_mean, 18),
    "ReduceMax": (_extreme(1), 18),
    "ReduceMin": (_extreme(-1), 18),
    "ReduceProd": (_product, 18),
    "ReduceL1": (_l1, 18),
    "ReduceL2": (_l2, 18),
    "ReduceSumSquare": (_sum_square, 18),
    "ReduceLogSum": (_log_sum, 18),
    "ReduceLogSumExp": (_log_sum_exp, 18),
}


def _reduction(name: str, function: Callable, since: int) -> None:
    @converter(name, since=since, constants=(1,))
    def now(x: Any, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
        given = () if axes is None else whole_numbers(axes, "axes")
        if not given and noop_with_empty_axes:
            return function(x, (), bool(keepdims)) if name not in ("ReduceMax", "ReduceMin") else x
        return function(x, axes_of(given, x.ndim) or tuple(range(x.ndim)), bool(keepdims))

    @converter(name, since=1)
    def before(x: Any, *, axes: list[int] | None = None, keepdims: int = 1) -> Any:
        return function(x, axes_of(axes or range(x.ndim), x.ndim), bool(keepdims))


for _name, (_function, _since) in REDUCTIONS.items():
    _reduction(_name, _function, _since)


def _argument(pick: Callable) -> Callable:
    def call(x: Any, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> np.ndarray:
        x, axis = flat(x), axis_of(axis, x.ndim)
        y = pick(np.flip(x, axis), axis) if select_last_index else pick(x, axis)
        y = x.shape[axis] - 1 - y if select_last_index else y
        return (np.expand_dims(y, axis) if keepdims else np.asarray(y)).astype(np.int64)

    return call


converter("ArgMax")(_argument(np.argmax))
converter("ArgMin")(_argument(np.argmin))


def _cumulative(x: Any, axis: int, exclusive: bool, reverse: bool, function: Callable, first: int) -> np.ndarray:
    x = np.flip(x, axis) if reverse else x
    if exclusive:
        kept = np.take(x, range(x.shape[axis] - 1), axis)
        x = np.concatenate([np.full_like(np.take(x, [0], axis), first), kept], axis)
    y = function(x, axis=axis, dtype=x.dtype)
    return np.flip(y, axis) if reverse else y


@converter("CumSum", constants=(1,))
def cumulative_sum(x: Any, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Any:
    """As a product with a triangle of ones, so that it trains."""
    axis = axis_of(int(number(axis, "axis")), x.ndim)
    if not isinstance(x, Tensor) or not x.requires_grad or not x.shape[axis]:
        return value(_cumulative(flat(x), axis, bool(exclusive), bool(reverse), np.cumsum, 0))
    n = x.shape[axis]
    triangle = np.triu(np.ones((n, n), x.dtype), 1 if exclusive else 0)
    order = (*(i for i in range(x.ndim) if i != axis), axis)
    y = ops.matmul(ops.transpose(x, axes=order).reshape(-1, n), Tensor(triangle.T.copy() if reverse else triangle))
    return ops.transpose(y.reshape(tuple(x.shape[i] for i in order)), axes=tuple(order.index(i) for i in range(x.ndim)))


@converter("CumProd", constants=(1,))
def cumulative_product(x: Any, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Any:
    axis = axis_of(int(number(axis, "axis")), x.ndim)
    return value(_cumulative(host(x), axis, bool(exclusive), bool(reverse), np.cumprod, 1))


@converter("TopK", since=10, halves=True, constants=(1,))
def top_k(x: Any, k: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple:
    """Values and indices of the k largest; ties keep their order."""
    axis, k = axis_of(axis, x.ndim), int(number(k, "k"))
    array = flat(x)
    if largest:
        order = array.shape[axis] - 1 - np.flip(np.argsort(np.flip(array, axis), axis, kind="stable"), axis)
    else:
        order = np.argsort(array, axis, kind="stable")
    index = np.take(order, range(min(max(k, 0), x.shape[axis])), axis).astype(np.int64)
    y = ops.gather(x, index, axis=axis) if isinstance(x, Tensor) else np.take_along_axis(array, index, axis)
    return y, index


@converter("TopK", since=1)
def old_top_k(x: Any, *, axis: int = -1, k: int) -> tuple:
    return top_k(x, np.array(k), axis=axis)
