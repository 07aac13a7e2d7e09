"""Resampling. Along each axis it is a product with a matrix [out, in] that says how much of which input pixel each
output pixel is; so every mode of ONNX is a way to fill that matrix, and all of them train.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit import ops
from dlkit.errors import OnnxError
from dlkit.onnx.convert.registry import converter
from dlkit.onnx.layout import Permuted, channels_last, from_channels_last, image_order, plain
from dlkit.onnx.safety import check_size
from dlkit.onnx.values import axes_of, flat, host, value, whole_numbers
from dlkit.tensor import Tensor


@dataclass(frozen=True)
class Sampling:
    """How Resize places and mixes pixels."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False

    def positions(self, n: int, out: int, scale: float, roi: tuple[float, float]) -> np.ndarray:
        """Where in the input [0, n - 1] each output pixel lies."""
        o, length = np.arange(out, dtype=np.float64), scale * n
        if self.coordinates == "align_corners":
            return o * (n - 1) / (length - 1) if length != 1 else 0 * o
        if self.coordinates == "asymmetric":
            return o / scale
        if self.coordinates == "tf_crop_and_resize":
            first, last = roi
            inside = (
                o * (last - first) * (n - 1) / (length - 1) if length != 1 else 0 * o + (last - first) * (n - 1) / 2
            )
            return inside + first * (n - 1)
        if self.coordinates == "pytorch_half_pixel" and length == 1:
            return 0 * o - 0.5
        x = (o + 0.5) / scale - 0.5
        if self.coordinates == "half_pixel_symmetric":
            return x + n / 2 * (1 - out / length)
        if self.coordinates not in ("half_pixel", "pytorch_half_pixel"):
            raise OnnxError(f"coordinate_transformation_mode {self.coordinates!r} is not known")
        return x

    def nearest_pixels(self, x: np.ndarray, n: int) -> np.ndarray:
        down, up = np.ceil(x - 0.5), np.floor(x + 0.5)
        found = {"round_prefer_floor": down, "round_prefer_ceil": up, "floor": np.floor(x), "ceil": np.ceil(x)}
        if self.nearest not in found:
            raise OnnxError(f"nearest_mode {self.nearest!r} is not known")
        return np.clip(found[self.nearest], 0, n - 1).astype(np.int64)

    def kernel(self, x: np.ndarray) -> np.ndarray:
        """The weight of a pixel at distance x: a tent, or Keys' cubic (1981)."""
        x = np.abs(x)
        if self.mode == "linear":
            return np.clip(1 - x, 0, 1)
        a = self.cubic
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return np.where(x <= 1, near, np.where(x < 2, far, 0.0))

    def matrix(self, x: np.ndarray, n: int, scale: float) -> np.ndarray:
        """[out, n]: how much of each input pixel the output pixels at positions x are."""
        m = np.zeros((len(x), n))
        rows = np.arange(len(x))
        if self.mode == "nearest":
            m[rows, self.nearest_pixels(x, n)] = 1
            return m
        if self.mode not in ("linear", "cubic"):
            raise OnnxError(f"mode {self.mode!r} must be nearest, linear or cubic")
        squeeze = min(scale, 1.0) if self.antialias else 1.0  # a shrunk image needs a wider kernel
        reach = math.ceil((1 if self.mode == "linear" else 2) / squeeze)
        base = np.ceil(x) - 1
        at = base[:, None] + np.arange(-reach + 1, reach + 1)
        weights = self.kernel((at - x[:, None]) * squeeze)
        if self.exclude_outside:
            weights = np.where((at >= 0) & (at < n), weights, 0.0)
        weights /= weights.sum(1, keepdims=True)
        np.add.at(m, (rows[:, None], np.clip(at, 0, n - 1).astype(np.int64)), weights)
        return m


def _along(x: Tensor, axis: int, m: np.ndarray) -> Tensor:
    """Every line of x along `axis` times the matrix."""
    weights = Tensor(np.ascontiguousarray(m.T, dtype=x.dtype))
    if axis == x.ndim - 1:
        return ops.matmul(x.reshape((-1, x.shape[axis])), weights).reshape((*x.shape[:-1], len(m)))
    lead, rest = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    lines = x.reshape((lead, x.shape[axis], rest))
    left = Tensor(np.ascontiguousarray(m[None], dtype=x.dtype))
    return ops.matmul(left, lines).reshape((*x.shape[:axis], len(m), *x.shape[axis + 1 :]))


@dataclass(frozen=True)
class Target:
    """What becomes of one axis."""

    axis: int
    out: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)


def _native(x: Any, targets: list[Target], how: Sampling, extrapolate: bool) -> Any:
    """dlkit's own upsampling where it does the same, else None."""
    axes = {t.axis: t for t in targets if t.out != x.shape[t.axis] or t.scale != 1}
    if x.ndim != 4 or not set(axes) <= {2, 3} or extrapolate or 0 in x.shape:
        return None
    size = tuple(axes[a].out if a in axes else x.shape[a] for a in (2, 3))
    scales = [s // n for s, n in zip(size, x.shape[2:])]
    exact = all(t.scale == t.out / x.shape[t.axis] for t in axes.values())
    if how.mode == "nearest" and all(s * n == o for s, n, o in zip(scales, x.shape[2:], size)) and min(scales) >= 1:
        for t in axes.values():
            n = x.shape[t.axis]
            at = how.nearest_pixels(how.positions(n, t.out, t.scale, t.roi), n)
            if not np.array_equal(at, np.arange(t.out) // (t.out // n)):
                return None
        return from_channels_last(ops.upsample_nearest(channels_last(x), scale=tuple(scales)))
    if how.mode == "linear" and exact and not how.antialias and not how.exclude_outside:
        corners = how.coordinates == "align_corners"
        if corners or how.coordinates == "half_pixel":
            return from_channels_last(ops.upsample_bilinear(channels_last(x), size=size, align_corners=corners))
    return None


def resample(x: Any, targets: list[Target], how: Sampling, extrapolation: float | None) -> Any:
    if any(t.out < 1 or not np.isfinite(t.scale) or t.scale <= 0 for t in targets):
        raise OnnxError(f"sizes {[t.out for t in targets]} by scales {[t.scale for t in targets]} leave nothing")
    if not isinstance(x, (Tensor, Permuted)):
        if how.mode != "nearest":
            return np.rint(flat(resample(value(x.astype(np.float64)), targets, how, extrapolation))).astype(x.dtype)
        for t in targets:
            at = how.nearest_pixels(how.positions(x.shape[t.axis], t.out, t.scale, t.roi), x.shape[t.axis])
            x = np.take(x, at, t.axis)
        return x
    wanted = list(x.shape)
    for t in targets:
        check_size((t.out, x.shape[t.axis]), np.float64)
        wanted[t.axis] = t.out
        check_size(wanted, x.dtype)
    if (y := _native(x, targets, how, extrapolation is not None)) is not None:
        return y
    order = x.order if isinstance(x, Permuted) else tuple(range(x.ndim))
    y = x.tensor if isinstance(x, Permuted) else x
    outside = np.zeros((1,) * len(order), bool)
    for t in targets:
        n, axis = x.shape[t.axis], order.index(t.axis)
        if n < 1:
            raise OnnxError(f"an image of shape {x.shape} cannot be resized")
        at = how.positions(n, t.out, t.scale, t.roi)
        m = how.matrix(at, n, t.scale)
        if m.shape != (n, n) or not np.array_equal(m, np.eye(n)):
            y = _along(y, axis, m)
        beyond = (at < 0) | (at > n - 1)
        outside = outside | beyond.reshape((-1,) + (1,) * (len(order) - axis - 1))
    if extrapolation is not None and outside.any():
        y = ops.where(np.broadcast_to(outside, y.shape), extrapolation, y)
    return Permuted(y, order) if isinstance(x, Permuted) else y


def _targets(x: Any, axes: tuple, scales: Any, sizes: Any, roi: Any, policy: str) -> list[Target]:
    n = [x.shape[a] for a in axes]
    corners = [(0.0, 1.0)] * len(axes)
    if roi is not None and roi.size == 2 * len(axes):
        numbers = flat(roi).astype(np.float64).reshape(2, len(axes))
        corners = [(float(a), float(b)) for a, b in zip(*numbers)]
    if sizes is not None and sizes.size:
        wanted = whole_numbers(sizes, "sizes")
        if len(wanted) != len(axes) or 0 in n:
            raise OnnxError(f"sizes {wanted} must be one number for each of {len(axes)} axes that are not empty")
        if policy == "stretch":
            return [Target(a, w, w / i, r) for a, w, i, r in zip(axes, wanted, n, corners)]
        if policy not in ("not_larger", "not_smaller"):
            raise OnnxError(f"keep_aspect_ratio_policy {policy!r} is not known")
        ratio = (min if policy == "not_larger" else max)(w / i for w, i in zip(wanted, n))
        return [Target(a, math.floor(ratio * i + 0.5), ratio, r) for a, i, r in zip(axes, n, corners)]
    if scales is None or scales.size != len(axes):
        raise OnnxError(f"scales or sizes must be given, one number for each of {len(axes)} axes")
    given = [float(s) for s in flat(scales).reshape(-1)]
    if not all(0 < s <= 1 << 20 for s in given):
        raise OnnxError(f"scales {given} must be positive and at most {1 << 20}")
    return [Target(a, math.floor(s * i), s, r) for a, s, i, r in zip(axes, given, n, corners)]


@converter("Resize", since=11, layout="image", constants=(1, 2, 3))
def resize(
    x: Any,
    roi: Any = None,
    scales: Any = None,
    sizes: Any = None,
    *,
    antialias: int = 0,
    axes: list[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Any:
    roi, scales, sizes = map(plain, (roi, scales, sizes))
    over = tuple(range(x.ndim)) if axes is None else axes_of(axes, x.ndim)
    how = Sampling(
        mode, coordinate_transformation_mode, nearest_mode, cubic_coeff_a, bool(exclude_outside), bool(antialias)
    )
    crop = coordinate_transformation_mode == "tf_crop_and_resize"
    targets = _targets(x, over, scales, sizes, roi if crop else None, keep_aspect_ratio_policy)
    return resample(x, targets, how, extrapolation_value if crop else None)


@converter("Resize", since=10, layout="image", constants=(1,))
@converter("Upsample", since=9, layout="image", constants=(1,))
def old_resize(x: Any, scales: Any, *, mode: str = "nearest") -> Any:
    how = Sampling(mode, "asymmetric", "floor")
    return resample(x, _targets(x, tuple(range(x.ndim)), plain(scales), None, None, "stretch"), how, None)


@converter("Upsample", since=7, layout="image")
def older_upsample(x: Any, *, mode: str = "nearest", scales: list[float]) -> Any:
    return old_resize(x, np.array(scales), mode=mode)


# -- sampling at given points ----------------------------------------------------------------------------------------


def _in_pixels(grid: np.ndarray, n: int, align_corners: bool) -> np.ndarray:
    """Coordinates from [-1, 1] to pixels: the ends are the middles of the outermost pixels, or their outer borders."""
    return (grid + 1) / 2 * (n - 1) if align_corners else ((grid + 1) * n - 1) / 2


def _reflected(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """x mirrored at both ends until it is inside."""
    span = high - low
    if span <= 0:
        return np.full_like(x, low)
    away = np.mod(x - low, 2 * span)
    return low + np.minimum(away, 2 * span - away)


def _taps(x: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (rounded positions) and weights, [..., taps]."""
    if mode == "nearest":
        return np.rint(x)[..., None], np.ones((*x.shape, 1))
    cubic = mode == "cubic"
    at = np.floor(x)[..., None] + (np.arange(-1, 3) if cubic else np.arange(2))
    return at, Sampling("cubic" if cubic else "linear").kernel(at - x[..., None])


@converter("GridSample")
def grid_sample(x: Any, grid: Any, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros") -> Any:
    """x [N, C, ...] at the points grid [N, ..., axes], last axis first (Jaderberg et al. 2015). The image trains, the
    points do not."""
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    points = host(grid).astype(np.float64)
    size = x.shape[2:]
    if points.shape[-1] != len(size) or points.shape[0] != x.shape[0] or 0 in size or not np.isfinite(points).all():
        raise OnnxError(f"a grid of shape {points.shape} does not fit images of shape {x.shape}")
    if mode not in ("nearest", "linear", "cubic") or padding_mode not in ("zeros", "border", "reflection"):
        raise OnnxError(f"mode {mode!r} or padding_mode {padding_mode!r} is not known")
    places, weights = [], []
    for i, n in enumerate(size):
        at = _in_pixels(points[..., len(size) - 1 - i], n, bool(align_corners))
        low, high = (0.0, n - 1.0) if align_corners else (-0.5, n - 0.5)
        if padding_mode == "reflection" and mode != "cubic":
            at = np.clip(_reflected(at, low, high), 0, n - 1)
        elif padding_mode == "border" and mode != "cubic":
            at = np.clip(at, 0, n - 1)
        tap, weight = _taps(at, mode)
        if padding_mode == "zeros":
            weight = np.where((tap >= 0) & (tap <= n - 1), weight, 0.0)
        elif padding_mode == "reflection":
            tap = _reflected(tap, low, high)
        places.append(np.clip(np.rint(tap), 0, n - 1).astype(np.int64))
        weights.append(weight)
    batch = np.arange(x.shape[0]).reshape((-1,) + (1,) * (points.ndim - 2))
    last = ops.transpose(x, axes=image_order(x.ndim))  # [N, ..., C]: a pixel is a row
    y: Any = 0.0
    for taps in np.ndindex(*(p.shape[-1] for p in places)):
        share = math.prod(w[..., t] for w, t in zip(weights, taps))
        pixel = last[(batch, *(p[..., t] for p, t in zip(places, taps)))]
        y = pixel * Tensor(np.asarray(share, x.dtype)[..., None]) + y
    return ops.transpose(y, axes=(0, y.ndim - 1, *range(1, y.ndim - 1)))


@converter("AffineGrid", constants=(1,))
def affine_grid(theta: Any, size: Any, *, align_corners: int = 0) -> Any:
    """The points at which to sample for an affine map theta [N, 2, 3] or [N, 3, 4]; coordinates run from -1 to 1."""
    wanted = whole_numbers(size, "size")
    spatial = wanted[2:]
    if len(spatial) not in (2, 3) or theta.shape != (wanted[0], len(spatial), len(spatial) + 1) or min(spatial) < 1:
        raise OnnxError(f"theta of shape {theta.shape} does not fit images of shape {wanted}")
    check_size((*spatial, len(spatial) + 1), theta.dtype)
    lines = [np.linspace(-1, 1, n) if align_corners else (2 * np.arange(n) + 1) / n - 1 for n in spatial]
    points = np.stack([*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(spatial)], -1).reshape(-1, len(spatial) + 1)
    y = ops.matmul(Tensor(points.astype(theta.dtype)[None]), theta, transpose_b=True)
    return y.reshape((wanted[0], *spatial, len(spatial)))
