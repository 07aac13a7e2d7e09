"""Rearranging, cutting and joining: the same code for tensors and arrays, and for half precision as it is."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from dlkit import ops
from dlkit.errors import OnnxError, UnsupportedOnnx
from dlkit.onnx.convert.registry import converter
from dlkit.onnx.layout import Permuted, permute, plain, stored
from dlkit.onnx.safety import check_size
from dlkit.onnx.values import axes_of, axis_of, flat, host, number, value, whole_numbers
from dlkit.tensor import Tensor


@converter("Shape", layout="image", halves=True)
def shape(x: Any, *, start: int = 0, end: int | None = None) -> np.ndarray:
    return np.array(x.shape[slice(start, end)], np.int64)


@converter("Size", layout="image", halves=True)
def size(x: Any) -> np.ndarray:
    return np.array(math.prod(x.shape), np.int64)


def _reshaped(x: Any, wanted: tuple[int, ...], zero_copies: bool) -> Any:
    if wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise OnnxError(f"shape {wanted} must have one -1 at most and nothing below it")
    if zero_copies:
        if any(n == 0 and i >= x.ndim for i, n in enumerate(wanted)):
            raise OnnxError(f"shape {wanted} copies an axis that an input of shape {x.shape} does not have")
        wanted = tuple(x.shape[i] if n == 0 else n for i, n in enumerate(wanted))
    rest = math.prod(n for n in wanted if n != -1)
    count = math.prod(x.shape)
    if -1 in wanted:
        if rest == 0 or count % rest:
            raise OnnxError(f"{count} elements of shape {x.shape} do not fit into shape {wanted}")
        wanted = tuple(count // rest if n == -1 else n for n in wanted)
    if math.prod(wanted) != count:
        raise OnnxError(f"{count} elements of shape {x.shape} do not fit into shape {wanted}")
    return x.reshape(wanted)


@converter("Reshape", halves=True, constants=(1,))
def reshape(x: Any, shape: Any, *, allowzero: int = 0) -> Any:
    return _reshaped(x, whole_numbers(shape, "shape"), not allowzero)


@converter("Flatten", halves=True)
def flatten(x: Any, *, axis: int = 1) -> Any:
    axis = x.ndim if axis == x.ndim else axis_of(axis, x.ndim)
    return x.reshape((math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@converter("Transpose", layout="image", halves=True)
def transpose(x: Any, *, perm: list[int] | None = None) -> Any:
    """Where the axes lie otherwise than ONNX thinks, only the name of their order changes."""
    axes = tuple(reversed(range(x.ndim))) if perm is None else tuple(perm)
    if sorted(axes) != list(range(x.ndim)):
        raise OnnxError(f"perm (={axes}) is not a permutation of the axes of an input of shape {x.shape}")
    return permute(plain(x), axes) if not isinstance(x, Permuted) else stored(x, axes)


def _squeezed(x: Any, axes: tuple[int, ...] | None) -> Any:
    gone = tuple(i for i, n in enumerate(x.shape) if n == 1) if axes is None else axes_of(axes, x.ndim)
    if any(x.shape[a] != 1 for a in gone):
        raise OnnxError(f"axes {gone} of an input of shape {x.shape} are not all of size 1")
    return x.reshape(tuple(n for i, n in enumerate(x.shape) if i not in gone))


@converter("Squeeze", since=13, halves=True, constants=(1,))
def squeeze(x: Any, axes: Any = None) -> Any:
    return _squeezed(x, None if axes is None else whole_numbers(axes, "axes"))


@converter("Squeeze", since=1, halves=True)
def old_squeeze(x: Any, *, axes: list[int] | None = None) -> Any:
    return _squeezed(x, None if axes is None else tuple(axes))


def _unsqueezed(x: Any, axes: tuple[int, ...]) -> Any:
    rank = x.ndim + len(axes)
    if rank > 32:
        raise UnsupportedOnnx(f"{rank} axes are too many")
    new = axes_of(axes, rank)
    sizes = iter(x.shape)
    return x.reshape(tuple(1 if i in new else next(sizes) for i in range(rank)))


@converter("Unsqueeze", since=13, halves=True, constants=(1,))
def unsqueeze(x: Any, axes: Any) -> Any:
    return _unsqueezed(x, whole_numbers(axes, "axes"))


@converter("Unsqueeze", since=1, halves=True)
def old_unsqueeze(x: Any, *, axes: list[int]) -> Any:
    return _unsqueezed(x, tuple(axes))


@converter("Concat", since=4, layout="image", halves=True)
def concat(*xs: Any, axis: int) -> Any:
    axis = axis_of(axis, xs[0].ndim)
    order = next((x.order for x in xs if isinstance(x, Permuted)), None)
    if order is not None and all(x.ndim == len(order) for x in xs):
        return Permuted(ops.concat([stored(x, order) for x in xs], axis=order.index(axis)), order)
    parts = [plain(x) for x in xs]
    if all(isinstance(x, Tensor) for x in parts):
        return ops.concat(parts, axis=axis)
    return np.concatenate(parts, axis)


def _pieces(x: Any, sizes: list[int], axis: int) -> tuple:
    if min(sizes, default=0) < 0 or sum(sizes) != x.shape[axis]:
        raise OnnxError(f"sizes {sizes} do not add up to the {x.shape[axis]} of axis {axis}")
    ends = np.cumsum([0, *sizes])
    return tuple(x[(slice(None),) * axis + (slice(int(a), int(b)),)] for a, b in pairwise(ends))


def _split(x: Any, sizes: Any, axis: int, count: int) -> tuple:
    axis = axis_of(axis, x.ndim)
    if sizes is None:
        each = -(-x.shape[axis] // count)
        sizes = [max(min(each, x.shape[axis] - i * each), 0) for i in range(count)]
    if len(sizes) != count:
        raise OnnxError(f"{len(sizes)} sizes for {count} outputs")
    return _pieces(x, list(sizes), axis)


@converter("Split", since=13, halves=True, constants=(1,))
def split(x: Any, sizes: Any = None, *, context: Any, axis: int = 0, num_outputs: int | None = None) -> tuple:
    given = None if sizes is None else whole_numbers(sizes, "split")
    return _split(x, given, axis, len(context.outputs))


@converter("Split", since=1, halves=True)
def old_split(x: Any, *, context: Any, axis: int = 0, split: list[int] | None = None) -> tuple:
    return _split(x, split, axis, len(context.outputs))


def _sliced(x: Any, starts: tuple, ends: tuple, axes: tuple | None, steps: tuple | None) -> Any:
    axes = axes_of(range(len(starts)) if axes is None else axes, x.ndim)
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise OnnxError(f"starts {starts}, ends {ends}, axes {axes} and steps {steps} do not fit together")
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        n = x.shape[axis]
        start, end = (i + n if i < 0 else i for i in (start, end))
        if step > 0:
            index[axis] = slice(min(max(start, 0), n), min(max(end, 0), n), step)
        else:
            start, end = min(max(start, -1), n - 1), min(max(end, -1), n - 1)
            index[axis] = slice(start, None if end < 0 else end, step) if start >= 0 else slice(0, 0)
    return x[tuple(index)]


@converter("Slice", since=10, halves=True, constants=(1, 2, 3, 4))
def slice_(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    given = [
        None if v is None else whole_numbers(v, "starts, ends, axes and steps") for v in (starts, ends, axes, steps)
    ]
    return _sliced(x, *given)  # type: ignore[arg-type]


@converter("Slice", since=1, halves=True)
def old_slice(x: Any, *, axes: list[int] | None = None, ends: list[int], starts: list[int]) -> Any:
    return _sliced(x, tuple(starts), tuple(ends), None if axes is None else tuple(axes), None)


def _within(index: Any, n: int) -> np.ndarray:
    """Indices counted from the front.  Raises : OnnxError if one is outside."""
    index = np.asarray(index)
    if index.dtype.kind not in "iu":
        raise OnnxError(f"indices must be whole numbers, not {index.dtype}")
    if index.size and not -n <= index.min() <= index.max() < n:
        raise OnnxError(f"indices run from {index.min()} to {index.max()}, the axis has {n}")
    return np.where(index < 0, index + n, index).astype(np.int64)


@converter("Gather", halves=True, constants=(1,))
def gather(x: Any, index: np.ndarray, *, axis: int = 0) -> Any:
    axis = axis_of(axis, x.ndim)
    index = _within(index, x.shape[axis])
    check_size((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), x.dtype)
    return x[(slice(None),) * axis + (index,)]


@converter("GatherElements", halves=True, constants=(1,))
def gather_elements(x: Any, index: np.ndarray, *, axis: int = 0) -> Any:
    axis = axis_of(axis, x.ndim)
    index = _within(index, x.shape[axis])
    if index.ndim != x.ndim or any(i > n for d, (i, n) in enumerate(zip(index.shape, x.shape)) if d != axis):
        raise OnnxError(f"indices of shape {index.shape} do not fit an input of shape {x.shape}")
    x = x[tuple(slice(None) if d == axis else slice(0, n) for d, n in enumerate(index.shape))]
    return ops.gather(x, index, axis=axis) if isinstance(x, Tensor) else np.take_along_axis(x, index, axis)


def _points(x: Any, index: np.ndarray, batch: int = 0) -> tuple:
    """An index for x from rows of coordinates, after `batch` axes that both share."""
    depth = index.shape[-1]
    if index.ndim < 1 or batch + depth > x.ndim or x.shape[:batch] != index.shape[:batch]:
        raise OnnxError(f"indices of shape {index.shape} do not fit an input of shape {x.shape}")
    columns = [_within(index[..., i], x.shape[batch + i]) for i in range(depth)]
    lead = [np.arange(x.shape[i]).reshape((1,) * i + (-1,) + (1,) * (index.ndim - 2 - i)) for i in range(batch)]
    return (*lead, *columns)


@converter("GatherND", halves=True, constants=(1,))
def gather_nd(x: Any, index: np.ndarray, *, batch_dims: int = 0) -> Any:
    return x[_points(x, index, batch_dims)]


def _scattered(x: np.ndarray, at: tuple, updates: np.ndarray, reduction: str) -> np.ndarray:
    y = x.copy()
    if reduction == "none":
        y[at] = updates
        return y
    functions = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    if reduction not in functions:
        raise OnnxError(f"reduction {reduction!r} must be none, add, mul, max or min")
    functions[reduction].at(y, at, updates)
    return y


@converter("ScatterElements", "Scatter", halves=True, constants=(1,))
def scatter_elements(x: Any, index: np.ndarray, updates: Any, *, axis: int = 0, reduction: str = "none") -> Any:
    axis = axis_of(axis, x.ndim)
    index = _within(index, x.shape[axis])
    if index.shape != updates.shape or index.ndim != x.ndim:
        raise OnnxError(f"indices of shape {index.shape} and updates of shape {updates.shape} must be alike")
    if any(i > n for d, (i, n) in enumerate(zip(index.shape, x.shape)) if d != axis):
        raise OnnxError(f"indices of shape {index.shape} do not fit an input of shape {x.shape}")
    at = list(np.ogrid[tuple(slice(0, n) for n in index.shape)])
    at[axis] = index
    return value(_scattered(host(x), tuple(at), host(updates), reduction))


@converter("ScatterND", halves=True, constants=(1,))
def scatter_nd(x: Any, index: np.ndarray, updates: Any, *, reduction: str = "none") -> Any:
    return value(_scattered(host(x), _points(x, index), host(updates), reduction))


@converter("TensorScatter", halves=True, constants=(2,))
def tensor_scatter(past: Any, update: Any, write_indices: Any = None, *, axis: int = -2, mode: str = "linear") -> Any:
    """Writes `update` into `past` from each batch's index on; circular: around the end."""
    axis = axis_of(axis, past.ndim)
    n, new = past.shape[axis], update.shape[axis]
    start = np.zeros(past.shape[0], np.int64) if write_indices is None else np.asarray(write_indices, np.int64)
    if axis == 0 or start.shape != past.shape[:1] or new > n or mode not in ("linear", "circular"):
        raise OnnxError(f"an update of shape {update.shape} does not fit an input of shape {past.shape}")
    y, update = host(past).copy(), host(update)
    for b, first in enumerate(start):
        at = first + np.arange(new)
        at = at % n if mode == "circular" else _within(at, n)
        y[b][(*(slice(None),) * (axis - 1), at)] = update[b]
    return value(y)


@converter("Expand", halves=True, constants=(1,))
def expand(x: Any, shape: Any) -> Any:
    wanted = whole_numbers(shape, "shape")
    try:
        wanted = np.broadcast_shapes(x.shape, wanted)
    except ValueError:
        raise OnnxError(f"shapes {x.shape} and {wanted} do not broadcast together") from None
    check_size(wanted, x.dtype)
    return ops.broadcast_to(x, shape=wanted) if isinstance(x, Tensor) else np.broadcast_to(x, wanted)


@converter("Tile", since=6, halves=True, constants=(1,))
def tile(x: Any, repeats: Any) -> Any:
    """As broadcasting along new axes that are then folded away."""
    times = whole_numbers(repeats, "repeats")
    if len(times) != x.ndim or min(times, default=0) < 0:
        raise OnnxError(f"repeats {times} must be one number for each axis of shape {x.shape}, none below 0")
    wanted = tuple(n * t for n, t in zip(x.shape, times))
    check_size(wanted, x.dtype)
    spread = x.reshape(tuple(i for n in x.shape for i in (1, n)))
    full = tuple(i for n, t in zip(x.shape, times) for i in (t, n))
    spread = ops.broadcast_to(spread, shape=full) if isinstance(x, Tensor) else np.broadcast_to(spread, full)
    return spread.reshape(wanted)


@converter("Trilu", halves=True, constants=(1,))
def triangle(x: Any, k: Any = None, *, upper: int = 1) -> Any:
    if x.ndim < 2:
        raise OnnxError(f"x must be matrices; it has shape {x.shape}")
    diagonal = 0 if k is None else int(number(k, "k"))
    rows, columns = np.arange(x.shape[-2])[:, None], np.arange(x.shape[-1])[None, :]
    apart = columns - rows
    keep = apart >= diagonal if upper else apart <= diagonal
    return ops.where(keep, x, 0.0) if isinstance(x, Tensor) else np.where(keep, x, np.zeros((), x.dtype))


def _blocks(x: Any, block: int) -> tuple[int, int, int, int, int]:
    n, c, h, w = x.shape if x.ndim == 4 else (0, 0, 0, 0)
    if x.ndim != 4 or not 1 <= block <= 1 << 16:
        raise OnnxError(f"x (shape {x.shape}) must be images [N, C, H, W], blocksize (={block}) at least 1")
    return n, c, h, w, block


@converter("DepthToSpace", halves=True)
def depth_to_space(x: Any, *, blocksize: int, mode: str = "DCR") -> Any:
    n, c, h, w, b = _blocks(x, blocksize)
    if c % (b * b):
        raise OnnxError(f"channels (={c}) must be divisible by blocksize² (={b * b})")
    if mode == "DCR":
        y = permute(x.reshape((n, b, b, c // b**2, h, w)), (0, 3, 4, 1, 5, 2))
    else:
        y = permute(x.reshape((n, c // b**2, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    return y.reshape((n, c // b**2, h * b, w * b))


@converter("SpaceToDepth", halves=True)
def space_to_depth(x: Any, *, blocksize: int, mode: str = "DCR") -> Any:
    n, c, h, w, b = _blocks(x, blocksize)
    if h % b or w % b:
        raise OnnxError(f"an image of {h}×{w} pixels must be divisible by blocksize (={b})")
    x = x.reshape((n, c, h // b, b, w // b, b))
    y = permute(x, (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4))
    return y.reshape((n, c * b * b, h // b, w // b))


@converter("ReverseSequence", halves=True, constants=(1,))
def reverse_sequence(x: Any, lengths: np.ndarray, *, batch_axis: int = 1, time_axis: int = 0) -> Any:
    if {batch_axis, time_axis} != {0, 1} or x.ndim < 2:
        raise OnnxError(f"batch_axis (={batch_axis}) and time_axis (={time_axis}) must be 0 and 1")
    steps = np.arange(x.shape[time_axis])
    lengths = np.asarray(lengths, np.int64)
    if lengths.shape != (x.shape[batch_axis],) or (
        lengths.size and not 0 <= lengths.min() <= lengths.max() <= len(steps)
    ):
        raise OnnxError(f"sequence_lens of shape {lengths.shape} do not fit an input of shape {x.shape}")
    turned = np.where(steps[:, None] < lengths, lengths - 1 - steps[:, None], steps[:, None])  # [T, B]
    batch = np.broadcast_to(np.arange(len(lengths)), turned.shape)
    return x[(turned, batch)] if time_axis == 0 else x[(batch.T, turned.T)]


# -- borders ---------------------------------------------------------------------------------------------------


def _padded(x: Any, pads: tuple[int, ...], axes: tuple[int, ...], mode: str, fill: Any) -> Any:
    """Positive widths add a border, negative ones cut one off."""
    n = len(axes)
    if len(pads) != 2 * n:
        raise OnnxError(f"pads (={pads}) must be two numbers for each of {n} axes")
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        widths[axis] = (pads[i], pads[n + i])
    cut = tuple(slice(max(-a, 0), s - max(-b, 0)) for s, (a, b) in zip(x.shape, widths))
    if any(s < 0 or -min(a, 0) - min(b, 0) > s for s, (a, b) in zip(x.shape, widths)):
        raise OnnxError(f"pads (={pads}) cut more off than there is of shape {x.shape}")
    x = x[cut] if min(pads, default=0) < 0 else x
    widths = [(max(a, 0), max(b, 0)) for a, b in widths]
    check_size(tuple(s + a + b for s, (a, b) in zip(x.shape, widths)), x.dtype)
    if mode == "constant":
        if isinstance(x, Tensor):
            return ops.pad(x, widths=widths, value=float(fill))
        return np.pad(x, widths, constant_values=np.asarray(fill).astype(x.dtype))
    for axis, (a, b) in enumerate(widths):
        if a or b:
            x = x[(slice(None),) * axis + (_border_index(x.shape[axis], a, b, mode),)]
    return x


def _border_index(n: int, before: int, after: int, mode: str) -> np.ndarray:
    """Which element stands at each place of an axis with a border."""
    if n == 0 or mode not in ("edge", "reflect", "wrap"):
        raise OnnxError(f"mode {mode!r} of an axis of {n} must be constant, edge, reflect or wrap, of one at least")
    at = np.arange(-before, n + after)
    if mode == "edge":
        return np.clip(at, 0, n - 1)
    if mode == "wrap":
        return at % n
    period = max(2 * (n - 1), 1)
    at = np.abs(at) % period
    return np.minimum(at, period - at) if n > 1 else np.zeros_like(at)


@converter("Pad", since=11, halves=True, constants=(1, 2, 3))
def pad(x: Any, pads: Any, fill: Any = None, axes: Any = None, *, mode: str = "constant") -> Any:
    over = tuple(range(x.ndim)) if axes is None else axes_of(whole_numbers(axes, "axes"), x.ndim)
    return _padded(x, whole_numbers(pads, "pads"), over, mode, 0 if fill is None else number(fill, "constant_value"))


@converter("Pad", since=2)
def old_pad(x: Any, *, mode: str = "constant", pads: list[int], value: float = 0.0) -> Any:
    return _padded(x, tuple(pads), tuple(range(x.ndim)), mode, value)


@converter("CenterCropPad", halves=True, constants=(1,))
def center_crop_pad(x: Any, shape: Any, *, axes: list[int] | None = None) -> Any:
    """Cuts or fills with zeros around the middle; an odd element goes to the end."""
    over = axes_of(range(x.ndim) if axes is None else axes, x.ndim)
    wanted = whole_numbers(shape, "shape")
    if len(wanted) != len(over) or min(wanted, default=0) < 0:
        raise OnnxError(f"shape {wanted} must be one number for each of {len(over)} axes")
    before, after = [], []
    for axis, size in zip(over, wanted):
        missing = size - x.shape[axis]
        half = missing // 2 if missing > 0 else -(-missing // 2)
        before.append(half)
        after.append(missing - half)
    return _padded(x, (*before, *after), over, "constant", 0)


# -- choosing elements ---------------------------------------------------------------------------------------------


@converter("Compress", halves=True, constants=(1,))
def compress(x: Any, condition: np.ndarray, *, axis: int | None = None) -> Any:
    x = x.reshape(-1) if axis is None else x
    axis = 0 if axis is None else axis_of(axis, x.ndim)
    chosen = np.flatnonzero(condition)
    return x[(slice(None),) * axis + (_within(chosen, x.shape[axis]),)]


@converter("NonZero", halves=True)
def non_zero(x: Any) -> np.ndarray:
    return np.array(np.nonzero(np.atleast_1d(flat(x))), np.int64).reshape(max(x.ndim, 1) if x.ndim else 0, -1)


@converter("Unique", halves=True)
def unique(x: Any, *, axis: int | None = None, sorted: int = 1) -> tuple:
    """Values, where each first stood, which one stands at each place, how often."""
    array = flat(x)
    y, first, inverse, count = np.unique(array, return_index=True, return_inverse=True, return_counts=True, axis=axis)
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first)
        rank = np.argsort(order)
        y, first, count, inverse = np.take(y, order, axis or 0), first[order], count[order], rank[inverse]
    return value(y), first.astype(np.int64), inverse.astype(np.int64), count.astype(np.int64)
