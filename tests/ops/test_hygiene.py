"""Is every op well behaved? It leaves inputs alone, takes any layout, keeps the dtype, warns of nothing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ops.cases import FLOATS, Case, assert_close, call, cases, is_float, run_case, upstream, wanted

import dlkit
from dlkit import Tensor

pytestmark = pytest.mark.usefixtures("reference")


def spread_out(x: np.ndarray) -> np.ndarray:
    """Every second element of a larger array."""
    wide = np.full((*x.shape[:-1], 2 * x.shape[-1] + 1), 7, x.dtype)
    wide[..., 1::2] = x
    return wide[..., 1::2]


def backwards(x: np.ndarray) -> np.ndarray:
    """Negative strides on every axis."""
    flip = (slice(None, None, -1),) * x.ndim
    return np.ascontiguousarray(x[flip])[flip]


def unaligned(x: np.ndarray) -> np.ndarray:
    """Starts at an odd address."""
    raw = np.zeros(x.nbytes + 1, np.uint8)
    y = raw[1:].view(x.dtype).reshape(x.shape)
    y[...] = x
    return y


LAYOUTS = {"spread": spread_out, "backwards": backwards, "fortran": np.asfortranarray, "unaligned": unaligned}


def laid_out(x: object, layout: str) -> object:
    if not isinstance(x, np.ndarray) or not x.ndim or not x.size:
        return x
    y = LAYOUTS[layout](x)
    assert np.array_equal(x, y)
    y.flags.writeable = False
    return y


def forward_and_backward(case: Case, inputs: list, attributes: dict, dy: np.ndarray) -> list[np.ndarray]:
    grad = wanted(case.op, inputs) if case.op.differentiable else []
    r = call(case.op, inputs, attributes, grad)
    dxs = dlkit.grad(r.y, r.leaves, Tensor(dy)) if grad else []
    return [r.y.numpy(), *r.auxiliary, *(g.numpy() for g in dxs)]


def arrays_in(values: object) -> list[np.ndarray]:
    """All arrays in nested tuples."""
    if isinstance(values, np.ndarray):
        return [values]
    return [a for v in values for a in arrays_in(v)] if isinstance(values, (tuple, list)) else []


@pytest.mark.parametrize("case", cases(), ids=str)
def test_inputs_are_left_alone(case: Case):
    """Not one byte of any input, attribute or dy changes, forward or backward; read-only ones are as good."""
    inputs = [np.array(x) if isinstance(x, np.ndarray) else x for x in case.sample.inputs]
    attributes = dict(case.sample.attributes)
    dy = upstream(case, run_case(case).y.shape)
    watched = [*arrays_in(inputs), *arrays_in(list(attributes.values())), dy]
    before = [a.tobytes() for a in watched]
    writable = forward_and_backward(case, inputs, attributes, dy)
    assert [a.tobytes() for a in watched] == before
    for a in watched:
        a.flags.writeable = False
    frozen = forward_and_backward(case, inputs, attributes, dy)
    for a, b in zip(writable, frozen, strict=True):
        np.testing.assert_array_equal(a, b)
    for a in watched:
        a.flags.writeable = True


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", cases(), ids=str)
def test_memory_layout_does_not_matter(case: Case, layout: str):
    inputs = list(case.sample.inputs)
    attributes = dict(case.sample.attributes)
    dy = upstream(case, run_case(case).y.shape)
    plain = forward_and_backward(case, inputs, attributes, dy)
    odd = forward_and_backward(
        case,
        [laid_out(x, layout) for x in inputs],
        {k: laid_out(v, layout) for k, v in attributes.items()},
        laid_out(dy, layout),
    )
    for i, (a, e) in enumerate(zip(odd, plain, strict=True)):
        assert_close(a, e, 1e-12, 1e-3, f"result {i}")


@pytest.mark.parametrize("case", cases(("f64", "f32")), ids=str)
def test_dtype_is_kept(case: Case):
    r = run_case(case)
    declared = case.op.signature.partition("->")[2]
    kind = "bool" if "bool" in declared else "int64" if "int64" in declared else case.float
    kind = case.sample.attributes.get("dtype", kind)
    assert r.y.dtype == np.dtype(kind)
    assert all(a.dtype == case.float for a in r.auxiliary)
    if r.leaves:
        dy = Tensor(upstream(case, r.y.shape).astype(r.y.dtype))
        assert [g.dtype for g in dlkit.grad(r.y, r.leaves, dy)] == [np.dtype(case.float)] * len(r.leaves)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", cases(), ids=str)
def test_finite_in_finite_out(case: Case, dtype: str):
    case = Case(case.op, case.index, dtype)
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
        warnings.simplefilter("error")
        r = run_case(case)
        dy = Tensor(upstream(case, r.y.shape).astype(r.y.dtype))
        dxs = dlkit.grad(r.y, r.leaves, dy) if r.leaves else []
    assert all(np.isfinite(a).all() for a in (r.y.numpy(), *r.auxiliary, *(g.numpy() for g in dxs)))


@pytest.mark.parametrize("case", cases(("f64", "f32")), ids=str)
def test_nothing_warns_of_nan_infinity_or_overflow(case: Case):
    """Nonsense in, nonsense out, in silence: what to do about it is the trainer's business."""

    def nasty(x: object) -> object:
        if not is_float(x):
            return x
        y = x.astype(case.float)
        y.flat[:6] = [np.nan, np.inf, -np.inf, 0.0, -1e30, 1e30][: y.size]
        return y

    inputs = [nasty(x) for x in case.sample.inputs]
    attributes = {k: v.astype(case.float) if is_float(v) else v for k, v in case.sample.attributes.items()}
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        shape = call(case.op, inputs, attributes).y.shape
        forward_and_backward(
            case, inputs, attributes, upstream(case, shape).astype(attributes.get("dtype", case.float))
        )


@pytest.mark.parametrize("case", cases(), ids=str)
def test_outputs_do_not_share_memory_with_inputs_unless_views(case: Case):
    inputs = [np.array(x) if isinstance(x, np.ndarray) else x for x in case.sample.inputs]
    y = call(case.op, inputs, case.sample.attributes).y.numpy()
    if case.op.name in ("reshape", "transpose", "broadcast_to"):
        assert not y.size or np.shares_memory(y, inputs[0]), "a view is promised"
    else:
        assert y.flags.c_contiguous
        assert not any(np.shares_memory(y, x) for x in inputs if isinstance(x, np.ndarray))
