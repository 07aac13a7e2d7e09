"""Does everything above the backends keep its hands off the arrays? Every op where none can be seen."""

from __future__ import annotations

import numpy as np
import opaque
import pytest
from ops.cases import Case, call, cases, converted, differentiable, run_case, upstream

import dlkit
from dlkit import Tensor
from dlkit.backends import current_backend, kernels, use_backend
from dlkit.errors import BackendError

LOOKS = {"cross_entropy": 1, "gather": 1}  # labels and indices are checked on the host, once each


@pytest.fixture(autouse=True)
def _reference():
    with use_backend("reference"):
        yield


def on_device(case: Case):
    """The case's call with every array on the device, and what it took to put them there."""
    attributes = {
        k: Tensor(v, device=opaque.DEVICE) if k == "mask" else v
        for k, v in ((k, converted(v, case.float)) for k, v in case.sample.attributes.items())
    }
    grad = [
        i
        for i, x in enumerate(case.sample.inputs)
        if isinstance(x, np.ndarray) and x.dtype.kind == "f" and i not in case.op.nondiff
    ]
    return call(
        case.op,
        [converted(x, case.float) for x in case.sample.inputs],
        attributes,
        grad if case.op.differentiable else [],
        opaque.DEVICE,
    )


@pytest.mark.parametrize("case", cases(("f64", "f32")), ids=str)
def test_op_runs_where_arrays_cannot_be_touched(case: Case):
    expected = run_case(case)
    with opaque.counting() as transfers:
        r = on_device(case)
    assert isinstance(r.y.data, opaque.OpaqueArray)
    assert all(isinstance(a, opaque.OpaqueArray) for a in r.auxiliary)
    assert transfers.to_host == LOOKS.get(case.op.name, 0), "the forward pass fetched something"
    arrays = sum(isinstance(x, np.ndarray) for x in (*case.sample.inputs, *case.sample.attributes.values()))
    assert transfers.from_host == arrays, "the forward pass sent something besides its inputs"
    with opaque.counting() as transfers:
        np.testing.assert_array_equal(r.y.numpy(), expected.y.numpy())
        assert transfers.to_host == 1
    if not r.leaves:
        return
    dy = upstream(case, r.y.shape).astype(r.y.dtype)
    on_cpu = dlkit.grad(expected.y, expected.leaves, Tensor(dy))
    dy_there = Tensor(dy, device=opaque.DEVICE)
    with opaque.counting() as transfers:
        r.y.backward(dy_there)
    assert transfers == opaque.Transfers(0, 0), "the backward pass fetched or sent something"
    with opaque.counting() as transfers:
        for x, e in zip(r.leaves, on_cpu, strict=True):
            assert x.grad.device == opaque.DEVICE
            np.testing.assert_array_equal(x.grad.numpy(), e.numpy())
        assert transfers == opaque.Transfers(len(r.leaves), 0)


@pytest.mark.parametrize("case", cases(only=lambda op: differentiable(op) and op.second), ids=str)
def test_second_derivative_stays_on_the_device(case: Case):
    def twice(r, dy):
        first = dlkit.grad(r.y, r.leaves, dy, create_graph=True)
        z = (first[0] * first[0]).sum()
        for g in first[1:]:
            z = z + (g * g).sum()
        z.backward()
        return [x.grad for x in (*r.leaves, dy)]

    r, there = run_case(case), on_device(case)
    dy = upstream(case, r.y.shape)
    expected = twice(r, Tensor(dy, requires_grad=True))
    with opaque.counting() as transfers:
        found = twice(there, Tensor(dy, requires_grad=True, device=opaque.DEVICE))
    assert transfers.to_host == 0
    for g, e in zip(found, expected, strict=True):
        assert (g is None) == (e is None)
        if g is not None:
            np.testing.assert_array_equal(g.numpy(), e.numpy())


def test_opaque_arrays_are_opaque():
    x = Tensor(np.arange(6.0).reshape(2, 3), device=opaque.DEVICE).data
    assert (x.shape, x.dtype) == ((2, 3), np.float64)
    for touch in (
        lambda: x + 1,
        lambda: np.ones(3) * x,
        lambda: x[0],
        lambda: float(x),
        lambda: len(x),
        lambda: iter(x),
        lambda: np.exp(x),
        lambda: bool(x),
        lambda: x.sum(),
    ):
        with pytest.raises((TypeError, AttributeError)):
            touch()
    assert np.asarray(x).dtype == object, "NumPy cannot read it"


def test_a_host_array_in_a_device_kernel_is_caught():
    k = kernels(opaque.DEVICE)
    with pytest.raises(TypeError, match="host array"):
        k.add(k.full((3,), 1.0, np.float32), np.ones(3))


def test_no_lookup_crosses_devices():
    assert current_backend(opaque.DEVICE) == "opaque"
    with pytest.raises(BackendError, match=r"no backend for device 'gpu'; known devices: cpu, .*opaque"):
        Tensor(1.0, device="gpu")
    a, b = Tensor([1.0]), Tensor([1.0], device=opaque.DEVICE)
    for f in (lambda: a + b, lambda: b + a):
        with pytest.raises(BackendError, match="inputs are on"):
            f()


def test_moving_between_devices():
    a = Tensor([1.0, 2.0], requires_grad=True)
    with opaque.counting() as transfers:
        b = a.to(opaque.DEVICE)
        assert b.device == opaque.DEVICE
        assert b.to(opaque.DEVICE) is b
        assert b.to("cpu").tolist() == [1.0, 2.0]
    assert transfers == opaque.Transfers(to_host=1, from_host=1)
    assert not b.requires_grad


def test_numbers_reach_the_device_without_a_transfer():
    x = Tensor([1.0, 2.0], device=opaque.DEVICE)
    with opaque.counting() as transfers:
        y = 2.0 * x + 1.0 - x / 4
    assert transfers == opaque.Transfers()
    np.testing.assert_allclose(y.numpy(), [2.75, 4.5])


def test_repr_and_item_fetch_once():
    x = Tensor([2.5], device=opaque.DEVICE)
    with opaque.counting() as transfers:
        assert x.item() == 2.5
        assert "2.5" in repr(x)
    assert transfers.to_host == 2


# -- training ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "rmsprop", "adamw"])
def test_a_whole_training_with_checkpoint_runs_on_the_device(tmp_path, monkeypatch, optimizer):
    """Loader, network (convolution, batch norm, dropout, pooling), loss, clipping, optimiser, evaluation, checkpoint
    and resume, with arrays that nothing above the backends can look into; and the result is the CPU's."""
    from dlkit.backends import use_backend
    from dlkit.data import ArraySource, Dataset
    from dlkit.train import TrainConfig, Trainer

    rng = np.random.default_rng(0)
    data = Dataset(
        "noise",
        ["a", "b", "c"],
        ArraySource(rng.integers(0, 256, (30, 8, 8, 1)).astype(np.uint8), np.arange(30) % 3),
        ArraySource(rng.integers(0, 256, (9, 8, 8, 1)).astype(np.uint8), np.arange(9) % 3),
    )
    monkeypatch.setattr("dlkit.train.loop.load_data", lambda config: data)

    def train(name, device):
        config = TrainConfig(
            model="cnn",
            width=4,
            dropout=0.2,
            epochs=2,
            batch_size=8,
            optimizer=optimizer,
            lr=0.01,
            l2=1e-3,
            clip_norm=1.0,
            val_split=0.2,
            out=str(tmp_path / name),
        )
        with opaque.counting() as transfers:
            result = Trainer(config, device=device).fit()
        return result, transfers

    with use_backend("reference"):
        host, _ = train("host", "cpu")
    there, transfers = train("there", opaque.DEVICE)
    assert (there.test_loss, there.val_loss, there.train_loss) == (host.test_loss, host.val_loss, host.train_loss)
    assert (tmp_path / "there" / "history.csv").read_bytes() == (tmp_path / "host" / "history.csv").read_bytes()
    assert transfers.from_host > 0 < transfers.to_host
    resumed = Trainer.resume(str(tmp_path / "there"), epochs=3)
    assert resumed.state.epoch == 2
