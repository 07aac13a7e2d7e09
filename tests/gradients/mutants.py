"""Every backward of the registry, broken on purpose.

Two kinds of mutant. From outside, what backward returns is changed: sign, zero, 1 %, one element, a constant, neighbouring
axes, two gradients. From inside, one of the kernel calls that backward makes is changed: its result, or a term, a factor, an
axis or a transpose of its arguments, as if the line had been written wrong.

A mutant whose gradients are those of the original is none and is not counted. The judge is `check_problem`, as
`dlkit gradcheck` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from dlkit.backends import use_backend
from dlkit.gradients import check
from dlkit.gradients.numeric import Settings
from dlkit.gradients.ops import SampleCall
from dlkit.gradients.report import GradientReport
from dlkit.ops import Op

Break = Callable[[np.ndarray], np.ndarray]


def one_element(g: np.ndarray) -> np.ndarray:
    wrong = np.array(g)
    if g.size:
        wrong.flat[g.size // 2] += 0.01 * np.abs(g).max()
    return wrong


RESULT: dict[str, Break] = {
    "sign": np.negative,
    "zero": np.zeros_like,
    "1.01": lambda g: 1.01 * g,
    "one element": one_element,
    "a constant": lambda g: g + 0.01 * np.abs(g).max(initial=0.0),
}


@dataclass
class Mutant:
    """What was changed, and a replacement for the op's backward."""

    what: str
    backward: Callable


def outside(right: Callable, shapes: list) -> Iterator[Mutant]:
    """Changes what backward returns; `shapes` of its gradients, None where it gives none."""

    def at(i: int, change: Break) -> Callable:
        def backward(*args, **needs):
            grads = list(right(*args, **needs))
            if grads[i] is not None:
                grads[i] = np.asarray(change(grads[i]))
            return tuple(grads)

        return backward

    present = [i for i, s in enumerate(shapes) if s is not None]
    for i in present:
        for what, change in RESULT.items():
            yield Mutant(f"gradient {i}: {what}", at(i, change))
        if shapes[i]:
            yield Mutant(f"gradient {i}: shifted by one", at(i, lambda g: np.roll(g, 1, -1)))
        for a in range(len(shapes[i]) - 1):
            if shapes[i][a] == shapes[i][a + 1] > 1:
                yield Mutant(f"gradient {i}: axes {a}, {a + 1} swapped", at(i, lambda g, a=a: g.swapaxes(a, a + 1)))
        for j in present:
            if i < j and shapes[i] == shapes[j]:

                def swapped(*args, i: int = i, j: int = j, **needs):
                    grads = list(right(*args, **needs))
                    if grads[i] is not None and grads[j] is not None:
                        grads[i], grads[j] = grads[j], grads[i]
                    return tuple(grads)

                yield Mutant(f"gradients {i}, {j} swapped", swapped)


class Kernels:
    """The kernels, with the call number `at` changed by `change(kernel, function, arguments)`; counts the calls."""

    def __init__(self, kernels, at: int = -1, change: Callable | None = None):
        self.kernels, self.at, self.change = kernels, at, change
        self.names: list[str] = []

    def __getattr__(self, name: str) -> Callable:
        function = getattr(self.kernels, name)

        def call(*args):
            self.names.append(name)
            if len(self.names) - 1 == self.at and self.change is not None:
                return self.change(name, function, args)
            return function(*args)

        return call


def changed_result(change: Break) -> Callable:
    def apply(name, function, args):
        y = function(*args)
        if isinstance(y, tuple):
            return (change(y[0]), *y[1:])
        return change(y) if y.dtype.kind == "f" else ~y if y.dtype.kind == "b" else y

    return apply


def dropped(which: int) -> Callable:
    """a + b, a - b, a · b, a / b without its term or factor number `which`."""

    def apply(name, function, args):
        if name not in ("add", "subtract", "multiply", "divide"):
            return function(*args)
        return np.array(np.broadcast_to(args[1 - which], function(*args).shape), np.float64)

    return apply


def other_axes(name, function, args):
    """A sum over other axes of the same lengths."""
    if name != "sum" or not isinstance(args[0], np.ndarray):
        return function(*args)
    x, axes, keep = args
    order = list(range(x.ndim))
    for a in axes:
        for b in order:
            if b not in axes and x.shape[a] == x.shape[b]:
                order[a], order[b] = order[b], order[a]
                return function(np.ascontiguousarray(x.transpose(order)), axes, keep)
    return function(*args)


def transposed(which: int) -> Callable:
    """A square factor of a matrix product, transposed."""

    def apply(name, function, args):
        if name != "matmul" or args[which].shape[-1] != args[which].shape[-2]:
            return function(*args)
        flipped = list(args)
        flipped[which] = np.ascontiguousarray(args[which].swapaxes(-1, -2))
        return function(*flipped)

    return apply


INSIDE: dict[str, Callable] = {
    **{what: changed_result(change) for what, change in RESULT.items()},
    "first term dropped": dropped(0),
    "second term dropped": dropped(1),
    "wrong axis": other_axes,
    "first factor transposed": transposed(0),
    "second factor transposed": transposed(1),
}


def inside(right: Callable, calls: list[str]) -> Iterator[Mutant]:
    """Changes each kernel call that backward makes, in every way."""
    for at, name in enumerate(calls):
        for what, change in INSIDE.items():

            def backward(k, *args, at: int = at, change: Callable = change, **needs):
                return right(Kernels(k, at, change), *args, **needs)

            yield Mutant(f"call {at}, {name}: {what}", backward)


@dataclass
class Tally:
    mutants: int = 0
    survivors: list[str] = field(default_factory=list)


def hunt(op: Op, samples: list, monkeypatch: pytest.MonkeyPatch) -> Tally:
    """Breaks op's backward in every way at every sample; tells who was not caught."""
    tally = Tally()
    monkeypatch.setattr(check, "diagnose", lambda *args: [])  # whether it is caught, not why
    with use_backend("reference"):
        for number, sample in enumerate(samples):
            call = SampleCall(op, sample)
            if call.checked and all(x.size for x in call.inputs().values()):
                _hunt_sample(op, call, number, tally, monkeypatch)
    return tally


def _hunt_sample(op: Op, call: SampleCall, number: int, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = call.inputs()
    dy = np.random.default_rng(number).standard_normal(call.forward(inputs).shape)
    right, seen = op._backward, {}

    def look(k, *args, **needs):
        kernels = Kernels(k)
        grads = right(kernels, *args, **needs)
        seen["shapes"], seen["calls"] = [None if g is None else g.shape for g in grads], kernels.names
        return grads

    with monkeypatch.context() as patch:
        patch.setattr(op, "_backward", look)
        original = call.backward(inputs, np.asarray(dy))
    for mutant in [*outside(right, seen["shapes"]), *inside(right, seen["calls"])]:
        with monkeypatch.context() as patch:
            patch.setattr(op, "_backward", mutant.backward)
            try:
                wrong = call.backward(inputs, np.asarray(dy))
            except Exception:
                tally.mutants += 1  # it does not even run: anyone would notice
                continue
            if _alike(wrong, original):
                continue
            tally.mutants += 1
            if not caught(call, number):
                tally.survivors.append(f"{op.name} {call.sample}: {mutant.what}")


def _alike(wrong: dict, right: dict) -> bool:
    scale = max(np.abs(g).max(initial=0.0) for g in right.values())
    return all(
        wrong[n].shape == g.shape and bool(np.abs(wrong[n] - g).max(initial=0.0) <= 1e-9 * scale)
        for n, g in right.items()
    )


def caught(call: SampleCall, number: int) -> bool:
    report = GradientReport("mutant", "op")
    check.check_problem(
        call.problem(analytic=True), report, np.random.default_rng((0, 1, number)), Settings(), "reference"
    )
    return not report.conclude().passed
