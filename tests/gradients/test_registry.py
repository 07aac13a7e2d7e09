"""dlkit's own gradients: right ones pass on every backend, wrong ones are found and named, kinks are left out and counted."""

import numpy as np
import pytest

from dlkit import nn
from dlkit.backends import available_backends
from dlkit.errors import ConfigError
from dlkit.gradients.check import check_problem
from dlkit.gradients.layers import SAMPLES, check_layer, layer_classes, layer_samples, stirred
from dlkit.gradients.models import Together, check_model
from dlkit.gradients.modules import ModuleCall
from dlkit.gradients.numeric import Settings
from dlkit.gradients.ops import check_op, float32_tolerances
from dlkit.gradients.registry import check_all, names
from dlkit.gradients.report import GradientReport
from dlkit.models import MODELS
from dlkit.ops import OPS, Sample

REFERENCE = ("reference",)


@pytest.mark.parametrize("name", ["conv2d", "batch_norm", "cross_entropy", "max_pool2d", "linear"])
def test_right_gradients_pass_on_every_backend(name):
    report = check_op(OPS[name])
    assert report.passed, report
    assert report.backends == available_backends()
    assert report.dtypes == ["float64", "float32"]
    assert report.worst.ratio < 0.5
    assert report.elements > 100


@pytest.mark.parametrize("name", [n for n in SAMPLES if n != "Sequential"])
def test_layers_pass(name):
    report = check_layer(name, backends=REFERENCE)
    assert report.passed, report
    assert report.elements > 0


def test_every_layer_has_samples():
    rng = np.random.default_rng(0)
    assert not [name for name in layer_classes() if not layer_samples(name, rng)]
    assert {"Conv2d", "BatchNorm2d", "Dropout", "CrossEntropyLoss", "Sequential"} <= layer_classes().keys()


def test_a_layer_without_samples_is_a_failure(monkeypatch):
    monkeypatch.delitem(SAMPLES, "Softmax")
    report = check_layer("Softmax", backends=REFERENCE)
    assert not report.passed
    assert "no samples" in report.failure


QUICK = ("logistic", "shallow", "mlp", "lenet5", "cnn", "alexnet", "vgg11", "resnet18", "unet")


@pytest.mark.parametrize("name", [pytest.param(m, marks=pytest.mark.slow if m not in QUICK else ()) for m in MODELS])
def test_models_pass(name):
    report = check_model(name, backends=available_backends()[:1])
    assert report.passed, report
    assert report.elements >= 15


@pytest.mark.slow
def test_resnet20_passes_on_every_backend():
    assert check_model("resnet20").passed


@pytest.mark.parametrize(("by", "passed"), [(1.0, True), (1.01, False)])
def test_in_a_large_network_a_parameter_that_is_not_moved_alone_is_checked_too(monkeypatch, by, passed):
    model = stirred(nn.Sequential([nn.Linear(3, 3, activation="tanh") for _ in range(20)]), np.random.default_rng(0))
    call = Together(model, (np.random.default_rng(1).standard_normal((4, 3)),))
    assert len(call.inputs()) == 1 + 12 + 1
    alone = next(n for n in call.parameters if n not in call.alone and n.endswith("weight"))
    right = ModuleCall.backward

    def wrong(self, inputs, dy):
        found = right(self, inputs, dy)
        found[alone] = found[alone] * by
        return found

    monkeypatch.setattr(ModuleCall, "backward", wrong)
    report = GradientReport("many layers", "model")
    check_problem(call.problem("4x3"), report, np.random.default_rng(2), Settings(elements=2, directions=1), "")
    assert (report.worst.ratio <= 1) is passed
    if not passed:
        assert report.worst.input == "every parameter"


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
    ("name", "change", "expected"),
    [
        ("tanh", lambda g: (-g[0],), "x: sign flipped"),
        ("tanh", lambda g: (1.001 * g[0],), "x: "),
        ("matmul", lambda g: (g[0], 2 * g[1]), "b: constant factor: backward gives 2 times"),
        ("linear", lambda g: (g[0], g[1], g[2] / 2), "b: constant factor: backward gives 0.5 times"),
        (
            "conv2d",
            lambda g: (g[0], np.ascontiguousarray(g[1][::-1]), g[2]),
            "w: the gradient comes out reversed along axis 0",
        ),
        ("batch_norm", lambda g: (g[0], g[1], 0 * g[2], *g[3:]), "beta: the gradient is zero"),
    ],
)
def test_a_wrong_gradient_is_found_named_and_diagnosed(monkeypatch, name, change, expected):
    broken(monkeypatch, name, change)
    report = check_op(OPS[name], backends=REFERENCE)
    assert not report.passed
    assert "analytic" in report.failure
    assert report.diagnosis[0].startswith(expected)


def test_a_wrong_float32_gradient_is_found(monkeypatch):
    right = OPS["tanh"]._backward
    wrong_in_float32 = lambda k, saved, dy: (  # noqa: E731
        (right(k, saved, dy)[0] * np.float32(1.001),) if dy.dtype == np.float32 else right(k, saved, dy)
    )
    monkeypatch.setattr(OPS["tanh"], "_backward", wrong_in_float32)
    assert check_op(OPS["tanh"], backends=REFERENCE, dtypes=("float64",)).passed
    report = check_op(OPS["tanh"], backends=REFERENCE)
    assert not report.passed
    assert report.worst.dtype == "float32"


def test_float32_is_allowed_what_its_conditioning_asks_for():
    from dlkit.gradients.ops import SampleCall

    dy, rng = np.ones(1), np.random.default_rng(0)
    mild, saturated = (
        float32_tolerances(SampleCall(OPS["tanh"], Sample((np.array([x]),))), dy, rng)["x"] for x in (0.5, 6.0)
    )
    assert mild < 2e-5
    assert saturated > 100 * mild  # 1 - y² loses all but a few digits where y is nearly 1


def test_a_gradient_of_the_wrong_shape_is_named(monkeypatch):
    broken(monkeypatch, "tanh", lambda g: (np.zeros((*g[0].shape, 1)),))
    assert "got a gradient of shape (1,)" in check_op(OPS["tanh"], backends=REFERENCE).failure


def test_a_wrong_model_gradient_is_found(monkeypatch):
    broken(monkeypatch, "avg_pool2d", lambda g: (0.99 * g[0],))
    report = check_model("lenet5", backends=REFERENCE)
    assert not report.passed
    assert "model.layers." in report.failure or report.failure.startswith("x")


def with_input(monkeypatch, name, x):
    monkeypatch.setattr(OPS[name], "samples", lambda rng: [Sample((x,))])


def test_elements_on_kinks_are_left_out_and_counted(monkeypatch):
    with_input(monkeypatch, "relu", np.array([0.0, 1.0, -1.0, 2.0, 3.0]))
    report = check_op(OPS["relu"], backends=REFERENCE, dtypes=("float64",))
    assert report.passed, report
    assert report.kinks == 1


def test_a_minimum_is_no_kink(monkeypatch):
    """At the bottom of a parabola both one-sided differences differ, but not by the same amount at every step."""
    right = OPS["power"]._backward
    monkeypatch.setattr(OPS["power"], "_backward", lambda *a, **n: (right(*a, **n)[0] + 0.01, None))
    monkeypatch.setattr(OPS["power"], "samples", lambda rng: [Sample((np.array([0.0, 1.0]), 2))])
    report = check_op(OPS["power"], backends=REFERENCE, dtypes=("float64",))
    assert not report.passed
    assert report.kinks == 0


def test_a_check_that_shows_nothing_fails(monkeypatch):
    with_input(monkeypatch, "relu", np.zeros(5))
    report = check_op(OPS["relu"], backends=REFERENCE, dtypes=("float64",))
    assert not report.passed
    assert "nothing was shown" in report.failure


@pytest.mark.parametrize("name", ["tanh", "conv2d", "matmul", "power"])
def test_second_derivatives_pass(name):
    report = check_op(OPS[name], Settings(order=2), REFERENCE, ("float64",))
    assert report.passed, report
    assert report.elements > check_op(OPS[name], Settings(), REFERENCE, ("float64",)).elements


def test_a_wrong_second_derivative_is_found(monkeypatch):
    from dlkit.ops.second import FORMULAS

    monkeypatch.setitem(FORMULAS, "tanh_backward", lambda dy, y: dy * (1.0 - y.detach() * y))
    assert check_op(OPS["tanh"], Settings(), REFERENCE).passed
    report = check_op(OPS["tanh"], Settings(order=2), REFERENCE, ("float64",))
    assert not report.passed
    assert "second derivative" in report.failure


def test_what_each_input_gets_alone_is_checked(monkeypatch):
    right = OPS["multiply"]._backward

    def wrong(k, saved, dy, needs):
        da, db = right(k, saved, dy, needs)
        return (da if all(needs) else 2 * da) if needs[0] else None, db

    monkeypatch.setattr(OPS["multiply"], "_backward", wrong)
    report = check_op(OPS["multiply"], backends=REFERENCE)
    assert "input a alone gets another gradient" in report.failure


def test_names_and_patterns():
    assert ("op", "conv2d") in names("conv")
    assert ("layer", "nn.Conv2d") in names("Conv")
    assert all("conv2d" in n for _, n in names("conv2d"))
    assert ("model", "lenet5") in names("lenet*")
    assert "model" not in {kind for kind, _ in names(models=False)}
    with pytest.raises(ConfigError, match=r"nothing to check matches 'convv' \(did you mean 'conv2d'"):
        names("convv")
    assert not any(OPS[n].differentiable is False for kind, n in names() if kind == "op")


def test_check_all_takes_every_kind():
    chosen = [("op", "tanh"), ("layer", "nn.Tanh"), ("model", "logistic")]
    reports = list(check_all(chosen, Settings(seed=3), REFERENCE))
    assert [(r.kind, r.name, r.passed) for r in reports] == [(k, n, True) for k, n in chosen]
    with pytest.raises(ConfigError, match=r"eps \(=0\)"):
        next(check_all(chosen, Settings(step=0)))


@pytest.mark.parametrize("seed", [4, 7, 19, 26, 44])
def test_a_saturated_softmax_is_no_false_alarm(seed):
    """Its second derivative is the rest of numbers that cancel to 12 digits."""
    report = check_op(OPS["softmax"], Settings(seed=seed, order=2), REFERENCE, ("float64",))
    assert report.passed, report


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_no_false_alarm(seed):
    """Every op on every backend in both types, every layer on every backend."""
    wrong = [str(r) for r in check_all(names(models=False), Settings(seed=seed)) if not r.passed]
    assert not wrong
