"""Is every gradient right? Backward against central differences in float64; twice where an op allows it."""

from __future__ import annotations

import numpy as np
import pytest
from ops.cases import (
    OPS,
    Case,
    Probe,
    assert_close,
    call,
    cases,
    check_gradient,
    compare,
    differentiable,
    gradients,
    numeric_gradient,
    run_case,
    samples,
    slopes,
    twice_differentiable,
    upstream,
    wanted,
)

import dlkit
from dlkit import Tensor
from dlkit.errors import GradientError

pytestmark = pytest.mark.usefixtures("reference")


@pytest.mark.parametrize("case", cases(only=differentiable), ids=str)
def test_gradient(case: Case):
    check_gradient(case)


def test_every_differentiable_op_is_probed_where_it_has_a_slope():
    """A check of gradients that are all zero, or of no element at all, would prove nothing."""
    for op in OPS.values():
        if differentiable(op):
            probes = [p for i in range(len(samples(op.name))) for p in numeric_gradient(op.name, i)]
            assert any(abs(p.slope) > 1e-3 for p in probes), op.name


def test_the_check_names_the_worst_element():
    probes = [Probe(0, f"[{i}]", np.eye(3)[i], slope, 0.0) for i, slope in enumerate((1.0, 2.0, 3.0))]
    compare(probes, [np.array([1.0, 2.0, 3.0 + 2e-6])])
    with pytest.raises(AssertionError, match=r"input 0 at \[1\]: backward gives 2.1, .* 2.0"):
        compare(probes, [np.array([1.0, 2.1, 3.0 + 4e-6])])
    with pytest.raises(AssertionError, match="not finite"):
        compare(probes, [np.array([1.0, np.nan, 3.0])])


@pytest.mark.parametrize("number", [2.5, 1], ids=["float", "int"])
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"])
def test_python_numbers_on_either_side(name: str, number: float):
    """A number is as good as an array filled with it, in the value, both derivatives, and the dtype."""
    op, x = OPS[name], np.array([0.4, 1.7, 3.1], np.float32)
    dy = np.array([1.0, -2.0, 0.5], np.float32)
    for place in (lambda x, c: (x, c), lambda x, c: (c, x)):
        results = []
        for constant in (number, np.full(3, number, np.float32)):
            leaf, seed = Tensor(x, requires_grad=True), Tensor(dy, requires_grad=True)
            y = op(*place(leaf, constant))
            (dx,) = dlkit.grad(y, [leaf], seed, create_graph=True)
            (dx * dx).sum().backward()
            second = np.zeros(3, np.float32) if leaf.grad is None else leaf.grad.numpy()
            results.append((y.numpy(), dx.numpy(), second, seed.grad.numpy()))
        for a, e in zip(*results):
            assert a.dtype == np.float32
            assert_close(a, e, 1e-6)


# -- the derivative of the derivative ----------------------------------------------------------------------


def projections(case: Case, shapes: list[tuple]) -> list[np.ndarray]:
    rng = np.random.default_rng((1, *map(sum, shapes)))
    return [np.asarray(rng.standard_normal(shape)) for shape in shapes]


@pytest.mark.parametrize("case", cases(only=twice_differentiable), ids=str)
def test_second_derivative(case: Case):
    """d(Σ v · dx)/d(x, dy), for random v, with dx recorded as it is computed."""
    inputs, attributes = list(case.sample.inputs), case.sample.attributes
    grad = wanted(case.op, inputs)
    r = run_case(case)
    dy = Tensor(upstream(case, r.y.shape), requires_grad=True)
    first = dlkit.grad(r.y, r.leaves, dy, create_graph=True)
    vs = projections(case, [g.shape for g in first])
    for g, expected in zip(first, gradients(case)):
        assert_close(g.numpy(), expected, 1e-12, 1.0, "first derivative under create_graph")
    z = Tensor(0.0, dtype=np.float64)
    for v, g in zip(vs, first):
        z = z + (Tensor(v) * g).sum()
    z.backward()
    leaves = [*r.leaves, dy]
    second = [np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in leaves]

    def first_derivative(xs: list[np.ndarray]) -> np.ndarray:
        moved = list(inputs)
        for i, x in zip(grad, xs):
            moved[i] = x
        again = call(case.op, moved, attributes, grad)
        return np.concatenate([g.numpy().ravel() for g in dlkit.grad(again.y, again.leaves, Tensor(xs[-1]))])

    weight = np.concatenate([v.ravel() for v in vs])
    xs = [np.array(x.numpy()) for x in leaves]
    compare(slopes(first_derivative, xs, weight, case.rng()), second)


@pytest.mark.parametrize(
    "case", [c for c in cases(only=lambda op: op.differentiable and not op.second) if c.index == 0], ids=str
)
def test_no_second_derivative_is_said_not_guessed(case: Case):
    r = run_case(case)
    dy = Tensor(upstream(case, r.y.shape))
    with pytest.raises(GradientError, match=f"op '{case.op.name}' has no second derivative"):
        dlkit.grad(r.y, r.leaves, dy, create_graph=True)


# -- dx is linear in dy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases(only=differentiable), ids=str)
def test_gradient_is_linear_in_dy(case: Case):
    rng = case.rng()
    shape = run_case(case).y.shape
    u, v = np.asarray(rng.standard_normal(shape)), np.asarray(rng.standard_normal(shape))
    parts = zip(gradients(case, 2.5 * u - 0.5 * v), gradients(case, u), gradients(case, v))
    for i, (both, du, dv) in enumerate(parts):
        floor = max(np.abs(du).max(initial=0.0), np.abs(dv).max(initial=0.0))
        assert_close(both, 2.5 * du - 0.5 * dv, 1e-12, floor, f"input {i}")


@pytest.mark.parametrize("case", cases(only=differentiable), ids=str)
def test_each_gradient_alone_is_the_same(case: Case):
    """What one input receives does not depend on which others want a gradient."""
    expected = gradients(case)
    for i, full in zip(wanted(case.op, case.sample.inputs), expected):
        r = call(case.op, case.sample.inputs, case.sample.attributes, [i])
        (g,) = dlkit.grad(r.y, r.leaves, Tensor(upstream(case, r.y.shape)))
        np.testing.assert_array_equal(g.numpy(), full)


@pytest.mark.parametrize("case", cases(only=lambda op: not op.differentiable), ids=str)
def test_ops_without_gradient_record_nothing(case: Case):
    inputs = [
        Tensor(x, requires_grad=x.dtype.kind == "f") if isinstance(x, np.ndarray) else x for x in case.sample.inputs
    ]
    y = case.op(*inputs, **case.sample.attributes)
    assert not y.requires_grad
    assert y.is_leaf


# -- where there is no slope, a convention ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "inputs", "attributes", "expected"),
    [
        ("relu", [[0.0, -0.0]], {}, [[0.0, 0.0]]),
        ("leaky_relu", [[0.0]], {"slope": 0.1}, [[0.1]]),
        ("elu", [[0.0]], {"alpha": 0.5}, [[0.5]]),
        ("abs", [[0.0]], {}, [[0.0]]),
        ("clip", [[-1.0, 1.0]], {"low": -1.0, "high": 1.0}, [[1.0, 1.0]]),
        ("maximum", [[2.0], [2.0]], {}, [[1.0], [0.0]]),
        ("minimum", [[2.0], [2.0]], {}, [[1.0], [0.0]]),
        ("max", [[3.0, 1.0, 3.0]], {}, [[0.5, 0.0, 0.5]]),
        ("l1", [[1.0], [1.0]], {}, [[0.0], [0.0]]),
        ("huber", [[1.0], [0.0]], {"delta": 1.0}, [[1.0], [-1.0]]),
        ("power", [[0.0]], {}, None),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_at_a_kink(name: str, inputs: list, attributes: dict, expected: list | None):
    if expected is None:
        inputs, expected = [*inputs, [2.0]], [[0.0], [0.0]]
    leaves = [Tensor(np.array(x), requires_grad=True) for x in inputs]
    OPS[name](*leaves, **attributes).sum().backward()
    for x, e in zip(leaves, expected, strict=True):
        np.testing.assert_array_equal(x.grad.numpy(), e)


def test_max_pooling_gives_a_tie_to_the_first():
    x = Tensor(np.array([[1.0, 5.0], [5.0, 5.0]]).reshape(1, 2, 2, 1), requires_grad=True)
    OPS["max_pool2d"](x, 2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy().ravel(), [0.0, 1.0, 0.0, 0.0])


def test_power_zero_at_zero():
    x = Tensor(np.array([0.0, 2.0]), requires_grad=True)
    (x**0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0.0, 0.0])
