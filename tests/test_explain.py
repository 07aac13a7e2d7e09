"""What `explain` says is what the op does: the worked examples by hand, the code from the files, shapes and FLOPs."""

import json

import numpy as np
import pytest

from dlkit.errors import ConfigError
from dlkit.explain import explain_model, explain_op
from dlkit.gradients.numeric import Settings
from dlkit.gradients.ops import SampleCall, check_op
from dlkit.models import MODELS, build_model
from dlkit.nn.summary import summarize
from dlkit.ops import OPS


@pytest.mark.parametrize("name", OPS)
def test_every_op_can_be_explained(name):
    e = explain_op(name)
    op = OPS[name]
    text = str(e)
    assert e.forward == op.formula
    assert op.formula in text
    assert f"class {name}" in open_line(e.file)
    assert len(e.shapes) >= 1
    assert "def forward(k" in e.code["the op"]
    assert ("def backward(k" in e.code["the op"] or "backward" in e.code["the op"]) == op.differentiable
    assert any(title.startswith("reference kernel") for title in e.code)
    assert len(text.splitlines()) < 260
    assert max(np.size(x) for x in e.example.inputs.values()) <= 40
    json.dumps(e.to_dict(), default=str)


def open_line(where):
    """The lines at and after `dlkit/ops/file.py:line`."""
    from pathlib import Path

    import dlkit

    file, _, line = where.rpartition(":")
    lines = (Path(dlkit.__file__).parent.parent / file).read_text().splitlines()
    return "\n".join(lines[int(line) - 1 : int(line) + 12])


def test_max_pooling_by_hand():
    e = explain_op("max_pool2d").example
    np.testing.assert_array_equal(np.squeeze(e.inputs["x"]), [[1, 5, 2, 0], [3, 4, 8, 6], [7, 1, 3, 2], [0, 9, 4, 5]])
    np.testing.assert_array_equal(np.squeeze(e.y), [[5, 8], [9, 5]])
    expected = [[0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0], [0, 3, 0, 4]]
    np.testing.assert_array_equal(np.squeeze(e.gradients["x"]), expected)


def test_convolution_by_hand():
    """y[0,0] = 1·1 - 2 + 2·4 + 0.5; dw[0,0] = 1·1 + 2·2 + 3·4 + 4·5; dx[1,1] = 1·0 + 2·2 + 3·(-1) + 4·1."""
    e = explain_op("conv2d").example
    np.testing.assert_array_equal(np.squeeze(e.y), [[7.5, 9.5], [13.5, 15.5]])
    assert np.squeeze(e.gradients["w"])[0, 0] == 1 * 1 + 2 * 2 + 3 * 4 + 4 * 5
    assert np.squeeze(e.gradients["x"])[1, 1] == 1 * 0 + 2 * 2 + 3 * -1 + 4 * 1
    assert e.gradients["b"] == [10]


def test_the_reference_kernels_stand_there_in_the_order_of_their_calls():
    titles = list(explain_op("max_pool2d").code)
    assert titles == ["the op", "reference kernel max_pool2d_forward", "reference kernel max_pool2d_backward"]
    assert "is_maximum" in explain_op("max_pool2d").code["reference kernel max_pool2d_forward"]


@pytest.mark.parametrize("name", ["conv2d", "max_pool2d", "group_norm", "pad", "upsample_bilinear"])
def test_the_examples_are_right(name, monkeypatch):
    from dlkit.explain import EXAMPLES

    monkeypatch.setattr(OPS[name], "samples", lambda rng: [EXAMPLES[name]()])
    assert check_op(OPS[name], Settings(), ["reference"], ["float64"]).passed
    e, call = explain_op(name).example, SampleCall(OPS[name], EXAMPLES[name]())
    for input_name, g in call.backward(call.inputs(), e.dy).items():
        np.testing.assert_array_equal(g, e.gradients[input_name])


@pytest.mark.parametrize("name", MODELS)
def test_networks_layer_by_layer(name):
    shape = (32, 32, 3)
    model = build_model(name, shape, 10)
    e, s = explain_model(model, shape, name), summarize(build_model(name, shape, 10), shape)
    assert len(e.forward) == len(e.backward)
    assert [p.layer for p in e.forward] == [p.layer for p in reversed(e.backward)]
    assert sum(p.flops for p in e.forward) == s.flops
    assert sum(p.parameters for p in e.forward) == e.parameters == s.parameters
    assert all(" → " in p.shapes and p.formula for p in e.forward)
    assert name in str(e)


def test_backward_of_lenet5():
    e = explain_model(build_model("lenet5", (28, 28, 1), 10), (28, 28, 1))
    last, first = e.backward[0], e.backward[-1]
    assert last.shapes == "dy N×10 → dx N×84, dweight 84×10, dbias 10"
    assert last.flops == 2 * 2 * 84 * 10
    assert first.shapes == "dy N×28×28×6 → dweight 5×5×1×6, dbias 6"
    assert first.flops == 2 * 28 * 28 * 6 * 25  # the image needs no gradient


def test_what_comes_before_all_weights_needs_no_gradient():
    e = explain_model(build_model("logistic", (8, 8, 1), 3), (8, 8, 1))
    assert e.backward[-1].shapes == "not needed: nothing to train before it"
    assert e.backward[0].shapes == "dy N×3 → dweight 64×3, dbias 3"


def test_an_unknown_op_gets_the_nearest_name():
    with pytest.raises(ConfigError, match=r"unknown op 'maxpool2d' \(did you mean 'max_pool2d'\?\)"):
        explain_op("maxpool2d")
