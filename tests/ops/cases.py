"""The case table of the op tests: every sample of every registered op, and what the tests do with one.

    cases(dtypes=("f64", "f32"))    one Case for each (op, sample, dtype, backend), with an id that says which
    run(op, inputs, attributes)     the call itself, on tensors
    gradients(case, dy)             what backward gives
    slopes(f, xs, weight, rng)      what central differences give, along probes
    compare(probes, gradients)      AssertionError, naming the worst probe, unless the two agree

A numeric check of a gradient probes every element of an input of up to 40, else 40 of them one by one and all
together along two random directions of ±1, so that no single wrong element hides.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import dlkit
from dlkit.backends import BACKENDS
from dlkit.ops import OPS, Op, Sample

SEED = 20
FLOATS = {"f64": np.float64, "f32": np.float32}
STEP = 3e-4  # fourth order: truncation 1e-14 · f⁽⁵⁾, rounding 1e-12 · |f|
TOLERANCE = 1e-6  # of the input's largest gradient
ELEMENTS = 40  # probed one by one in each input


# -- the table ---------------------------------------------------------------------------------------------


@functools.cache
def samples(name: str) -> tuple[Sample, ...]:
    return tuple(OPS[name].samples(np.random.default_rng(SEED)))


@functools.cache
def labels(name: str) -> tuple[str, ...]:
    """One readable, unique label for each sample; the same shapes twice get their number."""
    found: list[str] = []
    for i, sample in enumerate(samples(name)):
        label = str(sample)
        found.append(label if label not in found else f"{label}-#{i}")
    return tuple(found)


@dataclass(frozen=True)
class Case:
    """Sample number `index` of an op, in one dtype, on one backend."""

    op: Op
    index: int
    dtype: str = "f64"
    backend: str = "reference"

    def __str__(self) -> str:
        return f"{self.op.name}[{labels(self.op.name)[self.index]}-{self.dtype}-{self.backend}]"

    @property
    def sample(self) -> Sample:
        return samples(self.op.name)[self.index]

    @property
    def float(self) -> type:
        return FLOATS[self.dtype]

    def rng(self) -> np.random.Generator:
        """Depends on op and sample only: every backend and dtype gets the same numbers."""
        return np.random.default_rng((SEED, zlib.crc32(self.op.name.encode()), self.index))


def cases(
    dtypes: Sequence[str] = ("f64",),
    backends: Sequence[str] = ("reference",),
    only: Callable[[Op], bool] = lambda op: True,
) -> list[Case]:
    """Every sample of every op for which `only(op)`, in each dtype, on each backend; pass with `ids=str`."""
    return [
        Case(op, i, dtype, backend)
        for backend in backends
        for op in OPS.values()
        if only(op)
        for i in range(len(samples(op.name)))
        for dtype in dtypes
    ]


def differentiable(op: Op) -> bool:
    return op.differentiable


def twice_differentiable(op: Op) -> bool:
    return op.differentiable and op.second


def cpu_backends() -> list[str]:
    return [b.name for b in BACKENDS.values() if b.device == "cpu" and b.name != "reference"]


# -- calling an op -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What a call gave: output, auxiliary arrays, and the inputs as tensors (numbers, None as they are)."""

    y: dlkit.Tensor
    auxiliary: tuple
    inputs: tuple
    leaves: list  # the inputs that have a gradient


def is_float(x: object) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def wanted(op: Op, inputs: Sequence) -> list[int]:
    """The positions of the inputs that have a gradient."""
    return [i for i, x in enumerate(inputs) if is_float(x) and i not in op.nondiff]


def converted(x: object, dtype: type) -> object:
    """Float arrays in `dtype` (copied), everything else as it is."""
    return np.array(x, dtype=dtype) if is_float(x) else x


def run(
    op: Op,
    inputs: Sequence,
    attributes: dict,
    dtype: type = np.float64,
    requires_grad: bool = True,
    device: str = "cpu",
) -> Run:
    """Calls op on `device`, float arrays cast to `dtype`, as leaves if requires_grad; others as tensors."""
    grad = wanted(op, inputs) if requires_grad and op.differentiable else []
    return call(
        op, [converted(x, dtype) for x in inputs], {k: converted(v, dtype) for k, v in attributes.items()}, grad, device
    )


def call(op: Op, inputs: Sequence, attributes: dict, grad: Sequence[int] = (), device: str = "cpu") -> Run:
    """`run` on the arrays exactly as they are; positions in `grad` become leaves."""
    tensors = tuple(
        dlkit.Tensor(x, requires_grad=i in grad, device=device) if isinstance(x, np.ndarray) else x
        for i, x in enumerate(inputs)
    )
    result = op(*tensors, **attributes)
    y, *auxiliary = result if isinstance(result, tuple) else (result,)
    return Run(y, tuple(auxiliary), tensors, [tensors[i] for i in grad])


def run_case(case: Case, requires_grad: bool = True, device: str = "cpu") -> Run:
    return run(case.op, case.sample.inputs, case.sample.attributes, case.float, requires_grad, device)


def upstream(case: Case, shape: tuple) -> np.ndarray:
    """A random dy, float64."""
    return np.asarray(case.rng().standard_normal(shape))


def gradients(case: Case, dy: np.ndarray | None = None) -> list[np.ndarray]:
    """backward's gradients for every input that has one, on the backend in force."""
    r = run_case(case)
    dy = upstream(case, r.y.shape) if dy is None else dy
    dy = dy.astype(r.y.dtype)
    return [g.numpy() for g in dlkit.grad(r.y, r.leaves, dlkit.Tensor(dy))]


# -- comparing ---------------------------------------------------------------------------------------------


def assert_close(
    actual: np.ndarray,
    expected: np.ndarray,
    tolerance: float,
    floor: float = 0.0,
    what: str = "",
) -> None:
    """Equal shapes, and no element further off than `tolerance` · max(largest |expected|, floor)."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"{what} has shape {actual.shape}, expected {expected.shape}"
    if not expected.size:
        return
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(actual - expected))
    finite = np.abs(expected[np.isfinite(expected)])
    scale = max(finite.max() if finite.size else 0.0, floor)
    worst = np.unravel_index(np.nanargmax(np.where(np.isnan(error), np.inf, error)), error.shape)
    assert error[worst] <= tolerance * scale, (
        f"{what}{list(map(int, worst))} is {actual[worst]!r}, expected {expected[worst]!r}: "
        f"off by {error[worst] / (scale or 1.0):.2e} of the scale {scale:.3g}, allowed {tolerance:.0e}"
    )


# -- numeric gradients -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Probe:
    """One direction in one input, and the slope found along it by central differences."""

    input: int
    where: str
    direction: np.ndarray
    slope: float
    noise: float  # rounding of the differences


def directions(shape: tuple, rng: np.random.Generator) -> list[tuple[str, np.ndarray]]:
    size = int(np.prod(shape))
    chosen = range(size) if size <= ELEMENTS else sorted(rng.choice(size, ELEMENTS, replace=False))
    found = []
    for flat in chosen:
        unit = np.zeros(shape)
        index = np.unravel_index(flat, shape)
        unit[index] = 1.0
        found.append((str(list(map(int, index))), unit))
    if size > ELEMENTS:
        found += [(f"random direction {i}", rng.choice([-1.0, 1.0], shape)) for i in (1, 2)]
    return found


def central_difference(f: Callable, x: np.ndarray, v: np.ndarray, h: float) -> np.ndarray:
    """df(x + t v)/dt at t = 0, of fourth order."""
    return (8 * (f(x + h * v) - f(x - h * v)) - (f(x + 2 * h * v) - f(x - 2 * h * v))) / (12 * h)


def slopes(
    f: Callable[[list[np.ndarray]], np.ndarray],
    xs: list[np.ndarray],
    weight: np.ndarray,
    rng: np.random.Generator,
) -> list[Probe]:
    """Central differences of Σ weight · f(xs) along `directions` of every input."""
    size = float(np.abs(weight * f(xs)).sum())
    noise = 10 * np.finfo(np.float64).eps * size / STEP
    found = []
    for i, x in enumerate(xs):

        def along(moved: np.ndarray, i: int = i) -> np.ndarray:
            return f([*xs[:i], np.asarray(moved), *xs[i + 1 :]])  # 0-d sums are NumPy scalars

        for where, v in directions(x.shape, rng):
            slope = float((weight * central_difference(along, x, v, STEP)).sum())
            found.append(Probe(i, where, v, slope, noise))
    return found


def compare(probes: list[Probe], gradients: list[np.ndarray]) -> None:
    """AssertionError at the worst probe whose error exceeds TOLERANCE · the input's largest gradient."""
    worst, message = 1.0, ""
    for i, g in enumerate(gradients):
        mine = [p for p in probes if p.input == i]
        assert all(p.direction.shape == g.shape for p in mine), f"input {i}: gradient of shape {g.shape}"
        assert np.isfinite(g).all(), f"input {i}: the gradient is not finite"
        single = [abs(p.slope) for p in mine if np.abs(p.direction).sum() == 1]
        largest = max(float(np.abs(g).max(initial=0.0)), *single, 0.0)
        for p in mine:
            analytic = float((g * p.direction).sum())
            allowed = TOLERANCE * largest * np.sqrt(np.abs(p.direction).sum()) + p.noise
            ratio = abs(analytic - p.slope) / allowed if allowed else (np.inf if analytic != p.slope else 0.0)
            if ratio > worst:
                worst, message = (
                    ratio,
                    (
                        f"input {i} at {p.where}: backward gives {analytic!r}, central differences {p.slope!r} "
                        f"(step {STEP}); off by {abs(analytic - p.slope):.2e}, allowed {allowed:.2e}, "
                        f"largest gradient {largest:.3g}"
                    ),
                )
    assert not message, message


@functools.cache
def numeric_gradient(name: str, index: int) -> list[Probe]:
    """Central differences of Σ dy · op(inputs) for a float64 case; dy as in `gradients`."""
    case = Case(OPS[name], index)
    inputs = list(case.sample.inputs)
    grad = wanted(case.op, inputs)

    def forward(xs: list[np.ndarray]) -> np.ndarray:
        moved = list(inputs)
        for i, x in zip(grad, xs):
            moved[i] = x
        return call(case.op, moved, case.sample.attributes).y.numpy()

    xs = [np.asarray(inputs[i]) for i in grad]
    return slopes(forward, xs, upstream(case, forward(xs).shape), case.rng())


def check_gradient(case: Case) -> None:
    """The gradient check: backward against central differences."""
    compare(numeric_gradient(case.op.name, case.index), gradients(case))
