"""Do the backends agree? Every CPU backend against the reference, forward and gradients, on every sample.

A backend that cannot be used here, or that runs none of an op's kernels, is skipped with its reason: what it
would fall back to is the reference itself, and comparing that with itself proves nothing. Numba compiles for
seconds: by default it gets one sample of each op, `-m slow` gives it the rest.
"""

from __future__ import annotations

import numpy as np
import pytest
from ops.cases import OPS, Case, assert_close, cases, cpu_backends, gradients, run_case, upstream

from dlkit.backends import BACKENDS, trace, use_backend
from dlkit.backends.contract import NAMES

FORWARD = {"f64": 1e-12, "f32": 2e-5}
GRADIENT = {"f64": 1e-11, "f32": 5e-5}
FLOOR = 0.05  # of dy: where gradients cancel (softmax of one class), rounding is all there is


def parameters() -> list:
    found = []
    for case in cases(("f64", "f32"), cpu_backends()):
        marks = []
        if case.backend == "numba":
            marks = [pytest.mark.numba] + [pytest.mark.slow] * (case.index > 0 or case.dtype == "f64")
        found.append(pytest.param(case, id=str(case), marks=marks))
    return found


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    name = request.param if hasattr(request, "param") else request.getfixturevalue("case").backend
    if (why := BACKENDS[name].available()) is not None:
        pytest.skip(f"backend {name} is not available here: {why}")
    if not BACKENDS[name].kernels():
        pytest.skip(f"backend {name} offers no kernels yet")
    return name


def with_reference(compute) -> object:
    with use_backend("reference"):
        return compute()


def traced(backend: str, compute) -> object:
    """compute() on `backend`; skips, saying why, if it ran no kernel there."""
    with use_backend(backend), trace() as calls:
        result = compute()
    if not any(c.backend == backend for c in calls):
        reasons = {f"{c.kernel}: {dict(c.declined).get(backend, 'not offered')}" for c in calls}
        pytest.skip(f"{backend} ran no kernel here ({'; '.join(sorted(reasons)) or 'none was called'})")
    return result


@pytest.mark.parametrize("case", parameters())
def test_forward_agrees(case: Case, backend: str):
    def compute() -> list[np.ndarray]:
        r = run_case(case, requires_grad=False)
        return [np.array(a) for a in (r.y.numpy(), *r.auxiliary)]

    for i, (a, e) in enumerate(zip(traced(backend, compute), with_reference(compute))):
        assert a.dtype == e.dtype
        if e.dtype.kind in "bi":
            np.testing.assert_array_equal(a, e)
        else:
            assert_close(a, e, FORWARD[case.dtype], what=f"output {i}")


@pytest.mark.parametrize("case", [p for p in parameters() if p.values[0].op.differentiable])
def test_gradients_agree(case: Case, backend: str):
    shape = with_reference(lambda: run_case(case).y.shape)
    dy = upstream(case, shape)
    actual = traced(backend, lambda: gradients(case, dy))
    expected = with_reference(lambda: gradients(case, dy))
    floor = FLOOR * np.abs(dy).max(initial=0.0)
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        assert a.dtype == e.dtype
        assert_close(a, e, GRADIENT[case.dtype], floor, f"gradient of input {i}")


@pytest.mark.parametrize("backend", cpu_backends(), indirect=True)
def test_a_backend_offers_nothing_outside_the_contract(backend: str):
    assert set(BACKENDS[backend].kernels()) <= set(NAMES)


@pytest.mark.parametrize("op", [op for op in OPS.values() if op.differentiable], ids=lambda op: op.name)
def test_reference_runs_every_op_alone(op):
    """No fallback is needed on the reference: forward and backward of every sample, strict."""
    with use_backend("reference", strict=True), trace() as calls:
        for case in cases(only=lambda o: o is op):
            gradients(case)
    assert {c.backend for c in calls} == {"reference"}
    assert all(c.declined == () for c in calls)
