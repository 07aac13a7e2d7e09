"""Is every op right? The reference backend against tests/oracles/naive.py; the shape rules against both."""

from __future__ import annotations

import ast
import inspect

import numpy as np
import pytest
from ops.cases import OPS, Case, assert_close, cases, converted, is_float, run_case, samples
from oracles import naive

from dlkit import Tensor
from dlkit.backends.meta import MetaArray
from dlkit.ops import observe

pytestmark = pytest.mark.usefixtures("reference")

TOLERANCE = {"f64": 1e-10, "f32": 2e-5}


def test_every_op_has_an_oracle():
    public = {name for name, f in vars(naive).items() if inspect.isfunction(f)}
    assert set(OPS.names()) <= public, f"no oracle for {sorted(set(OPS.names()) - public)}"


def test_oracles_share_nothing_with_what_they_judge():
    imported = set()
    for node in ast.walk(ast.parse(inspect.getsource(naive))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert imported <= {"builtins", "math", "numpy"}


@pytest.mark.parametrize("name", OPS.names())
def test_samples_vary_and_are_valid(name):
    """No op without samples; the numbers depend on the generator and are not all alike."""
    first, second = samples(name), OPS[name].samples(np.random.default_rng(1))
    assert len(first) == len(second) > 0

    def floats(found):
        inputs = [x for s in found for x in (*s.inputs, *s.attributes.values())]
        return [x for x in inputs if is_float(x) and x.size]

    varies = [not np.array_equal(a, b) for a, b in zip(floats(first), floats(second))]
    assert any(varies), "samples ignore the rng"
    largest = max(floats(first), key=np.size)
    assert len(np.unique(largest)) > 1, "a sample in which all elements are equal shows little"


@pytest.mark.parametrize("case", cases(("f64", "f32")), ids=str)
def test_forward_is_the_formula(case: Case):
    def rounded(x: object) -> object:
        return converted(converted(x, case.float), np.float64)

    inputs = [rounded(x) for x in case.sample.inputs]
    attributes = {k: rounded(v) for k, v in case.sample.attributes.items()}
    expected = getattr(naive, case.op.name)(*inputs, **attributes)
    y, *auxiliary = expected if isinstance(expected, tuple) else (expected,)
    r = run_case(case)
    assert len(r.auxiliary) == len(auxiliary)
    for what, a, e in zip("yab", (r.y.numpy(), *r.auxiliary), (y, *auxiliary)):
        if e.dtype.kind in "bi":
            assert a.dtype == e.dtype
            np.testing.assert_array_equal(a, e)
        else:
            assert_close(a, e, TOLERANCE[case.dtype], what=what)


def on_meta(x):
    return Tensor.wrap(MetaArray(x.shape, x.dtype), "meta") if isinstance(x, np.ndarray) else x


@pytest.mark.parametrize("case", cases(), ids=str)
def test_shape_rule_is_exact_and_flops_are_counted(case: Case):
    seen = []
    fixed = {"index"}  # part of the call's meaning, read by the shape rule
    attributes = {k: v if k in fixed else on_meta(v) for k, v in case.sample.attributes.items()}
    with observe(lambda op, shapes, attributes, shape, dtype: seen.append((op, shapes, attributes, shape))):
        result = case.op(*(on_meta(x) for x in case.sample.inputs), **attributes)
    y = result[0] if isinstance(result, tuple) else result
    assert y.device == "meta"
    actual = run_case(case).y
    assert tuple(y.shape) == tuple(actual.shape)
    ((op, shapes, canonical, shape),) = seen
    assert op is case.op
    assert shape == tuple(y.shape)
    assert all(type(n) is int for n in shape), f"sizes are Python ints: {shape}"
    flops = op.flops(shapes, canonical)
    assert type(flops) is int
    assert flops >= 0


def test_flops_of_products_count_every_multiply_add():
    """2 · (multiply-adds), counted one by one: M·O·I, and N·OH·OW·K·R·S·C/G with the border counted too."""
    straight = {"transpose_a": False, "transpose_b": False}
    assert OPS["matmul"].flops([(3, 4), (4, 5)], straight) == 2 * 3 * 5 * 4
    geometry = {"stride": (2, 1), "padding": (1, 1, 0, 0), "dilation": (1, 1), "groups": 2}
    x, w = (2, 6, 5, 4), (3, 3, 2, 6)
    y = (2, 3, 3, 6)
    every = 2 * (2 * 3 * 3 * 6) * (3 * 3 * 2)
    assert OPS["conv2d"].flops([x, w, None], {**geometry, "activation": None}) == every
    assert OPS["conv2d_backward_input"].flops([y, w], {"size": x[1:3], **geometry}) == every
    assert OPS["conv2d_backward_weight"].flops([x, y], {"kernel": (3, 3), **geometry}) == every


@pytest.mark.parametrize("name", ["divide", "power", "maximum", "minimum"])
def test_samples_have_numbers_on_both_sides(name: str):
    sides = {i for s in samples(name) for i, x in enumerate(s.inputs) if not isinstance(x, np.ndarray)}
    assert sides == {0, 1}


def test_dtype_is_known_before_there_is_data():
    x = on_meta(np.zeros((2, 3), np.float32))
    assert (x > 0.0).dtype == np.bool_
    assert x.argmax().dtype == np.int64
    assert x.astype(np.float64).dtype == np.float64


def test_arrays_beside_tensors_without_data():
    assert (on_meta(np.zeros((2, 3))) * np.ones(3)).shape == (2, 3)


def test_auxiliary_results_exist_before_there_is_data():
    x, c = on_meta(np.zeros((4, 3))), on_meta(np.zeros(3))
    y, _mean, _inv_std = OPS["batch_norm"](x, c, c)
    assert y.shape == (4, 3)
