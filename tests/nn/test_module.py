"""Modules: naming, modes, state."""

import numpy as np
import pytest

from dlkit import Tensor, nn
from dlkit.errors import CheckpointError


def network():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4, activation="relu"),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(4 * 9, 3),
    )


def test_parameters_and_buffers_are_named_after_attributes():
    net = network()
    assert [n for n, _ in net.named_parameters()] == [
        "layers.0.weight",
        "layers.1.gamma",
        "layers.1.beta",
        "layers.4.weight",
        "layers.4.bias",
    ]
    assert [n for n, _ in net.named_buffers()] == ["layers.1.running_mean", "layers.1.running_var"]
    assert net.parameter_count() == 3 * 3 * 2 * 4 + 4 + 4 + 36 * 3 + 3


def test_a_shared_layer_is_counted_once():
    layer = nn.Linear(3, 3)
    assert len(nn.Sequential(layer, nn.ReLU(), layer).parameters()) == 2


def test_modes_reach_every_layer_and_inference_restores_them():
    net = network()
    net.layers[3].training = False
    with nn.inference(net) as inside:
        assert not any(m.training for m in inside.modules())
    assert net.training
    assert not net.layers[3].training


def test_state_round_trip_gives_the_same_outputs(rng):
    a, b = network().eval(), network().eval()
    x = Tensor(rng.standard_normal((2, 3, 3, 2)).astype(np.float32))
    assert not np.array_equal(a(x).numpy(), b(x).numpy())
    b.load_state_dict(a.state_dict())
    np.testing.assert_array_equal(a(x).numpy(), b(x).numpy())


def test_state_dict_is_a_copy():
    net = network()
    net.state_dict()["layers.4.bias"][:] = 7
    assert not net.layers[4].bias.numpy().any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layers.4.bias"), "missing 'layers.4.bias'"),
        (lambda s: s.update(extra=np.zeros(1)), "unexpected 'extra'"),
        (lambda s: s.update({"layers.4.bias": np.zeros(4)}), r"'layers.4.bias' has shape \(4,\), expected \(3,\)"),
    ],
)
def test_state_that_does_not_fit_is_named(change, message):
    net = network()
    state = net.state_dict()
    change(state)
    with pytest.raises(CheckpointError, match=message):
        net.load_state_dict(state)


def test_repr_shows_every_layer():
    text = repr(network())
    assert "Conv2d(2, 4, 3×3, padding=1)" in text
    assert "Linear(36, 3)" in text
