"""Does the gradient check bite? Every backward is broken on purpose, in many ways; the check must go red.

A mutant that changes nothing (the sign of a gradient that is zero) is not counted; of the others 99 in 100
must be caught, for every op by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from ops.cases import Case, cases, check_gradient, compare, differentiable, gradients, numeric_gradient

from dlkit.ops import OPS, Op

pytestmark = pytest.mark.usefixtures("reference")

OPS_TO_BREAK = [op for op in OPS.values() if differentiable(op)]
Mutation = Callable[[tuple], tuple]


def at(i: int, change: Callable[[np.ndarray], np.ndarray]) -> Mutation:
    """Changes gradient i."""
    return lambda grads: (*grads[:i], change(grads[i]), *grads[i + 1 :])


def one_element(g: np.ndarray) -> np.ndarray:
    wrong = np.array(g)
    if g.size:
        wrong.flat[g.size // 2] += 0.01 * np.abs(g).max()
    return wrong


def mutations(shapes: list[tuple]) -> Iterator[tuple[str, Mutation]]:
    """Ways to break a backward whose gradients have these shapes (None: no gradient)."""
    present = [i for i, s in enumerate(shapes) if s is not None]
    for i in present:
        yield f"sign of {i}", at(i, np.negative)
        yield f"zero {i}", at(i, np.zeros_like)
        yield f"1.01 · {i}", at(i, lambda g: 1.01 * g)
        yield f"one element of {i}", at(i, one_element)
        yield f"constant added to {i}", at(i, lambda g: g + 0.01 * np.abs(g).max(initial=0.0))
        if len(shapes[i]) >= 2:
            for a in range(len(shapes[i]) - 1):
                if shapes[i][a] == shapes[i][a + 1] > 1:
                    yield f"axes {a} and {a + 1} of {i} swapped", at(i, lambda g, a=a: g.swapaxes(a, a + 1))
        if shapes[i]:
            yield f"{i} shifted by one", at(i, lambda g: np.roll(g, 1, -1))
        for j in present:
            if i < j and shapes[i] == shapes[j]:

                def swap(grads: tuple, i: int = i, j: int = j) -> tuple:
                    out = list(grads)
                    out[i], out[j] = out[j], out[i]
                    return tuple(out)

                yield f"{i} and {j} swapped", swap


def is_caught(case: Case) -> bool:
    try:
        check_gradient(case)
    except AssertionError:
        return True
    return False


def break_backward(monkeypatch: pytest.MonkeyPatch, op: Op, mutation: Mutation) -> None:
    original = op._backward
    monkeypatch.setattr(op, "_backward", lambda *args, **needs: mutation(original(*args, **needs)))


def gradient_shapes(monkeypatch: pytest.MonkeyPatch, case: Case) -> list:
    """The shapes of what backward returns, None where it gives no gradient, for this case."""
    seen: list = []

    def look(grads: tuple) -> tuple:
        seen[:] = [None if g is None else g.shape for g in grads]
        return grads

    with monkeypatch.context() as patch:
        break_backward(patch, case.op, look)
        gradients(case)
    return seen


@pytest.mark.parametrize("op", OPS_TO_BREAK, ids=lambda op: op.name)
def test_broken_backward_is_caught(op: Op, monkeypatch: pytest.MonkeyPatch):
    mutants, missed = 0, []
    for case in cases(only=lambda o: o is op):
        right = gradients(case)
        for what, mutation in mutations(gradient_shapes(monkeypatch, case)):
            with monkeypatch.context() as patch:
                break_backward(patch, op, mutation)
                wrong = gradients(case)
                scale = max(np.abs(g).max(initial=0.0) for g in right)
                if all(np.abs(w - r).max(initial=0.0) <= 1e-9 * scale for w, r in zip(wrong, right)):
                    continue
                mutants += 1
                if not is_caught(case):
                    missed.append(f"{case}: {what}")
        assert not is_caught(case), "the right gradient is accepted again"
    assert mutants >= 4, "too few mutants to judge by"
    assert len(missed) <= 0.01 * mutants, f"{len(missed)} of {mutants} mutants survived: {missed}"


@pytest.mark.parametrize("size", [0.5, 1e-3, 1e-5])
def test_a_small_error_in_a_small_gradient_is_caught(size: float):
    """An absolute threshold would let every gradient below it pass, right or wrong."""
    case = Case(OPS["log"], 1)
    probes = [
        type(p)(p.input, p.where, p.direction, size * p.slope, size * p.noise) for p in numeric_gradient("log", 1)
    ]
    (right,) = gradients(case)
    compare(probes, [size * right])
    with pytest.raises(AssertionError, match="input 0"):
        compare(probes, [size * (right + 1e-5 * np.abs(right).max() * np.eye(*right.shape))])
