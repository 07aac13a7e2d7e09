"""Losses. `reduction` is "mean" (over all elements, or rows for cross-entropy), "sum" or "none"."""

from __future__ import annotations

import math

import numpy as np

from dlkit.errors import ConfigError, DTypeError, ShapeError
from dlkit.ops.arithmetic import apart
from dlkit.ops.op import BadCall, Sample, op, spread
from dlkit.tensor import Tensor


def _reduction(reduction: str) -> str:
    if reduction not in ("mean", "sum", "none"):
        raise ConfigError(f"reduction {reduction!r} is unknown; expected mean, sum or none")
    return reduction


def _pair_arguments(x, target, reduction="mean"):
    return (x, target), {"reduction": _reduction(reduction)}


def _pair_shape(x, target, reduction, **attributes):
    if target != x:
        raise ShapeError(f"predictions have shape {x}, targets {target}; they must be equal")
    return x if reduction == "none" else ()


def _pair_flops(x, target, **attributes):
    return 3 * math.prod(x)


def _pair_errors() -> list[BadCall]:
    return [
        BadCall((np.zeros((2, 3)), np.zeros((2, 1))), {}, ShapeError, "they must be equal"),
        BadCall((np.zeros(2), np.zeros(2)), {"reduction": "max"}, ConfigError, "reduction 'max' is unknown"),
    ]


def _reduce(k, values, reduction):
    if reduction == "none":
        return values
    total = k.sum(values, tuple(range(len(values.shape))), False)
    return total if reduction == "sum" else k.multiply(total, 1.0 / max(math.prod(values.shape), 1))


def _each(k, dy, shape, reduction, factor=1.0):
    """factor times dy of each element of the unreduced loss: one array of shape () where it is the same for all."""
    if reduction == "mean":
        factor /= max(math.prod(shape), 1)
    return dy if factor == 1.0 else k.multiply(dy, factor)


def _spread(k, dy, shape, reduction):
    """dy for each element of the unreduced loss, as an array of its own."""
    return spread(k, _each(k, dy, shape, reduction), tuple(shape))


def _pair_samples(rng: np.random.Generator) -> list[Sample]:
    n = rng.standard_normal
    return [Sample((n((4, 3)), n((4, 3))), {"reduction": r}) for r in ("mean", "sum", "none")] + [Sample((n(1), n(1)))]


def _apart_samples(rng: np.random.Generator, kinks: tuple, **attributes) -> list[Sample]:
    out = []
    for reduction in ("mean", "sum", "none"):
        t = rng.standard_normal((4, 3))
        out.append(Sample((t + apart(rng, (4, 3), kinks), t), {"reduction": reduction, **attributes}))
    return out


@op("x[...], target[...] -> loss[]", formula="loss = mean (x - t)²", slope="dx = 2 (x - t) / n, dt = -dx")
class mse:
    real = True
    second = True
    arguments, shape, flops, samples, errors = _pair_arguments, _pair_shape, _pair_flops, _pair_samples, _pair_errors

    def forward(k, x, t, *, reduction):
        d = k.subtract(x, t)
        return _reduce(k, k.multiply(d, d), reduction), (x, t, reduction)

    def backward(k, saved, dy, needs):
        x, t, reduction = saved
        dx = k.multiply(k.subtract(x, t), _each(k, dy, x.shape, reduction, 2.0))
        return dx, k.negative(dx) if needs[1] else None


@op("x[...], target[...] -> loss[]", formula="loss = mean |x - t|", slope="dx = sign(x - t) / n, dt = -dx")
class l1:
    real = True
    second = True
    arguments, shape, flops, errors = _pair_arguments, _pair_shape, _pair_flops, _pair_errors

    def samples(rng):
        return _apart_samples(rng, (0.0,))

    def forward(k, x, t, *, reduction):
        return _reduce(k, k.abs(k.subtract(x, t)), reduction), (x, t, reduction)

    def backward(k, saved, dy, needs):
        x, t, reduction = saved
        dx = k.multiply(k.sign(k.subtract(x, t)), _each(k, dy, x.shape, reduction))
        return dx, k.negative(dx) if needs[1] else None


@op(
    "x[...], target[...] -> loss[]",
    formula="loss = mean of d²/2 where |d| ≤ δ, else δ (|d| - δ/2), d = x - t",
    slope="dx = clip(d, -δ, δ) / n, dt = -dx",
    source="Huber 1964, Robust estimation of a location parameter",
)
class huber:
    real = True
    second = True
    flops = _pair_flops
    shape = _pair_shape

    def arguments(x, target, delta=1.0, reduction="mean"):
        if not delta > 0:
            raise ConfigError(f"huber: delta (={delta}) must be positive")
        return (x, target), {"delta": float(delta), "reduction": _reduction(reduction)}

    def samples(rng):
        return _apart_samples(rng, (-1.0, 1.0)) + _apart_samples(rng, (-0.5, 0.5), delta=0.5)

    def errors():
        return [*_pair_errors(), BadCall((np.zeros(2), np.zeros(2)), {"delta": 0}, ConfigError, "must be positive")]

    def forward(k, x, t, *, delta, reduction):
        d = k.subtract(x, t)
        near = k.clip(d, -delta, delta)  # loss = near · (d - near/2), one formula for both branches
        return _reduce(k, k.multiply(near, k.subtract(d, k.multiply(near, 0.5))), reduction), (x, t, delta, reduction)

    def backward(k, saved, dy, needs):
        x, t, delta, reduction = saved
        dx = k.multiply(k.clip(k.subtract(x, t), -delta, delta), _each(k, dy, x.shape, reduction))
        return dx, k.negative(dx) if needs[1] else None


@op(
    "p[...], target[...] -> loss[]",
    formula="loss = -mean (t ln p + (1 - t) ln (1 - p)), p clipped to [eps, 1 - eps]",
    slope="dp = (p - t) / (p (1 - p)) / n (0 where p was clipped)",
)
class binary_cross_entropy:
    """On probabilities; `binary_cross_entropy_with_logits` is more exact. No gradient flows to the targets."""

    real = True
    nondiff = (1,)
    second = True
    shape = _pair_shape
    errors = _pair_errors

    def arguments(p, target, eps=1e-7, reduction="mean"):
        return (p, target), {"eps": float(eps), "reduction": _reduction(reduction)}

    def flops(p, target, **attributes):
        return 8 * math.prod(p)

    def samples(rng):
        return [
            Sample((0.05 + 0.9 * rng.random((4, 3)), rng.integers(0, 2, (4, 3)).astype(float)), {"reduction": r})
            for r in ("mean", "sum", "none")
        ] + [Sample((0.05 + 0.9 * rng.random(5), rng.random(5)))]

    def forward(k, p, t, *, eps, reduction):
        q = k.clip(p, eps, 1 - eps)
        u, v = k.multiply(t, k.log(q)), k.multiply(k.subtract(1.0, t), k.log(k.subtract(1.0, q)))
        return _reduce(k, k.negative(k.add(u, v)), reduction), (p, t, eps, reduction)

    def backward(k, saved, dy):
        p, t, eps, reduction = saved
        q = k.clip(p, eps, 1 - eps)
        slope = k.divide(k.subtract(q, t), k.multiply(q, k.subtract(1.0, q)))
        inside = k.cast(k.equal(p, q), p.dtype)
        return k.multiply(k.multiply(slope, inside), _each(k, dy, p.shape, reduction)), None


@op("z[...], target[...] -> loss[]", formula="loss = mean (softplus(z) - t z)", slope="dz = (σ(z) - t) / n")
class binary_cross_entropy_with_logits:
    """No gradient flows to the targets."""

    real = True
    nondiff = (1,)
    second = True
    arguments, shape, errors = _pair_arguments, _pair_shape, _pair_errors

    def flops(z, target, **attributes):
        return 8 * math.prod(z)

    def samples(rng):
        return [
            Sample((3 * rng.standard_normal((4, 3)), rng.integers(0, 2, (4, 3)).astype(float)), {"reduction": r})
            for r in ("mean", "sum", "none")
        ] + [Sample((50 * rng.standard_normal(5), rng.random(5)), note="large")]

    def forward(k, z, t, *, reduction):
        return _reduce(k, k.subtract(k.softplus(z), k.multiply(t, z)), reduction), (z, t, reduction)

    def backward(k, saved, dy):
        z, t, reduction = saved
        return k.multiply(k.subtract(k.sigmoid(z), t), _each(k, dy, z.shape, reduction)), None


def _check_smoothing(smoothing: float) -> float:
    if not 0 <= smoothing < 1:
        raise ConfigError(f"label_smoothing (={smoothing}) must be at least 0 and below 1")
    return float(smoothing)


def _check_weight(x: tuple, weight: tuple | None) -> None:
    if weight is not None and weight != x[-1:]:
        raise ShapeError(f"weight has shape {weight}, expected {x[-1:]} (one for each class)")


@op(
    "logits[N,K], labels[N] int64, weight[K]? -> loss[]",
    formula="loss = -mean Σ_k w_k q_k ln softmax(logits)_k, q = (1-s) onehot(label) + s/K",
    slope="dlogits = (p Σ_j w_j q_j - w q) / n",
    source="Szegedy et al. 2016, Rethinking Inception (label smoothing, section 7)",
)
class cross_entropy:
    """Softmax cross-entropy on class labels. With class weights the mean divides by Σ weight[label], so that rare
    classes do not shrink the loss. Targets that are probabilities (or one-hot): `cross_entropy_with_probabilities`."""

    whole = (1,)
    real = True
    nondiff = (1, 2)

    def arguments(logits, labels, weight=None, label_smoothing=0.0, reduction="mean"):
        host = labels.numpy() if isinstance(labels, Tensor) and labels.device != "meta" else labels
        if not isinstance(labels, Tensor) or labels.device != "meta":
            host = np.asarray(host)
            if host.dtype.kind not in "iu":
                raise DTypeError(
                    f"cross_entropy: labels must be whole numbers, not {host.dtype}; for probabilities or "
                    "one-hot targets use cross_entropy_with_probabilities"
                )
            classes = logits.shape[-1] if len(logits.shape) else 0
            if host.size and (host.min() < 0 or host.max() >= classes):
                raise ShapeError(
                    f"cross_entropy: labels run from {host.min()} to {host.max()}, "
                    f"the logits have {classes} classes (0 to {classes - 1})"
                )
            if not isinstance(labels, Tensor) or labels.dtype != np.int64:
                labels = host.astype(np.int64)
        return (logits, labels, weight), {
            "smoothing": _check_smoothing(label_smoothing),
            "reduction": _reduction(reduction),
        }

    def shape(x, labels, weight=None, *, smoothing, reduction):
        if len(x) != 2 or labels != x[:1]:
            raise ShapeError(f"logits of shape {x} must be [N, K] and labels of shape {labels} [N]")
        _check_weight(x, weight)
        return x[:1] if reduction == "none" else ()

    def flops(x, labels, weight=None, **attributes):
        return 6 * math.prod(x)

    def samples(rng):
        n, labels = rng.standard_normal, rng.integers(0, 5, 6)
        w = rng.random(5) + 0.5
        return [Sample((n((6, 5)), labels, None), {"reduction": r}) for r in ("mean", "sum", "none")] + [
            Sample((n((6, 5)), labels, w)),
            Sample((n((6, 5)), labels, None), {"label_smoothing": 0.1}),
            Sample((n((6, 5)), labels, w), {"label_smoothing": 0.2, "reduction": "none"}),
            Sample((40 * n((6, 5)), labels, None), note="large"),
            Sample((n((1, 1)), np.zeros(1, int), None)),
            Sample((n((3, 33)), np.array([0, 32, 7]), None)),
        ]

    def errors():
        x = np.zeros((2, 3))
        return [
            BadCall((x, np.array([0, 3])), {}, ShapeError, "labels run from 0 to 3, the logits have 3 classes"),
            BadCall((x, np.array([0, 1, 2])), {}, ShapeError, r"must be \[N, K\]"),
            BadCall((x, np.zeros((2, 3))), {}, DTypeError, "labels must be whole numbers"),
            BadCall((x, np.array([0, 1]), np.zeros(2)), {}, ShapeError, "weight has shape"),
            BadCall((x, np.array([0, 1])), {"label_smoothing": 1.0}, ConfigError, "below 1"),
        ]

    def forward(k, x, labels, weight, *, smoothing, reduction):
        loss, p = k.cross_entropy_forward(x, labels, weight, smoothing)
        if weight is None or reduction != "mean":
            y, total = _reduce(k, loss, reduction), None
        else:
            total = k.sum(k.gather(weight, labels, 0), (0,), False)
            y = k.divide(k.sum(loss, (0,), False), total)
        return y, (p, labels, weight, smoothing, reduction, total)

    def backward(k, saved, dy):
        p, labels, weight, smoothing, reduction, total = saved
        n = (p.shape[0],)
        each = _spread(k, dy, n, reduction) if total is None else spread(k, k.divide(dy, total), n)
        return k.cross_entropy_backward(each, p, labels, weight, smoothing), None, None


@op(
    "logits[N,K], target[N,K], weight[K]? -> loss[]",
    formula="loss = -mean Σ_k w_k q_k ln softmax(logits)_k, q = (1-s) t + s/K",
    slope="dlogits = (p Σ_j w_j q_j - w q) / n",
)
class cross_entropy_with_probabilities:
    """Softmax cross-entropy on targets that are probabilities or one-hot rows."""

    real = True
    nondiff = (1, 2)
    second = True

    def arguments(logits, target, weight=None, label_smoothing=0.0, reduction="mean"):
        return (logits, target, weight), {
            "smoothing": _check_smoothing(label_smoothing),
            "reduction": _reduction(reduction),
        }

    def shape(x, target, weight=None, *, smoothing, reduction):
        if len(x) != 2 or target != x:
            raise ShapeError(f"logits of shape {x} and targets of shape {target} must both be [N, K]")
        _check_weight(x, weight)
        return x[:1] if reduction == "none" else ()

    def flops(x, target, weight=None, **attributes):
        return 7 * math.prod(x)

    def samples(rng):
        n = rng.standard_normal
        one_hot = np.eye(5)[rng.integers(0, 5, 6)]
        soft = rng.dirichlet(np.ones(5), 6)
        return [
            Sample((n((6, 5)), t, w), {"reduction": r, "label_smoothing": s})
            for t, w, r, s in (
                (one_hot, None, "mean", 0.0),
                (soft, None, "sum", 0.0),
                (one_hot, rng.random(5) + 0.5, "none", 0.1),
            )
        ]

    def errors():
        return [BadCall((np.zeros((2, 3)), np.zeros((2, 2))), {}, ShapeError, r"must both be \[N, K\]")]

    def forward(k, x, target, weight, *, smoothing, reduction):
        q = _weighted_target(k, target, weight, smoothing)
        loss = k.negative(k.sum(k.multiply(q, k.log_softmax(x, 1)), (1,), False))
        return _reduce(k, loss, reduction), (x, target, weight, smoothing, reduction)

    def backward(k, saved, dy):
        x, target, weight, smoothing, reduction = saved
        q = _weighted_target(k, target, weight, smoothing)
        slope = k.subtract(k.multiply(k.softmax(x, 1), k.sum(q, (1,), True)), q)
        each = k.reshape(_spread(k, dy, x.shape[:1], reduction), (x.shape[0], 1))
        return k.multiply(slope, each), None, None


def _weighted_target(k, target, weight, smoothing):
    if smoothing:
        target = k.add(k.multiply(target, 1 - smoothing), smoothing / target.shape[1])
    return target if weight is None else k.multiply(target, weight)
