"""Element-wise arithmetic with broadcasting. Where a function has a kink, the derivative is that of the first branch."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from dlkit.errors import ConfigError, ShapeError
from dlkit.ops.op import BadCall, Sample, op, shape_of, unbroadcast


def apart(rng: np.random.Generator, shape: tuple, kinks: tuple = (0.0,), gap: float = 0.05) -> np.ndarray:
    """Normal numbers at least `gap` away from every kink, where finite differences mean nothing."""
    x = rng.standard_normal(shape)
    for kink in kinks:
        near = np.abs(x - kink) < gap
        x = np.where(near, kink + np.where(x >= kink, gap, -gap) * (1 + rng.random(shape)), x)
    return x


def pairs(rng: np.random.Generator) -> list[Sample]:
    """Two operands in every way they broadcast, numbers on either side, empty arrays."""
    n = rng.standard_normal
    return [
        Sample((n((3, 4)), n((3, 4)))),
        Sample((n((2, 3, 4)), n(4)), note="trailing vector"),
        Sample((n((3, 1)), n((1, 5))), note="both stretch"),
        Sample((n((4, 3)), n(())), note="scalar array"),
        Sample((n((2, 3)), 1.5), note="number right"),
        Sample((-0.7, n((2, 3))), note="number left"),
        Sample((n((1, 1, 3)), n((2, 5, 1, 3))), note="more axes on the right"),
        Sample((n((0, 3)), n((1, 3))), note="empty"),
    ]


def misfits() -> list[BadCall]:
    return [BadCall((np.zeros((2, 3)), np.zeros((4, 3))), {}, ShapeError, r"\(2, 3\) and \(4, 3\) do not broadcast")]


def positive(samples: list[Sample], which: tuple[int, ...]) -> list[Sample]:
    """The same samples with the operands at `which` made positive and away from 0."""

    def fix(i: int, x: Any) -> Any:
        return x if i not in which else builtins.abs(x) + 0.3

    return [Sample(tuple(fix(i, x) for i, x in enumerate(s.inputs)), s.attributes, s.note) for s in samples]


def ordered(samples: list[Sample]) -> list[Sample]:
    """The same samples with no two operands closer than 0.05, for max and min."""

    def move(s: Sample) -> Sample:
        a, b = (np.round(x, 1) if isinstance(x, np.ndarray) else round(x, 1) for x in s.inputs)
        return Sample((a, b + 0.05), s.attributes, s.note)

    return [move(s) for s in samples]


@op("a[...], b[...] -> y[...]", formula="y = a + b", slope="da = dy, db = dy")
class add:
    second = True
    onnx = "Add"
    samples, errors = pairs, misfits

    def forward(k, a, b):
        return k.add(a, b), (shape_of(a), shape_of(b))

    def backward(k, saved, dy, needs):
        a, b = saved
        return unbroadcast(k, dy, a) if needs[0] else None, unbroadcast(k, dy, b) if needs[1] else None


@op("a[...], b[...] -> y[...]", formula="y = a - b", slope="da = dy, db = -dy")
class subtract:
    second = True
    onnx = "Sub"
    samples, errors = pairs, misfits

    def forward(k, a, b):
        return k.subtract(a, b), (shape_of(a), shape_of(b))

    def backward(k, saved, dy, needs):
        a, b = saved
        return (unbroadcast(k, dy, a) if needs[0] else None, k.negative(unbroadcast(k, dy, b)) if needs[1] else None)


@op("a[...], b[...] -> y[...]", formula="y = a · b", slope="da = dy · b, db = dy · a")
class multiply:
    second = True
    onnx = "Mul"
    samples, errors = pairs, misfits

    def forward(k, a, b):
        return k.multiply(a, b), (a, b)

    def backward(k, saved, dy, needs):
        a, b = saved
        return (
            unbroadcast(k, k.multiply(dy, b), shape_of(a)) if needs[0] else None,
            unbroadcast(k, k.multiply(dy, a), shape_of(b)) if needs[1] else None,
        )


@op("a[...], b[...] -> y[...]", formula="y = a / b", slope="da = dy / b, db = -dy · a / b²")
class divide:
    real = True
    second = True
    onnx = "Div"
    errors = misfits

    def samples(rng):
        return positive(pairs(rng), (1,))

    def forward(k, a, b):
        return k.divide(a, b), (a, b)

    def backward(k, saved, dy, needs):
        a, b = saved
        da = k.divide(dy, b)
        return (
            unbroadcast(k, da, shape_of(a)) if needs[0] else None,
            k.negative(unbroadcast(k, k.divide(k.multiply(da, a), b), shape_of(b))) if needs[1] else None,
        )


@op("a[...], b[...] -> y[...]", formula="y = a^b", slope="da = dy · b · a^(b-1), db = dy · y · ln a (0 where a ≤ 0)")
class power:
    second = True
    onnx = "Pow"
    errors = misfits

    def samples(rng):
        whole = [Sample((rng.standard_normal((3, 4)), e), note=f"x^{e}") for e in (2, 3.0)]
        return positive(pairs(rng), (0,)) + whole

    def forward(k, a, b):
        y = k.power(a, b)
        return y, (a, b, y)

    def backward(k, saved, dy, needs):
        a, b, y = saved
        da = db = None
        if needs[0]:
            if hasattr(b, "shape"):
                slope = k.where(k.equal(b, 0.0), 0.0, k.multiply(k.power(a, k.subtract(b, 1.0)), b))
            else:
                slope = k.multiply(k.power(a, b - 1), b) if b else 0.0  # 0 · 0^-1 would be NaN
            da = unbroadcast(k, k.multiply(dy, slope), shape_of(a))
        if needs[1]:
            if hasattr(a, "shape"):
                safe = k.where(k.greater(a, 0.0), a, 1.0)
                logarithm = k.log(safe)
            else:
                logarithm = float(np.log(a)) if a > 0 else 0.0
            db = unbroadcast(k, k.multiply(k.multiply(dy, y), logarithm), shape_of(b))
        return da, db


@op("a[...], b[...] -> y[...]", formula="y = max(a, b)", slope="da = dy · [a ≥ b], db = dy · [a < b]")
class maximum:
    second = True
    onnx = "Max"
    errors = misfits

    def samples(rng):
        return ordered(pairs(rng))

    def forward(k, a, b):
        return k.maximum(a, b), (a, b)

    def backward(k, saved, dy, needs):
        a, b = saved
        first = k.greater_equal(a, b)
        return (
            unbroadcast(k, k.where(first, dy, 0.0), shape_of(a)) if needs[0] else None,
            unbroadcast(k, k.where(first, 0.0, dy), shape_of(b)) if needs[1] else None,
        )


@op("a[...], b[...] -> y[...]", formula="y = min(a, b)", slope="da = dy · [a ≤ b], db = dy · [a > b]")
class minimum:
    second = True
    onnx = "Min"
    errors = misfits

    def samples(rng):
        return ordered(pairs(rng))

    def forward(k, a, b):
        return k.minimum(a, b), (a, b)

    def backward(k, saved, dy, needs):
        a, b = saved
        first = k.greater_equal(b, a)
        return (
            unbroadcast(k, k.where(first, dy, 0.0), shape_of(a)) if needs[0] else None,
            unbroadcast(k, k.where(first, 0.0, dy), shape_of(b)) if needs[1] else None,
        )


@op("a[...], b[...] -> y[...] bool", formula="y = [a > b]")
class greater:
    differentiable = False
    result = "bool"
    onnx = "Greater"
    samples, errors = pairs, misfits

    def forward(k, a, b):
        return k.greater(a, b), ()


@op("a[...], b[...] -> y[...] bool", formula="y = [a ≥ b]")
class greater_equal:
    differentiable = False
    result = "bool"
    onnx = "GreaterOrEqual"
    samples, errors = pairs, misfits

    def forward(k, a, b):
        return k.greater_equal(a, b), ()


@op("a[...], b[...] -> y[...] bool", formula="y = [a = b]")
class equal:
    differentiable = False
    result = "bool"
    onnx = "Equal"
    errors = misfits

    def samples(rng):
        a = rng.integers(0, 3, (4, 5)).astype(float)
        return [Sample((a, rng.integers(0, 3, (4, 5)).astype(float))), Sample((a, 1.0))]

    def forward(k, a, b):
        return k.equal(a, b), ()


@op(
    "mask[...] bool, a[...], b[...] -> y[...]",
    formula="y = a where mask, else b",
    slope="da = dy · mask, db = dy · (1 - mask)",
)
class where:
    whole = (0,)
    second = True
    nondiff = (0,)
    onnx = "Where"

    def samples(rng):
        mask = rng.random((3, 4)) > 0.5
        n = rng.standard_normal
        return [Sample((mask, n((3, 4)), n((3, 4)))), Sample((mask, n((3, 1)), 0.5)), Sample((mask, 0.0, n(4)))]

    def errors():
        return [BadCall((np.zeros((2, 3), bool), np.zeros((2, 2)), 0.0), {}, ShapeError, "do not broadcast")]

    def forward(k, mask, a, b):
        return k.where(mask, a, b), (mask, shape_of(a), shape_of(b))

    def backward(k, saved, dy, needs):
        mask, a, b = saved
        return (
            None,
            unbroadcast(k, k.where(mask, dy, 0.0), a) if needs[1] else None,
            unbroadcast(k, k.where(mask, 0.0, dy), b) if needs[2] else None,
        )


@op("x[...] -> y[...]", formula="y = -x", slope="dx = -dy")
class negative:
    second = True
    onnx = "Neg"

    def samples(rng):
        return [Sample((rng.standard_normal(s),)) for s in ((), (3, 4), (2, 0))]

    def forward(k, x):
        return k.negative(x), ()

    def backward(k, saved, dy):
        return (k.negative(dy),)


@op("x[...] -> y[...]", formula="y = e^x", slope="dx = dy · y")
class exp:
    real = True
    second = True
    onnx = "Exp"

    def samples(rng):
        return [Sample((rng.standard_normal(s),)) for s in ((), (3, 4), (2, 0))]

    def forward(k, x):
        y = k.exp(x)
        return y, (y,)

    def backward(k, saved, dy):
        (y,) = saved
        return (k.multiply(dy, y),)


@op("x[...] -> y[...]", formula="y = ln x", slope="dx = dy / x")
class log:
    real = True
    second = True
    onnx = "Log"

    def samples(rng):
        return [Sample((rng.random(s) + 0.3,)) for s in ((), (3, 4), (2, 0))]

    def forward(k, x):
        return k.log(x), (x,)

    def backward(k, saved, dy):
        (x,) = saved
        return (k.divide(dy, x),)


@op("x[...] -> y[...]", formula="y = √x", slope="dx = dy / (2 y)")
class sqrt:
    real = True
    second = True
    onnx = "Sqrt"

    def samples(rng):
        return [Sample((rng.random(s) + 0.3,)) for s in ((), (3, 4), (2, 0))]

    def forward(k, x):
        y = k.sqrt(x)
        return y, (y,)

    def backward(k, saved, dy):
        (y,) = saved
        return (k.divide(k.multiply(dy, 0.5), y),)


@op("x[...] -> y[...]", formula="y = sin x", slope="dx = dy · cos x")
class sin:
    real = True
    second = True
    onnx = "Sin"

    def samples(rng):
        return [Sample((3 * rng.standard_normal(s),)) for s in ((), (3, 4), (2, 0))]

    def forward(k, x):
        return k.sin(x), (x,)

    def backward(k, saved, dy):
        (x,) = saved
        return (k.multiply(dy, k.cos(x)),)


@op("x[...] -> y[...]", formula="y = cos x", slope="dx = -dy · sin x")
class cos:
    real = True
    second = True
    onnx = "Cos"

    def samples(rng):
        return [Sample((3 * rng.standard_normal(s),)) for s in ((), (3, 4), (2, 0))]

    def forward(k, x):
        return k.cos(x), (x,)

    def backward(k, saved, dy):
        (x,) = saved
        return (k.negative(k.multiply(dy, k.sin(x))),)


@op("x[...] -> y[...]", formula="y = 2/√π ∫_0^x e^-t² dt", slope="dx = dy · 2/√π e^-x²")
class erf:
    real = True
    second = True
    onnx = "Erf"

    def samples(rng):
        return [Sample((rng.standard_normal(s),)) for s in ((), (3, 4), (2, 0))]

    def forward(k, x):
        return k.erf(x), (x,)

    def backward(k, saved, dy):
        (x,) = saved
        return (k.multiply(dy, k.multiply(k.exp(k.negative(k.multiply(x, x))), 2 / math.sqrt(math.pi))),)


@op("x[...] -> y[...]", formula="y = |x|", slope="dx = dy · sign(x)")
class abs:
    second = True
    onnx = "Abs"

    def samples(rng):
        return [Sample((apart(rng, s),)) for s in ((), (3, 4), (2, 0))]

    def forward(k, x):
        return k.abs(x), (x,)

    def backward(k, saved, dy):
        (x,) = saved
        return (k.multiply(dy, k.sign(x)),)


@op("x[...] -> y[...]", formula="y = -1, 0 or 1, as x is negative, zero or positive")
class sign:
    differentiable = False
    onnx = "Sign"

    def samples(rng):
        return [Sample((apart(rng, (3, 4)),)), Sample((np.zeros(3),))]

    def forward(k, x):
        return k.sign(x), ()


@op("x[...] -> y[...]", formula="y = min(max(x, low), high)", slope="dx = dy · [low ≤ x ≤ high]")
class clip:
    second = True
    onnx = "Clip"

    def arguments(x, low, high):
        if not low <= high:
            raise ConfigError(f"clip: low (={low}) must not be above high (={high})")
        if getattr(x, "dtype", np.dtype(float)).kind in "iu":
            least, most = np.iinfo(x.dtype).min, np.iinfo(x.dtype).max
            low, high = (min(max(bound, least), most) for bound in (low, high))
            if low == int(low) and high == int(high):
                return (x,), {"low": int(low), "high": int(high)}
            x = cast(x, dtype=np.dtype(np.float32))
        return (x,), {"low": float(low), "high": float(high)}

    def shape(x, low, high):
        return x

    def samples(rng):
        bounds = {"low": -0.5, "high": 0.8}
        return [Sample((apart(rng, s, (-0.5, 0.8)),), bounds) for s in ((), (5, 4), (2, 0))]

    def errors():
        return [BadCall((np.zeros(3),), {"low": 1.0, "high": 0.0}, ConfigError, r"low \(=1.0\) must not be above")]

    def forward(k, x, *, low, high):
        return k.clip(x, low, high), (x, low, high)

    def backward(k, saved, dy):
        x, low, high = saved
        return (k.where(k.greater_equal(x, low), k.where(k.greater_equal(high, x), dy, 0.0), 0.0),)


@op("x[...] -> y[...]", formula="y = x in another number type", slope="dx = dy in x's type")
class cast:
    second = True
    onnx = "Cast"

    def shape(x, dtype):
        return x

    def flops(x, dtype):
        return 0

    def samples(rng):
        return [Sample((rng.standard_normal((2, 3)),), {"dtype": np.dtype(np.float64)})]

    def forward(k, x, *, dtype):
        return k.cast(x, dtype), (x.dtype,)

    def backward(k, saved, dy):
        (dtype,) = saved
        return (k.cast(dy, dtype),)
