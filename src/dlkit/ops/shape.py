"""Rearranging: no arithmetic forward, sums of what was duplicated backward."""

from __future__ import annotations

import math

import numpy as np

from dlkit.errors import ConfigError, DTypeError, ShapeError
from dlkit.ops.op import BadCall, Sample, broadcast_shape, op, unbroadcast
from dlkit.tensor import Tensor


def _no_flops(*shapes, **attributes) -> int:
    return 0


@op("x[...] -> y[shape]", formula="y = x in another shape, row-major", slope="dx = dy in x's shape")
class reshape:
    second = True
    onnx = "Reshape"
    flops = _no_flops

    def arguments(x, shape):
        shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(int(n) for n in shape)
        size = math.prod(x.shape if hasattr(x, "shape") else np.shape(x))
        if shape.count(-1) == 1:
            rest = math.prod(n for n in shape if n != -1)
            if rest and size % rest == 0:
                shape = tuple(size // rest if n == -1 else n for n in shape)
        return (x,), {"shape": shape}

    def shape(x, shape):
        if min(shape, default=0) < 0 or math.prod(shape) != math.prod(x):
            raise ShapeError(f"{math.prod(x)} elements of shape {x} do not fit into shape {shape}")
        return shape

    def samples(rng):
        n = rng.standard_normal
        return [
            Sample((n((3, 4)),), {"shape": (2, 6)}),
            Sample((n((2, 3, 4)),), {"shape": (-1, 4)}),
            Sample((n(()),), {"shape": (1, 1)}),
            Sample((n((0, 3)),), {"shape": (3, 0)}),
        ]

    def errors():
        return [
            BadCall(
                (np.zeros((3, 4)),), {"shape": (5, 2)}, ShapeError, r"12 elements .* do not fit into shape \(5, 2\)"
            )
        ]

    def forward(k, x, *, shape):
        return k.reshape(x, shape), (tuple(x.shape),)

    def backward(k, saved, dy):
        (x,) = saved
        return (k.reshape(dy, x),)


@op("x[...] -> y[...]", formula="y[i_axes] = x[i]", slope="dx = dy with the axes back in place")
class transpose:
    second = True
    onnx = "Transpose"
    flops = _no_flops

    def arguments(x, axes=()):
        n = len(x.shape) if hasattr(x, "shape") else np.ndim(x)
        axes = tuple(a % n if -n <= a < n else a for a in axes) if axes else tuple(reversed(range(n)))
        return (x,), {"axes": axes}

    def shape(x, axes):
        if sorted(axes) != list(range(len(x))):
            raise ShapeError(f"axes (={axes}) are not a permutation of the {len(x)} axes of an input of shape {x}")
        return tuple(x[a] for a in axes)

    def samples(rng):
        n = rng.standard_normal
        return [
            Sample((n((3, 4)),)),
            Sample((n((2, 3, 4)),), {"axes": (1, 2, 0)}),
            Sample((n((2, 3)),), {"axes": (-1, 0)}),
        ]

    def errors():
        return [BadCall((np.zeros((2, 3)),), {"axes": (0, 0)}, ShapeError, "not a permutation")]

    def forward(k, x, *, axes):
        return k.transpose(x, axes), (axes,)

    def backward(k, saved, dy):
        (axes,) = saved
        return (k.transpose(dy, tuple(axes.index(i) for i in range(len(axes)))),)


@op("x[...] -> y[shape]", formula="y = x repeated along new and stretched axes", slope="dx = Σ dy over them")
class broadcast_to:
    second = True
    onnx = "Expand"
    flops = _no_flops

    def arguments(x, shape):
        return (x,), {"shape": tuple(shape)}

    def shape(x, shape):
        if broadcast_shape(x, shape) != shape:
            raise ShapeError(f"shape {x} cannot be stretched to {shape}")
        return shape

    def samples(rng):
        n = rng.standard_normal
        return [
            Sample((n((3, 1)),), {"shape": (3, 4)}),
            Sample((n(4),), {"shape": (2, 3, 4)}),
            Sample((n(()),), {"shape": (2,)}),
        ]

    def errors():
        return [
            BadCall((np.zeros((2, 3)),), {"shape": (3,)}, ShapeError, "cannot be stretched"),
            BadCall((np.zeros((2, 3)),), {"shape": (4, 3)}, ShapeError, "do not broadcast"),
        ]

    def forward(k, x, *, shape):
        return k.broadcast_to(x, shape), (tuple(x.shape),)

    def backward(k, saved, dy):
        (x,) = saved
        return (unbroadcast(k, dy, x),)


@op(
    "x1[...], x2[...], ... -> y[...]",
    formula="y = x1, x2, ... one behind the other along axis",
    slope="dx_i = the slice of dy that came from x_i",
)
class concat:
    second = True
    onnx = "Concat"
    flops = _no_flops

    def arguments(*xs, axis=-1):
        if len(xs) == 1 and isinstance(xs[0], (list, tuple)):
            xs = tuple(xs[0])
        if not xs:
            raise ShapeError("nothing to join: expected at least one tensor")
        n = len(xs[0].shape)
        if not -n <= axis < n:
            raise ShapeError(f"axis (={axis}) is outside inputs with {n} axes")
        return xs, {"axis": axis % n}

    def shape(*xs, axis):
        first = xs[0]
        for x in xs:
            if len(x) != len(first) or any(a != b for i, (a, b) in enumerate(zip(x, first)) if i != axis):
                raise ShapeError(f"shapes {first} and {x} differ outside axis {axis}")
        return (*first[:axis], sum(x[axis] for x in xs), *first[axis + 1 :])

    def samples(rng):
        n = rng.standard_normal
        return [
            Sample((n((2, 3)), n((2, 4)))),
            Sample((n((2, 3, 1)), n((1, 3, 1)), n((3, 3, 1))), {"axis": 0}),
            Sample((n((2, 3)),), {"axis": 1}),
            Sample((n((2, 0)), n((2, 2))), {"axis": 1}),
        ]

    def errors():
        return [BadCall((np.zeros((2, 3)), np.zeros((3, 3))), {"axis": 1}, ShapeError, "differ outside axis 1")]

    def forward(k, *xs, axis):
        return k.concat(xs, axis), (tuple(x.shape[axis] for x in xs), len(xs[0].shape), axis)

    def backward(k, saved, dy):
        sizes, n, axis = saved
        ends = np.cumsum(sizes)
        return tuple(
            k.take(dy, tuple(slice(int(end) - size, int(end)) if i == axis else slice(None) for i in range(n)))
            for size, end in zip(sizes, ends)
        )


def split(x: Tensor, sizes: int | list[int], axis: int = -1) -> list[Tensor]:
    """Cuts x along `axis` into pieces of the given sizes (or this many equal pieces); each piece is a `take`.

    Raises : ShapeError if the sizes do not add up to the axis.
    """
    n = x.shape[axis]
    if isinstance(sizes, int):
        if sizes < 1 or n % sizes:
            raise ShapeError(f"split: an axis of {n} does not divide into {sizes} equal pieces")
        sizes = [n // sizes] * sizes
    if sum(sizes) != n:
        raise ShapeError(f"split: sizes {sizes} add up to {sum(sizes)}, the axis has {n}")
    before = (slice(None),) * (axis % x.ndim)
    ends = np.cumsum(sizes)
    return [x[(*before, slice(int(end) - size, int(end)))] for size, end in zip(sizes, ends)]


def canonical_index(index, n: int) -> tuple:
    """An index as a tuple of ints, slices, None and int64 arrays, one entry for each indexed axis; no Ellipsis."""
    index = index if isinstance(index, tuple) else (index,)
    out: list = []
    for part in index:
        if isinstance(part, Tensor):
            part = part.numpy()
        if isinstance(part, (list, np.ndarray)):
            part = np.asarray(part, None if len(np.shape(part)) != 1 or len(part) else np.int64)  # [] has no type
            if part.dtype == bool:
                out.extend(np.nonzero(part) if part.ndim else [bool(part)])
                continue
            if part.dtype.kind not in "iu":
                raise ShapeError(f"an index array must hold integers or booleans, not {part.dtype}")
            part = part.astype(np.int64)
        out.append(part)
    if sum(part is Ellipsis for part in out) > 1:
        raise ShapeError("an index may hold one '...' only")
    for i, part in enumerate(out):
        if part is Ellipsis:
            used = sum(p is not None and p is not Ellipsis for p in out)
            out[i : i + 1] = [slice(None)] * (n - used)
            break
    return tuple(out)


def _check_masks(x: tuple, index) -> None:
    """A boolean mask must have the shape of the axes it stands for; as integers it would no longer show."""
    parts = [p.numpy() if isinstance(p, Tensor) else p for p in (index if isinstance(index, tuple) else (index,))]
    if any(isinstance(p, (list, np.ndarray)) and np.asarray(p).dtype == bool for p in parts):
        _taken_shape(tuple(x), tuple(parts))


def _taken_shape(x: tuple, index: tuple) -> tuple:
    try:
        return np.broadcast_to(np.int8(0), x)[index].shape  # a view with strides 0: nothing is allocated
    except IndexError as error:
        raise ShapeError(f"index does not fit shape {x}: {error}") from None


def _index_samples(rng: np.random.Generator) -> list[tuple[np.ndarray, tuple]]:
    n = rng.standard_normal
    return [
        (n((4, 5)), (1,)),
        (n((4, 5)), (slice(None), slice(1, 4, 2))),
        (n((4, 5)), (np.array([0, 2, 2]),)),
        (n((3, 4, 5)), (slice(None), np.array([3, 0]), np.array([1, 1]))),
        (n((4, 3)), (slice(None, None, -1),)),
        (n((2, 3)), (slice(None), None, 0)),
    ]


@op("x[...] -> y[...]", formula="y = x[index]", slope="dx[index] += dy, zero elsewhere")
class take:
    """Indexing with integers, slices, None, '...', and integer or boolean arrays, as in NumPy."""

    second = True
    onnx = "Slice"
    flops = _no_flops

    def arguments(x, index):
        _check_masks(x.shape if hasattr(x, "shape") else np.shape(x), index)
        return (x,), {"index": canonical_index(index, len(x.shape) if hasattr(x, "shape") else np.ndim(x))}

    def shape(x, index):
        return _taken_shape(x, index)

    def samples(rng):
        return [Sample((x,), {"index": index}, note=str(index)) for x, index in _index_samples(rng)]

    def errors():
        return [
            BadCall((np.zeros((2, 3)),), {"index": (5,)}, ShapeError, "index does not fit shape"),
            BadCall((np.zeros((2, 3)),), {"index": np.array([0.5])}, ShapeError, "integers or booleans"),
        ]

    def forward(k, x, *, index):
        return k.take(x, index), (index, tuple(x.shape))

    def backward(k, saved, dy):
        return (k.take_backward(dy, *saved),)


@op("x[...] -> y[shape]", formula="y = zeros; y[index] += x", slope="dx = dy[index]")
class take_backward:
    """The transpose of `take`; an op so that indexing can be differentiated twice."""

    second = True
    flops = _no_flops

    def shape(x, index, shape):
        if _taken_shape(shape, index) != x:
            raise ShapeError(f"values of shape {x} do not fit index into shape {shape}")
        return shape

    def samples(rng):
        return [
            Sample((rng.standard_normal(x[index].shape),), {"index": index, "shape": x.shape}, note=str(index))
            for x, index in _index_samples(rng)
        ]

    def errors():
        return [BadCall((np.zeros(3),), {"index": (0,), "shape": (2, 4)}, ShapeError, "do not fit index")]

    def forward(k, x, *, index, shape):
        return k.take_backward(x, index, shape), (index,)

    def backward(k, saved, dy):
        (index,) = saved
        return (k.take(dy, index),)


@op(
    "x[...], index[...] int64 -> y[...]",
    formula="y[i][j] = x[index[i][j]][j] along axis 0, likewise for others",
    slope="dx[index[i][j]][j] += dy[i][j]",
)
class gather:
    whole = (1,)
    nondiff = (1,)
    onnx = "GatherElements"
    flops = _no_flops

    def arguments(x, index, axis=-1):
        n = len(x.shape)
        if not -n <= axis < n:
            raise ShapeError(f"gather: axis (={axis}) is outside an input with {n} axes")
        axis %= n
        host = index.numpy() if isinstance(index, Tensor) and index.device != "meta" else index
        if isinstance(host, (list, np.ndarray)):
            if np.size(host) and np.asarray(host).dtype.kind not in "iu":
                raise DTypeError(f"gather: index is {np.asarray(host).dtype}; expected whole numbers")
            host = np.asarray(host, dtype=np.int64)
            if host.size and (host.min() < 0 or host.max() >= x.shape[axis]):
                raise ShapeError(f"gather: index runs from {host.min()} to {host.max()}, the axis has {x.shape[axis]}")
            index = index if isinstance(index, Tensor) else host
        return (x, index), {"axis": axis}

    def shape(x, index, axis):
        if len(x) != len(index) or any(a != b for i, (a, b) in enumerate(zip(x, index)) if i != axis):
            raise ShapeError(f"index of shape {index} must have the shape of x, {x}, outside axis {axis}")
        return index

    def samples(rng):
        x = rng.standard_normal((3, 4))
        return [
            Sample((x, rng.integers(0, 4, (3, 2))), {"axis": 1}),
            Sample((x, rng.integers(0, 3, (5, 4))), {"axis": 0}),
        ]

    def errors():
        x = np.zeros((2, 3))
        return [
            BadCall((x, np.zeros((4, 1), int)), {"axis": 1}, ShapeError, "outside axis 1"),
            BadCall((x, np.full((2, 1), 7)), {"axis": 1}, ShapeError, "runs from 7 to 7, the axis has 3"),
            BadCall((x, np.zeros((2, 1), bool)), {"axis": 1}, DTypeError, "index is bool; expected whole numbers"),
        ]

    def forward(k, x, index, *, axis):
        return k.gather(x, index, axis), (index, axis, tuple(x.shape))

    def backward(k, saved, dy):
        return k.gather_backward(dy, *saved), None


@op(
    "x[...] -> y[...]",
    formula="y = x with a border: constant, reflected (edge not repeated) or replicated",
    slope="dx = the middle of dy, plus what the border copied",
)
class pad:
    onnx = "Pad"
    flops = _no_flops

    def arguments(x, widths, mode="constant", value=0.0):
        n = len(x.shape)
        widths = tuple((int(a), int(b)) for a, b in widths)
        if len(widths) != n:
            raise ShapeError(f"pad: {len(widths)} pairs of widths for an input with {n} axes")
        if mode not in ("constant", "reflect", "replicate"):
            raise ConfigError(f"pad: unknown mode {mode!r}; expected constant, reflect or replicate")
        if value != int(value if math.isfinite(value) else 0) and getattr(x, "dtype", np.dtype(float)).kind in "iub":
            raise ConfigError(
                f"pad: value {value} for an input of {x.dtype}; give a whole number or .astype('float32')"
            )
        return (x,), {"widths": widths, "mode": mode, "value": float(value)}

    def shape(x, widths, mode, value):
        if min((min(w) for w in widths), default=0) < 0:
            raise ShapeError(f"widths (={widths}) must not be negative")
        if mode == "reflect" and any(max(w) >= n for w, n in zip(widths, x) if max(w)):
            raise ShapeError(f"reflect: widths (={widths}) must be smaller than the shape {x}")
        if mode == "replicate" and 0 in x:
            raise ShapeError(f"replicate: nothing to repeat in an input of shape {x}")
        return tuple(n + a + b for n, (a, b) in zip(x, widths))

    def samples(rng):
        x = rng.standard_normal((2, 4, 5, 3))
        widths = ((0, 0), (1, 2), (3, 0), (0, 0))
        return [
            Sample((x,), {"widths": widths, "mode": m, "value": v})
            for m, v in (("constant", 0.0), ("constant", 1.5), ("reflect", 0.0), ("replicate", 0.0))
        ]

    def errors():
        x = np.zeros((2, 3))
        return [
            BadCall((x,), {"widths": ((1, 1),)}, ShapeError, "1 pairs of widths for an input with 2 axes"),
            BadCall((x,), {"widths": ((0, 0), (3, 0)), "mode": "reflect"}, ShapeError, "must be smaller"),
            BadCall((x,), {"widths": ((0, 0), (-1, 0))}, ShapeError, "must not be negative"),
            BadCall((x,), {"widths": ((0, 0), (1, 0)), "mode": "wrap"}, ConfigError, "unknown mode 'wrap'"),
            BadCall(
                (x > 0,), {"widths": ((0, 0), (1, 0)), "value": 0.5}, ConfigError, "value 0.5 for an input of bool"
            ),
        ]

    def forward(k, x, *, widths, mode, value):
        return k.pad(x, widths, mode, value), (widths, mode)

    def backward(k, saved, dy):
        return (k.pad_backward(dy, *saved),)
