"""A model with several inputs and outputs as an ONNX file gives the same numbers when it is read again."""

import numpy as np
import pytest

from dlkit import Tensor, nn, ops
from dlkit.onnx import export, load
from dlkit.onnx.export import export_model


def test_two_inputs_and_named_outputs(rng, tmp_path):
    image, features = nn.Input((6, 6, 3)), nn.Input(4)
    y = nn.Conv2d(3, 4, 3, padding="same", activation="relu")(image)
    y = ops.concat(y, nn.Conv2d(3, 4, 1)(image), axis=3)
    z = nn.Linear(12, 5)(ops.concat(nn.GlobalAvgPool2d()(y), features, axis=1))
    model = nn.Model([image, features], {"scores": z, "maps": y}).eval()
    written = export_model(model, model.input_shapes)
    assert [i.name for i in written.graph.input] == ["input_0", "input_1"]
    assert [o.name for o in written.graph.output] == ["scores", "maps"]
    path = tmp_path / "model.onnx"
    export(model, model.input_shapes, path)
    x = Tensor(rng.standard_normal((2, 6, 6, 3)).astype(np.float32))
    f = Tensor(rng.standard_normal((2, 4)).astype(np.float32))
    expected, again = model(x, f), load(path).eval()(x, f)
    for ours, theirs in zip(expected.values(), again, strict=True):
        np.testing.assert_allclose(theirs.numpy(), ours.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("size", "out"), [((7, 7), 3), ((1, 2), (3, 3)), ((13, 6), (6, 4)), ((8, 8), (4, 2))])
def test_adaptive_pooling_of_any_size(size, out, rng, tmp_path):
    layer = nn.AdaptiveAvgPool2d(out)
    export(layer, (*size, 2), tmp_path / "pool.onnx")
    x = Tensor(rng.standard_normal((3, *size, 2)).astype(np.float32))
    expected, again = layer(x).numpy(), load(tmp_path / "pool.onnx")(x).numpy()
    np.testing.assert_allclose(again, expected, rtol=1e-5, atol=1e-6)
