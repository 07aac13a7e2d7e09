"""The gradient checker itself: right gradients pass, wrong ones are found and named, kinks are left out and counted."""

import numpy as np
import pytest

from dlkit import gradcheck
from dlkit.backends import available_backends, use_backend
from dlkit.errors import ConfigError
from dlkit.models import MODELS
from dlkit.ops import OPS


@pytest.mark.parametrize("backend", available_backends())
@pytest.mark.parametrize("name", ["conv2d", "batch_norm", "cross_entropy", "max_pool2d", "linear"])
def test_right_gradients_pass(name, backend):
    with use_backend(backend):
        report = gradcheck.check_op(OPS[name])
    assert report.passed, report
    assert report.backend == backend
    assert report.worst.error < 1e-6
    assert report.elements > 20


@pytest.mark.parametrize("name", [m for m in MODELS if m != "resnet20"])
def test_models_pass(name):
    report = gradcheck.check_model(name)
    assert report.passed, report
    assert report.elements >= 30


@pytest.mark.slow
def test_resnet20_passes():
    assert gradcheck.check_model("resnet20").passed


def broken(monkeypatch, name, change):
    right = OPS[name]._backward
    monkeypatch.setattr(OPS[name], "_needs_needs", False)
    wants = "needs" in right.__code__.co_varnames
    monkeypatch.setattr(
        OPS[name],
        "_backward",
        lambda k, saved, dy: change(right(k, saved, dy, needs=(True, True, True)) if wants else right(k, saved, dy)),
    )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tanh", lambda g: (-g[0],)),
        ("tanh", lambda g: (1.001 * g[0],)),
        ("matmul", lambda g: (g[0], 2 * g[1])),
        ("linear", lambda g: (g[0], g[1], g[2] / 2)),
        ("conv2d", lambda g: (g[0], np.ascontiguousarray(g[1][::-1]), g[2])),
        ("batch_norm", lambda g: (g[0], g[1], 0 * g[2], *g[3:])),
    ],
)
def test_a_wrong_gradient_is_found_and_named(monkeypatch, name, change):
    broken(monkeypatch, name, change)
    report = gradcheck.check_op(OPS[name])
    assert not report.passed
    assert "analytic" in report.failure


def test_a_gradient_of_the_wrong_shape_is_named(monkeypatch):
    broken(monkeypatch, "tanh", lambda g: (np.zeros(1),))
    assert "got a gradient of shape (1,)" in gradcheck.check_op(OPS["tanh"]).failure


def test_a_wrong_model_gradient_is_found(monkeypatch):
    broken(monkeypatch, "avg_pool2d", lambda g: (0.99 * g[0],))
    report = gradcheck.check_model("lenet5")
    assert not report.passed
    assert "layers.0.weight" in report.failure or "layers.0.bias" in report.failure or "layers.2" in report.failure


def test_elements_on_kinks_are_left_out_and_counted(monkeypatch):
    sample = OPS["relu"].samples
    x = np.array([0.0, 1.0, -1.0, 2.0, 3.0])
    monkeypatch.setattr(OPS["relu"], "samples", lambda rng: [type(sample(np.random.default_rng(0))[0])((x,))])
    report = gradcheck.check_op(OPS["relu"])
    assert report.passed
    assert report.kinks == 1


def test_a_check_that_shows_nothing_fails(monkeypatch):
    sample = OPS["relu"].samples
    monkeypatch.setattr(OPS["relu"], "samples", lambda rng: [type(sample(np.random.default_rng(0))[0])((np.zeros(5),))])
    report = gradcheck.check_op(OPS["relu"])
    assert not report.passed
    assert "nothing was shown" in report.failure


def test_names_and_patterns():
    assert ("op", "conv2d") in gradcheck.names("conv")
    assert gradcheck.names("conv2d", models=False)
    assert all("conv2d" in n for _, n in gradcheck.names("conv2d"))
    assert ("model", "lenet5") in gradcheck.names("lenet*")
    with pytest.raises(ConfigError, match="nothing to check matches 'convv'"):
        gradcheck.names("convv")
    assert not any(OPS[n].differentiable is False for kind, n in gradcheck.names() if kind == "op")
