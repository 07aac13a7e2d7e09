"""A trained run, layer by layer: sizes against what is computed by hand, vanishing and exploding gradients, the command."""

import json

import numpy as np
import pytest

from dlkit import Tensor, nn
from dlkit.errors import CheckpointError
from dlkit.gradients.numeric import Settings
from dlkit.gradients.trained import check_run, findings, gradient_sizes
from dlkit.ops import OPS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from dlkit.cli.main import run as cli

    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert cli(["train", "--model", "mlp", "--hidden", "16", "--epochs", "1", "--out", str(folder)]) == 0
    return folder


def test_a_trained_network_is_right_layer_by_layer(run):
    report = check_run(run)
    assert report.passed, report.check
    assert report.examples == 64
    weighted = [layer for layer in report.layers if layer.parameters]
    assert sum(layer.parameters for layer in weighted) == 64 * 16 + 16 + 16 * 10 + 10
    assert all(0 <= layer.error < 1e-5 for layer in weighted)
    assert all(layer.signal > 0 and layer.ratio > 0 for layer in weighted)
    assert report.findings == ["gradients reach every layer: none vanishes, none explodes"]


def test_a_wrong_gradient_shows_at_its_layer(run, monkeypatch):
    right = OPS["linear"]._backward

    def wrong(k, saved, dy, needs):
        dx, dw, db = right(k, saved, dy, needs)
        return dx, dw if dw is None or dw.shape[1] != 10 else 1.01 * dw, db

    monkeypatch.setattr(OPS["linear"], "_backward", wrong)
    report = check_run(run)
    assert not report.passed
    first, last = (layer for layer in report.layers if layer.parameters)
    assert first.error < 1e-5 < last.error


def test_sizes_are_those_of_the_gradients(rng):
    model = nn.Sequential(nn.Linear(3, 4, activation="relu"), nn.Linear(4, 2))
    x, labels = rng.standard_normal((6, 3)).astype(np.float32), rng.integers(0, 2, 6)
    before = model.state_dict()
    loss, (first, last) = gradient_sizes(model, x, labels)
    hidden = model.layers[0](Tensor(x)).numpy()
    z = hidden @ model.layers[1].weight.numpy() + model.layers[1].bias.numpy()
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    dz = (p - np.eye(2)[labels]) / 6
    assert loss == pytest.approx(-np.log(p[np.arange(6), labels]).mean(), rel=1e-5)
    assert last.signal == pytest.approx(6 * np.sqrt((dz**2).sum(1).mean()), rel=1e-5)
    dw = np.concatenate([(hidden.T @ dz).ravel(), dz.sum(0)])
    assert last.gradient == pytest.approx(np.sqrt((dw**2).mean()), rel=1e-5)
    assert first.zeros == pytest.approx((hidden == 0).mean())
    assert all(np.array_equal(before[n], v) for n, v in model.state_dict().items())
    assert all(q.grad is None for q in model.parameters())


def deep(scale, rng, activation="sigmoid"):
    layers = [nn.Linear(8, 8, activation=activation, rng=rng) for _ in range(12)]
    for layer in layers:
        layer.weight.data = Tensor(scale * layer.weight.numpy()).data
    return nn.Sequential(*layers, nn.Linear(8, 3, rng=rng))


@pytest.mark.parametrize(
    ("scale", "activation", "expected"), [(1.0, "sigmoid", "vanishing"), (4.0, "leaky_relu", "exploding")]
)
def test_vanishing_and_exploding_gradients_are_remarked(scale, activation, expected, rng):
    x, labels = rng.standard_normal((16, 8)).astype(np.float32), rng.integers(0, 3, 16)
    _, layers = gradient_sizes(deep(scale, rng, activation), x, labels)
    (text,) = findings(layers)
    assert text.startswith(f"{expected} gradients")
    assert "layers.0" in text


def test_dead_units_are_remarked(rng):
    model = nn.Sequential(nn.Linear(8, 8, activation="relu"), nn.Linear(8, 3))
    model.layers[0].bias.data = Tensor(np.full(8, -50, np.float32)).data
    _, layers = gradient_sizes(model, rng.standard_normal((16, 8)).astype(np.float32), rng.integers(0, 3, 16))
    assert any("layers.0: 100 % of its outputs are 0 (dead units)" in text for text in findings(layers))


def test_the_command(run, capsys, tmp_path):
    from dlkit.cli.main import run as cli

    picture = tmp_path / "sizes.png"
    assert cli(["gradcheck", "--model", str(run), "--plot", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "‖dL/dy‖" in out
    assert "none vanishes" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert cli(["gradcheck", "--model", str(run), "--json"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert got["passed"] is True
    assert {"layer", "signal", "weight", "gradient", "ratio", "error"} <= got["layers"][0].keys()
    assert (run / "gradients.png").is_file()


def test_no_run(tmp_path):
    with pytest.raises(CheckpointError, match="no such run folder"):
        check_run(tmp_path / "nothing", Settings())


def test_nothing_is_claimed_of_a_network_without_layers():
    (text,) = findings([])
    assert "not judged" in text
