"""Whole numbers: never silently rounded where the result is a fraction, and never widening the floats beside them."""

from __future__ import annotations

import numpy as np
import pytest
from ops.cases import OPS

from dlkit import Tensor, nn, ops

REAL = [name for name, op in OPS.items() if op.real and name != "dropout"]  # whose mask has a type of its own
OTHERS = [name for name, op in OPS.items() if not op.real and name not in ("cast", "power")]  # their type is asked for


def results(op, kind):
    """What an op gives for its samples rounded to whole numbers, and for the same numbers as float32."""
    for sample in op.samples(np.random.default_rng(0)):
        if sample.attributes.get("value", 0.0) % 1:
            continue  # refused for whole numbers
        found = []
        for dtype in (kind, np.float32):
            inputs = [
                Tensor(np.minimum(np.abs(np.rint(3 * x)), 99).astype(dtype) if x.dtype.kind == "f" else x)
                if isinstance(x, np.ndarray)
                else x
                for x in sample.inputs
            ]
            with np.errstate(all="ignore"):
                y = op(*inputs, **sample.attributes)
            found.append((y[0] if isinstance(y, tuple) else y).numpy())
        yield found


@pytest.mark.parametrize("kind", [np.uint8, np.int64], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", REAL)
def test_where_the_result_is_a_fraction_it_is_float32(name, kind):
    for got, expected in results(OPS[name], kind):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", OTHERS)
def test_elsewhere_whole_numbers_give_the_same_as_floats(name):
    for got, expected in results(OPS[name], np.int64):
        np.testing.assert_allclose(got.astype(float), expected, rtol=1e-6)


def test_floats_stay_as_they_are_beside_whole_numbers(rng):
    w = nn.Parameter(rng.standard_normal((2, 3)).astype(np.float32))
    for whole in (np.array([1, 2, 3]), np.array([True, False, True]), np.array([1, 2, 3], np.uint8)):
        w.grad = None
        y = w * Tensor(whole)
        y.sum().backward()
        assert (y.dtype, w.grad.dtype) == (np.float32, np.float32)
        np.testing.assert_array_equal(y.numpy(), w.numpy() * whole.astype(np.float32))
        np.testing.assert_array_equal(w.grad.numpy(), np.broadcast_to(whole, (2, 3)))
        np.testing.assert_array_equal((w * whole).numpy(), y.numpy())
    assert nn.Linear(3, 2)(w * Tensor([1, 0, 1])).dtype == np.float32
    assert ops.concat([w, Tensor(np.ones((2, 3), int))], axis=0).dtype == np.float32
    for loss in (nn.MSELoss(), nn.L1Loss(), nn.HuberLoss(), nn.BCEWithLogitsLoss()):
        for target in (Tensor(np.eye(2, 3, dtype=int)), np.eye(2, 3, dtype=int), [[1, 0, 0], [0, 1, 0]]):
            w.grad = None
            value = loss(w, target)
            value.backward()
            assert (value.dtype, w.grad.dtype) == (np.float32, np.float32)


def test_labels_and_indices_stay_whole(rng):
    x = Tensor(rng.standard_normal((3, 4)).astype(np.float32), requires_grad=True)
    assert ops.cross_entropy(x, Tensor([0, 3, 1])).dtype == np.float32
    np.testing.assert_array_equal(
        ops.gather(x, np.array([[1], [0], [3]]), axis=1).numpy()[:, 0], x.numpy()[[0, 1, 2], [1, 0, 3]]
    )
    np.testing.assert_array_equal(ops.where(Tensor(np.eye(3, 4, dtype=bool)), x, 0).numpy(), np.eye(3, 4) * x.numpy())


def test_dropout_of_whole_numbers_scales_them(rng):
    y = ops.dropout(Tensor(np.ones(1000, int)), p=0.2, rng=rng)
    assert y.dtype == np.float32
    assert set(np.unique(y.numpy())) == {np.float32(0), np.float32(1.25)}


def test_a_float_array_beside_whole_numbers_says_the_type():
    whole, floats = np.array([1, 2]), np.array([0.5, 0.25])
    for y in (
        ops.divide(Tensor(whole), floats),
        ops.add(whole, floats),
        ops.where(np.array([True, False]), floats, 0.0),
        ops.where(Tensor(np.array([True, False])), floats, 0.0),
    ):
        assert y.dtype == np.float64
