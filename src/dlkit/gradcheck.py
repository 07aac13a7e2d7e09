"""Gradient checking: what backward says against central differences, in float64.

    numeric = (f(x + h) - f(x - h)) / 2h        f = Σ y · dy with a random dy

An element's error is |analytic - numeric| relative to the larger of the two, or to a thousandth of the largest gradient
of its input where both are small, so that tiny gradients cannot hide a mistake and rounding cannot fake one. An element
that disagrees is tried again with steps 10 and 100 times smaller, because a ReLU or a max that changes sides within the
step bends the difference; a wrong gradient stays wrong. Where even then the one-sided differences disagree, the element
lies on a kink, says nothing and is left out; a check that had to leave out most elements fails.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dlkit import nn, random
from dlkit.backends import current_backend
from dlkit.errors import ConfigError
from dlkit.models import MODELS, build_model
from dlkit.ops import OPS, Op
from dlkit.tape import no_grad
from dlkit.tensor import Tensor

STEP = 1e-5
TOLERANCE = 1e-5
MAX_ELEMENTS = 40  # per input; all of them in small inputs, a random choice in large ones


@dataclass
class Worst:
    """The element that agrees least. `input` is a position or a parameter's name."""

    error: float = 0.0
    sample: str = ""
    input: str = ""
    index: tuple[int, ...] = ()
    analytic: float = 0.0
    numeric: float = 0.0
    step: float = STEP


@dataclass
class GradientReport:
    """One checked thing. error : worst relative error; elements : compared; kinks : left out."""

    name: str
    kind: str
    backend: str
    samples: int
    elements: int
    kinks: int
    worst: Worst
    tolerance: float
    seconds: float
    failure: str = ""

    @property
    def passed(self) -> bool:
        return not self.failure

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}

    def __str__(self) -> str:
        w = self.worst
        text = f"{self.name}: {'ok' if self.passed else 'WRONG'}, worst relative error {w.error:.1e} in {self.elements} elements"
        if not self.passed:
            text += f"; {self.failure}"
        return text


@dataclass
class _Tally:
    tolerance: float
    step: float
    elements: int = 0
    kinks: int = 0
    worst: Worst = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.worst = Worst(step=self.step)


def compare(
    f: Callable[[], float],
    values: dict[str, np.ndarray],
    gradients: dict[str, np.ndarray],
    rng: np.random.Generator,
    tally: _Tally,
    sample: str = "",
) -> None:
    """Moves elements of `values` (in place, and back) and compares the change of f with `gradients`."""
    for name, x in values.items():
        g = gradients[name]
        if not x.size:
            continue
        flat, analytic = x.reshape(-1), np.asarray(g, np.float64).reshape(-1)
        chosen = np.arange(x.size) if x.size <= MAX_ELEMENTS else rng.choice(x.size, MAX_ELEMENTS, replace=False)
        here = f()
        numeric, step, smooth = np.empty(len(chosen)), np.empty(len(chosen)), np.ones(len(chosen), bool)
        for j, at in enumerate(chosen):
            numeric[j], step[j], _ = _slope(f, flat, int(at), tally.step, here)
        error = _errors(analytic[chosen], numeric)
        for j in np.flatnonzero(error > tally.tolerance).tolist():
            for shrink in (0.1, 0.01):
                slope, h, smooth[j] = _slope(f, flat, chosen[j], tally.step * shrink, here)
                before, numeric[j] = numeric[j], slope
                retried = _errors(analytic[chosen], numeric)[j]
                if retried < error[j]:
                    error[j], step[j] = retried, h
                else:
                    numeric[j] = before
                if error[j] <= tally.tolerance:
                    break
        on_kink = ~smooth & (error > tally.tolerance)
        tally.kinks += int(on_kink.sum())
        tally.elements += len(chosen)
        error[on_kink] = 0.0
        j = int(error.argmax())
        if error[j] >= tally.worst.error:
            index = tuple(int(n) for n in np.unravel_index(chosen[j], x.shape))
            tally.worst = Worst(
                float(error[j]), sample, name, index, float(analytic[chosen[j]]), float(numeric[j]), float(step[j])
            )


def _slope(f: Callable[[], float], flat: np.ndarray, i: int, step: float, here: float) -> tuple[float, float, bool]:
    """Central difference along element i, the step used, and whether both sides agree."""
    h, before = step * max(1.0, abs(flat[i])), flat[i]
    flat[i] = before + h
    up = f()
    flat[i] = before - h
    down = f()
    flat[i] = before
    slope = (up - down) / (2 * h)
    return slope, h, bool(abs(up - 2 * here + down) / h <= 1e-2 * abs(slope) + 1e-13 * abs(here) / h)


def _errors(analytic: np.ndarray, numeric: np.ndarray) -> np.ndarray:
    size = np.maximum(np.abs(analytic), np.abs(numeric))
    scale = np.maximum(size, 1e-3 * size.max())
    error = np.abs(analytic - numeric) / np.where(scale > 0, scale, 1.0)
    return np.where(np.isnan(error), np.inf, error)


def _report(name: str, kind: str, samples: int, tally: _Tally, began: float, failure: str = "") -> GradientReport:
    w = tally.worst
    if not failure and w.error > tally.tolerance:
        failure = (
            f"input {w.input}{list(w.index)} of {w.sample or 'the call'}: analytic {w.analytic:.8g}, "
            f"numeric {w.numeric:.8g} (relative error {w.error:.1e})"
        )
    if not failure and tally.elements and tally.kinks > 0.5 * tally.elements:
        failure = f"{tally.kinks} of {tally.elements} elements lie on kinks: nothing was shown"
    return GradientReport(
        name,
        kind,
        current_backend(),
        samples,
        tally.elements,
        tally.kinks,
        w,
        tally.tolerance,
        time.perf_counter() - began,
        failure,
    )


def check_op(op: Op, *, seed: int = 0, step: float = STEP, tolerance: float = TOLERANCE) -> GradientReport:
    """Every sample of a registered op: every input that has a gradient."""
    began = time.perf_counter()
    tally = _Tally(tolerance, step)
    samples = op.samples(np.random.default_rng(seed))
    rng = np.random.default_rng((seed, 1))
    for sample in samples:
        arrays = [np.array(x) if isinstance(x, np.ndarray) else x for x in sample.inputs]

        def run(tensors: Sequence[Any], sample: Any = sample) -> Tensor:
            y = op(*tensors, **sample.attributes)
            return y[0] if isinstance(y, tuple) else y

        checked = [
            i for i, x in enumerate(arrays) if isinstance(x, np.ndarray) and x.dtype.kind == "f" and i not in op.nondiff
        ]
        tensors = [
            Tensor(x, requires_grad=i in checked) if isinstance(x, np.ndarray) else x for i, x in enumerate(arrays)
        ]
        y = run(tensors)
        dy = rng.standard_normal(y.shape)
        if not checked:
            continue
        try:
            y.backward(dy)
        except Exception as error:
            return _report(op.name, "op", len(samples), tally, began, f"backward of {sample} raised: {error}")
        gradients: dict[str, Any] = {str(i): tensors[i].grad for i in checked}
        for i in checked:
            g = gradients[str(i)]
            if g is None or g.shape != arrays[i].shape:
                got = "no gradient" if g is None else f"a gradient of shape {g.shape}"
                return _report(
                    op.name,
                    "op",
                    len(samples),
                    tally,
                    began,
                    f"input {i} of shape {arrays[i].shape} got {got} in {sample}",
                )

        def f(run: Any = run, arrays: list = arrays, dy: np.ndarray = dy) -> float:
            with no_grad():
                return float((run([Tensor(x) if isinstance(x, np.ndarray) else x for x in arrays]).numpy() * dy).sum())

        compare(
            f,
            {str(i): arrays[i] for i in checked},
            {n: g.numpy() for n, g in gradients.items()},
            rng,
            tally,
            str(sample),
        )
    return _report(op.name, "op", len(samples), tally, began)


def check_model(
    name: str,
    *,
    seed: int = 0,
    step: float = STEP,
    tolerance: float = TOLERANCE,
    input_shape: tuple[int, ...] = (12, 12, 2),
    classes: int = 3,
    batch: int = 3,
) -> GradientReport:
    """A model of the zoo on a small input, in float64: every parameter's gradient of the cross-entropy, in training mode
    (batch statistics; dropout with a fixed mask)."""
    began = time.perf_counter()
    rng = np.random.default_rng((seed, 2))
    with random.using(np.random.default_rng((seed, 3))):
        model = build_model(name, input_shape, classes)
    model.astype(np.float64).train()
    for p in model.parameters():  # all-zero weights and biases would leave half of the backward untried
        p.data = Tensor(p.numpy() + 0.1 * rng.standard_normal(p.shape)).data
    x, labels = rng.standard_normal((batch, *input_shape)), rng.integers(0, classes, batch)
    loss = nn.CrossEntropyLoss()

    def forward() -> Tensor:
        with random.using(np.random.default_rng(seed)):
            return loss(model(Tensor(x)), labels)

    forward().backward()
    tally = _Tally(tolerance, step)
    parameters = dict(model.named_parameters())
    missing = [n for n, p in parameters.items() if p.grad is None]
    if missing:
        return _report(name, "model", 1, tally, began, f"no gradient for parameter {missing[0]}")

    def f() -> float:
        with no_grad():
            return forward().item()

    limit = max(4, 400 // len(parameters))
    values, gradients = {}, {}
    for n, p in parameters.items():
        assert p.grad is not None
        values[n], gradients[n] = p.numpy(), p.grad.numpy()
        if values[n].size > limit:  # a random line through the parameter instead of every element
            values[n], gradients[n] = _chosen_view(values[n], gradients[n], limit, rng)
    compare(f, values, gradients, rng, tally, f"{batch}x{'x'.join(map(str, input_shape))}")
    return _report(name, "model", 1, tally, began)


def _chosen_view(x: np.ndarray, g: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`count` neighbouring elements as a view into x (so that writing moves x), and their gradients."""
    at = int(rng.integers(0, x.size - count + 1))
    return x.reshape(-1)[at : at + count], g.reshape(-1)[at : at + count]


def names(pattern: str | None = None, models: bool = True) -> list[tuple[str, str]]:
    """(kind, name) of everything that is checked; `pattern` is part of a name or a shell pattern.

    Raises : ConfigError if nothing matches.
    """
    everything = [("op", n) for n, o in OPS.items() if o.differentiable] + [("model", n) for n in MODELS if models]
    if pattern:
        matching = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
        everything = [(kind, n) for kind, n in everything if fnmatch.fnmatchcase(n, matching)]
        if not everything:
            raise ConfigError(f"nothing to check matches {pattern!r}; `dlkit gradcheck --list` shows all names")
    return everything


def check_all(
    pattern: str | None = None, *, models: bool = True, seed: int = 0, step: float = STEP, tolerance: float = TOLERANCE
) -> Iterator[GradientReport]:
    """One report for each op and model that matches, as it is done."""
    if not (step > 0 and tolerance > 0):
        raise ConfigError(f"eps (={step}) and tolerance (={tolerance}) must be positive")
    for kind, name in names(pattern, models):
        if kind == "op":
            yield check_op(OPS[name], seed=seed, step=step, tolerance=tolerance)
        else:
            yield check_model(name, seed=seed, step=step, tolerance=tolerance)
