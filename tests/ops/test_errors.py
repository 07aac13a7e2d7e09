"""Does every op refuse what it cannot do, with the right type of error and a message that helps?"""

from __future__ import annotations

import numpy as np
import opaque
import pytest
from ops.cases import OPS, samples

import dlkit
from dlkit import Tensor
from dlkit.backends.meta import MetaArray
from dlkit.errors import BackendError, ConfigError, DTypeError, ShapeError
from dlkit.ops import BadCall, Op

pytestmark = pytest.mark.usefixtures("reference")


def bad_calls() -> list:
    return [
        pytest.param(op, bad, id=f"{op.name}[{i}-{bad.error.__name__}]")
        for op in OPS.values()
        for i, bad in enumerate(op.errors())
    ]


@pytest.mark.parametrize(("op", "bad"), bad_calls())
def test_wrong_call_given_as_tensors(op: Op, bad: BadCall):
    inputs = [Tensor(x) if isinstance(x, np.ndarray) else x for x in bad.inputs]
    with pytest.raises(bad.error, match=bad.message) as caught:
        op(*inputs, **bad.attributes)
    assert type(caught.value) is bad.error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("op", "bad"), bad_calls())
def test_wrong_call_given_as_arrays(op: Op, bad: BadCall):
    with pytest.raises(bad.error, match=bad.message):
        op(*bad.inputs, **bad.attributes)


def needs_values(bad: BadCall) -> bool:
    """Out-of-range labels and indices show only where there is data."""
    return "from" in bad.message


@pytest.mark.parametrize(
    ("op", "bad"),
    [p for p in bad_calls() if p.values[1].error in (ShapeError, ConfigError) and not needs_values(p.values[1])],
)
def test_wrong_sizes_are_refused_before_there_is_data(op: Op, bad: BadCall):
    inputs = [Tensor.wrap(MetaArray(x.shape, x.dtype), "meta") if isinstance(x, np.ndarray) else x for x in bad.inputs]
    with pytest.raises(bad.error, match=bad.message):
        op(*inputs, **bad.attributes)


OF_SEVERAL = [op for op in OPS.values() if len(samples(op.name)[0].inputs) > 1]


@pytest.mark.parametrize("op", OF_SEVERAL, ids=lambda op: op.name)
def test_float32_and_float64_do_not_mix(op: Op):
    sample = samples(op.name)[0]
    floats = [i for i, x in enumerate(sample.inputs) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
    if len(floats) < 2:
        pytest.skip("one float input only")
    inputs = [
        Tensor(x.astype(np.float32 if i == floats[-1] else x.dtype)) if isinstance(x, np.ndarray) else x
        for i, x in enumerate(sample.inputs)
    ]
    message = rf"^{op.name}: inputs are float64 and float32; convert one with \.astype\('float64'\)"
    with pytest.raises(DTypeError, match=message):
        op(*inputs, **sample.attributes)


@pytest.mark.parametrize("op", OF_SEVERAL, ids=lambda op: op.name)
def test_devices_do_not_mix(op: Op):
    sample = samples(op.name)[0]
    arrays = [i for i, x in enumerate(sample.inputs) if isinstance(x, np.ndarray)]
    if len(arrays) < 2:
        pytest.skip("one array only")
    inputs = [
        Tensor(x, device=opaque.DEVICE if i == arrays[0] else "cpu") if isinstance(x, np.ndarray) else x
        for i, x in enumerate(sample.inputs)
    ]
    with pytest.raises(BackendError, match=r"inputs are on .*; move one with \.to\("):
        op(*inputs, **sample.attributes)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("conv2", "conv2d"), ("reluu", "relu"), ("crossentropy", "cross_entropy"), ("maxpool2d", "max_pool2d")],
)
def test_unknown_op_suggests_the_nearest(wrong: str, right: str):
    with pytest.raises(ConfigError, match=rf"unknown op '{wrong}' \(did you mean '{right}'\?\); known: "):
        OPS[wrong]


def test_unknown_op_far_from_all_lists_them_without_a_guess():
    with pytest.raises(ConfigError, match=r"unknown op 'qqqq'; known: ") as caught:
        OPS["qqqq"]
    assert all(name in str(caught.value) for name in OPS.names())


def test_an_op_cannot_be_declared_twice():
    with pytest.raises(ConfigError, match="two ops are called 'relu'"):
        OPS.add("relu", object())


def test_the_op_is_named_in_errors_of_its_shape_rule():
    with pytest.raises(ShapeError, match=r"^add: shapes \(2, 3\) and \(4,\) do not broadcast"):
        dlkit.add(np.zeros((2, 3)), np.zeros(4))


@pytest.mark.parametrize(
    ("name", "shape", "attributes"),
    [
        ("max", (0, 2), {}),
        ("max", (2, 0), {"axis": 1}),
        ("argmax", (2, 0), {}),
        ("softmax", (2, 0), {}),
        ("log_softmax", (2, 0), {}),
    ],
    ids=str,
)
def test_the_largest_of_nothing(name: str, shape: tuple, attributes: dict):
    with pytest.raises(ShapeError):
        OPS[name](Tensor(np.zeros(shape)), **attributes)


@pytest.mark.parametrize("attributes", [{"stride": 2}, {"padding": 1}, {"groups": 2}], ids=str)
def test_numpy_integers_are_integers(attributes: dict):
    x, w = np.ones((1, 4, 4, 2)), np.ones((2, 2, 2 // attributes.get("groups", 1), 2))
    wide = {k: np.int64(v) for k, v in attributes.items()}
    assert dlkit.conv2d(x, w, **wide).shape == dlkit.conv2d(x, w, **attributes).shape
