"""Every op of the registry: all its samples, on every backend, in float64 and in scaled float32.

float64: backward against differences of the same backend's forward, and what `check` asks beside; on the reference backend
by complex steps where the op allows it. An op is also asked: does each input alone get the same gradient as together with
the others, does a scalar output take dy = 1 by itself, is a missing dy refused for any other output?

Scaled float32: the gradient is computed in float32 on each backend, the numeric one from float64 evaluations of the
reference backend at the same float32 numbers. What float32 may be off by depends on the op: the float64 gradient is
computed again with dy and the inputs, or dy and what forward kept, moved by one unit in float32's last place, three times at random;
allowed are FLOAT32 times the larger of that change and that unit of the largest gradient. An error is relative to the
input's largest gradient.

Randomised ops get their draw as an argument (dropout's mask), so every evaluation sees the same one.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dlkit.backends import available_backends, use_backend
from dlkit.errors import GradientError
from dlkit.gradients.check import SAME, UnsoundError, check_problem, rounding_floor, same
from dlkit.gradients.compare import Comparison, compare
from dlkit.gradients.numeric import EPS, Arrays, Problem, Settings
from dlkit.gradients.report import GradientReport, Worst
from dlkit.ops import Op, Sample
from dlkit.tape import grad, no_grad
from dlkit.tensor import Tensor

FLOAT32 = 32.0  # times a unit in the last place: sums of a few hundred products, Winograd's transforms
EPS32 = float(np.finfo(np.float32).eps)
DTYPES = ("float64", "float32")
UPSTREAM = "upstream gradient"  # as an input of the second derivative; an op's own input may be called dy
SECOND_ELEMENTS = 12  # probed in each input for a second derivative, whose every evaluation is a backward


def is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def input_names(op: Op, count: int) -> list[str]:
    """The inputs' names as the op's forward has them: x, w, b; xs[0], xs[1], ... for any number of them."""
    parameters = list(inspect.signature(op.unit.forward).parameters.values())[1:]  # type: ignore[attr-defined]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return [f"{parameters[0].name}[{i}]" for i in range(count)]
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


class SampleCall:
    """One sample of an op, to be called at other values of its inputs."""

    def __init__(self, op: Op, sample: Sample, dtype: Any = np.float64):
        self.op, self.sample = op, sample
        self.dtype = np.dtype(dtype)
        names = input_names(op, len(sample.inputs))
        self.fixed = [self._cast(x) for x in sample.inputs]
        self.attributes = {name: self._cast(x) for name, x in sample.attributes.items()}
        self.checked = {names[i]: i for i, x in enumerate(sample.inputs) if is_float(x) and i not in op.nondiff}

    def _cast(self, x: Any) -> Any:
        return x.astype(self.dtype) if is_float(x) else x

    def inputs(self) -> Arrays:
        """The inputs with a gradient, as float64."""
        return {name: np.array(self.fixed[i], np.float64) for name, i in self.checked.items()}

    def tensors(self, inputs: Arrays, wanted: Sequence[str] = ()) -> list[Any]:
        values = list(self.fixed)
        for name, x in inputs.items():
            values[self.checked[name]] = x if x.dtype.kind == "c" else x.astype(self.dtype, copy=False)
        if any(x.dtype.kind == "c" for x in inputs.values()):
            values = [x.astype(complex) if is_float(x) else x for x in values]
        leaves = {self.checked[name] for name in wanted}
        return [Tensor(x, requires_grad=i in leaves) if isinstance(x, np.ndarray) else x for i, x in enumerate(values)]

    def call(self, tensors: list[Any]) -> Tensor:
        y = self.op(*tensors, **self.attributes)
        return y[0] if isinstance(y, tuple) else y

    def forward(self, inputs: Arrays) -> np.ndarray:
        with no_grad():
            return self.call(self.tensors(inputs)).numpy()

    def backward(self, inputs: Arrays, dy: np.ndarray, wanted: Sequence[str] | None = None) -> dict[str, Any]:
        wanted = list(self.checked) if wanted is None else wanted
        tensors = self.tensors(inputs, wanted)
        y = self.call(tensors)
        leaves = [tensors[self.checked[name]] for name in wanted]
        found = grad(y, leaves, Tensor(dy.astype(y.dtype, copy=False)))
        return {name: g.numpy() for name, g in zip(wanted, found)}

    def problem(self, analytic: bool = False) -> Problem:
        return Problem(str(self.sample), self.inputs(), self.forward, self.backward, analytic)


def check_op(
    op: Op,
    settings: Settings | None = None,
    backends: Sequence[str] | None = None,
    dtypes: Sequence[str] = DTYPES,
    kind: str = "op",
) -> GradientReport:
    """Every sample of an op, on every backend given (default: all that are available), in every dtype given."""
    settings = settings or Settings()
    began = time.perf_counter()
    backends = list(available_backends() if backends is None else backends)
    samples = op.samples(np.random.default_rng(settings.seed))
    report = GradientReport(op.name, kind, backends, list(dtypes), len(samples), tolerance=settings.tolerance)
    report.worst.tolerance = settings.tolerance
    for number, sample in enumerate(samples):
        if report.failure or report.worst.ratio > 1:
            break
        if "float64" in dtypes:
            for backend in backends:
                _check_float64(op, sample, report, settings, backend, number)
                if report.failure or report.worst.ratio > 1:
                    break
        if "float32" in dtypes and not report.failure and report.worst.ratio <= 1:
            _check_float32(op, sample, report, settings, backends, number)
    report.conclude()
    report.seconds = time.perf_counter() - began
    return report


def _check_float64(
    op: Op, sample: Sample, report: GradientReport, settings: Settings, backend: str, number: int
) -> None:
    call = SampleCall(op, sample)
    if not call.checked:
        return
    rng = np.random.default_rng((settings.seed, 1, number))
    with use_backend(backend):
        try:
            check_problem(call.problem(analytic=backend == "reference"), report, rng, settings, backend)
            if not report.failure and report.worst.ratio <= 1:
                _check_calls(call, rng)
            if settings.order == 2 and op.second and not report.failure and report.worst.ratio <= 1:
                check_problem(
                    second_order(call, rng), report, rng, replace(settings, order=1, elements=SECOND_ELEMENTS), backend
                )
        except Exception as error:
            report.failure = f"{sample} on {backend}: {error}"


def _check_calls(call: SampleCall, rng: np.random.Generator) -> None:
    """What one input receives does not depend on who else asks; dy = 1 for a scalar only.  Raises : UnsoundError."""
    inputs = call.inputs()
    tensors = call.tensors(inputs, list(call.checked))
    y = call.call(tensors)
    dy = np.asarray(rng.standard_normal(y.shape))
    together = call.backward(inputs, dy)
    floor = rounding_floor(together, dy)
    if len(call.checked) > 1:
        for name in call.checked:
            if not same(call.backward(inputs, dy, [name])[name], together[name], SAME, floor):
                raise UnsoundError(f"input {name} alone gets another gradient than together with the others")
    leaves = [tensors[i] for i in call.checked.values()]
    try:
        found = grad(y, leaves)
    except GradientError:
        if y.shape == ():
            raise UnsoundError("a scalar output needs no dy, but backward without one is refused") from None
        return
    if y.shape != ():
        raise UnsoundError(f"backward without dy is accepted for an output of shape {y.shape}")
    expected = call.backward(inputs, np.ones(()))
    for (name, _), g in zip(call.checked.items(), found):
        if not same(g.numpy(), expected[name], SAME, floor):
            raise UnsoundError(f"without dy, input {name} gets another gradient than with dy = 1")


# -- the derivative of the derivative ----------------------------------------------------------------------


def second_order(call: SampleCall, rng: np.random.Generator) -> Problem:
    """The first derivative as a function of inputs and dy: its gradient is the second derivative."""
    inputs = call.inputs()
    dy = np.asarray(rng.standard_normal(call.forward(inputs).shape))
    names = list(call.checked)

    def forward(values: Arrays) -> np.ndarray:
        found = call.backward({n: values[n] for n in names}, values[UPSTREAM])
        return np.concatenate([np.asarray(found[n]).ravel() for n in names])

    def backward(values: Arrays, weight: np.ndarray) -> dict[str, Any]:
        tensors = call.tensors({n: values[n] for n in names}, names)
        leaves = [tensors[call.checked[n]] for n in names]
        upstream = Tensor(values[UPSTREAM], requires_grad=True)
        first = grad(call.call(tensors), leaves, upstream, create_graph=True)
        at, total = 0, Tensor(np.zeros(()))
        for g in first:
            total = total + (g * Tensor(weight[at : at + g.size].reshape(g.shape))).sum()
            at += g.size
        if total.requires_grad:
            total.backward()
        everything = {**dict(zip(names, leaves)), UPSTREAM: upstream}
        return {n: np.zeros(t.shape) if t.grad is None else t.grad.numpy() for n, t in everything.items()}

    # y (dy - Σ dy y), the first derivative of a softmax that is all but 0 and 1, is the rest of numbers of dy's size
    rounding = 4 * EPS * float(np.abs(dy).max(initial=0.0))
    name = f"second derivative of {call.sample}"
    return Problem(name, {**inputs, UPSTREAM: dy}, forward, backward, rounding=rounding)


# -- scaled float32 ----------------------------------------------------------------------------------------


def _check_float32(
    op: Op, sample: Sample, report: GradientReport, settings: Settings, backends: Sequence[str], number: int
) -> None:
    rounded = Sample(
        tuple(_at_float32(x) for x in sample.inputs), {k: _at_float32(v) for k, v in sample.attributes.items()}
    )
    exact, call = SampleCall(op, rounded), SampleCall(op, rounded, np.float32)
    if not exact.checked:
        return
    rng = np.random.default_rng((settings.seed, 2, number))
    try:
        with use_backend("reference"):
            dy = _at_float32(np.asarray(rng.standard_normal(exact.forward(exact.inputs()).shape)))
            found = compare(exact.problem(), [dy], rng, settings)
            allowed = float32_tolerances(exact, dy, rng)
        for backend in backends:
            with use_backend(backend):
                gradients = call.backward(exact.inputs(), dy)
            for c in found:
                _weigh_float32(c, gradients[c.input], allowed[c.input], report, str(sample), backend)
    except Exception as error:
        report.failure = f"{sample} in float32: {error}"


def _at_float32(x: Any) -> Any:
    """float64 numbers that float32 can hold."""
    return x.astype(np.float32).astype(np.float64) if is_float(x) else x


def float32_tolerances(call: SampleCall, dy: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Per input, what float32 may be off by, relative to its largest gradient: FLOAT32 times the larger of one unit in
    the last place and the change of the float64 gradient when dy, the inputs and what forward kept move by one such unit."""
    inputs = call.inputs()
    right = call.backward(inputs, dy)
    change = dict.fromkeys(right, 0.0)
    for _ in range(3):
        moved = {n: _nudged(x, rng) for n, x in inputs.items()}
        nudged = _nudged(dy, rng)
        for other in (call.backward(moved, nudged), _backward_of_nudged(call, inputs, nudged, rng)):
            for n, g in right.items():  # an op that compares what it kept (max) has no gradient for moved values: NaN
                change[n] = np.fmax(change[n], np.abs(other[n] - g).max(initial=0.0))
    largest = {n: float(np.abs(g).max(initial=0.0)) for n, g in right.items()}
    return {n: FLOAT32 * max(EPS32, float(change[n]) / largest[n] if largest[n] else 0.0) for n in right}


def _backward_of_nudged(
    call: SampleCall, inputs: Arrays, dy: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The gradients when what forward kept is off by a unit in float32's last place, as float32 would round it."""
    tensors = call.tensors(inputs, list(call.checked))
    y = call.call(tensors)
    assert y.node is not None
    y.node.saved = tuple(_nudged(x, rng) if is_float(x) else x for x in y.node.saved)
    found = grad(y, [tensors[i] for i in call.checked.values()], Tensor(dy))
    return {name: g.numpy() for name, g in zip(call.checked, found)}


def _nudged(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(x * (1 + EPS32 * rng.uniform(-1, 1, x.shape)))


def _weigh_float32(
    c: Comparison, gradient: np.ndarray, allowed: float, report: GradientReport, sample: str, backend: str
) -> None:
    if gradient.dtype != np.float32:
        raise UnsoundError(f"input {c.input} of float32 gets a gradient of {gradient.dtype}")
    numeric = c.numeric[:, 0]
    analytic = np.array([p.component(gradient.astype(np.float64)) for p in c.probes])
    largest = max(float(c.largest[0]), 1e-300)
    error = np.abs(analytic - numeric) / largest
    error[c.kink] = 0.0
    error = np.where(np.isnan(error), np.inf, error)
    report.elements += len(c.probes)
    report.kinks += int(c.kink.sum())
    j = int(error.argmax())
    # the differences themselves are only as good as their step: their own tolerance stays a part of what is allowed
    report.weigh(
        Worst(
            float(error[j]),
            allowed + 1e-6,
            sample,
            c.input,
            c.probes[j].index,
            float(analytic[j]),
            float(numeric[j]),
            float(c.step[j]),
            backend,
            "float32",
        )
    )


def check_ops(
    ops: Sequence[Op], settings: Settings, backends: Sequence[str], dtypes: Sequence[str]
) -> Iterator[GradientReport]:
    for op in ops:
        yield check_op(op, settings, backends, dtypes)
