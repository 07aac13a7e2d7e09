"""dlkit's networks as ONNX files: the same outputs here, in the standard's reference and in ONNX Runtime."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from dlkit import Tensor, nn, ops, random
from dlkit.errors import ConfigError, OnnxError, UnsupportedOnnx
from dlkit.models import MODELS, Hourglass, build_model
from dlkit.nn import inference
from dlkit.onnx import export, export_model, load_bytes
from dlkit.onnx.emit import EMITTERS
from dlkit.onnx.export import BATCH

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def prepared(make):
    """A network whose running statistics and scales are not those of a fresh one."""
    with random.using(np.random.default_rng(0)):
        model = make()
    rng = np.random.default_rng(1)
    for name, t in [*model.named_parameters(), *model.named_buffers()]:
        if t.ndim == 1:
            t.data = (0.1 * rng.standard_normal(t.shape) + (name.endswith(("gamma", "var")))).astype(np.float32)
    return model.eval()


def first(x):
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x


def assert_close(a, b):
    """To 1e-5 of the largest output: that is what float32 sums in another order, and Winograd's, may differ by."""
    np.testing.assert_allclose(a, b, rtol=TOLERANCE["rtol"], atol=TOLERANCE["atol"] * max(1.0, np.abs(b).max()))


def check(model, shape, rng):
    """Exports and asks dlkit's import and the standard's reference implementation; returns (ModelProto, x, y)."""
    exported = export_model(model, shape)
    x = rng.standard_normal((2, *shape)).astype(np.float32)
    with inference(model):
        y = model(Tensor(x)).numpy()
    assert np.ptp(y) > 1e-3, "outputs that are all alike show nothing"
    again = load_bytes(exported.SerializeToString())
    with inference(again):
        assert_close(again(Tensor(x)).numpy(), y)
    (theirs,) = ReferenceEvaluator(exported).run(None, {"input": first(x)})
    assert_close(theirs, first(y))
    return exported, x, y


ZOO = {
    **{name: (lambda name=name: build_model(name, (16, 16, 3), 5), (16, 16, 3)) for name in MODELS.names()},
    "mlp on features": (lambda: build_model("mlp", (7,), 3, batch_norm=True, activation="gelu"), (7,)),
    "lenet5 modern": (lambda: build_model("lenet5", (28, 28, 1), 4, activation="relu", pool="max"), (28, 28, 1)),
    "hourglass": (lambda: Hourglass(4, input_channels=3, scales=3, skip=2), (16, 16, 3)),
    "hourglass on odd sizes": (lambda: Hourglass(4, input_channels=3, scales=2, skip=2), (13, 11, 3)),
}


@pytest.mark.parametrize("name", ZOO)
def test_every_model_comes_back_the_same(name, rng):
    make, shape = ZOO[name]
    model = prepared(make)
    exported, _, _ = check(model, shape, rng)
    assert {o.version for o in exported.opset_import} == {21}
    weights = {t.name: tuple(t.dims) for t in exported.graph.initializer}
    for parameter, t in model.named_parameters():
        r = t.shape
        assert weights[parameter] == ((r[3], r[2], r[0], r[1]) if len(r) == 4 else r)


@pytest.mark.parametrize("name", ZOO)
def test_onnxruntime_computes_the_same(name, rng):
    onnxruntime = pytest.importorskip("onnxruntime")
    make, shape = ZOO[name]
    exported, x, y = check(prepared(make), shape, rng)
    session = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"input": first(x)})
    np.testing.assert_allclose(theirs, first(y), rtol=1e-5, atol=1e-5 * np.abs(y).max())


def test_transpositions_stand_only_where_the_graph_needs_them():
    def count(name):
        nodes = export_model(build_model(name, (16, 16, 3), 5), (16, 16, 3)).graph.node
        return sum(n.op_type == "Transpose" for n in nodes)

    assert {name: count(name) for name in ("resnet20", "cnn", "lenet5", "mlp")} == {
        "resnet20": 0,
        "cnn": 0,
        "lenet5": 1,  # before Flatten, whose order of pixels the linear layer has learnt
        "mlp": 1,
    }


class Layers(nn.Module):
    """One of each layer that the zoo does not have."""

    def __init__(self):
        self.grow = nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1)
        self.group, self.instance, self.layer = nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.LayerNorm(4)
        self.plain = nn.InstanceNorm2d(4, affine=False)
        self.pool, self.up = nn.AdaptiveAvgPool2d(3), nn.Upsample(2)
        self.uneven = nn.Upsample((1, 3), mode="bilinear", align_corners=True)
        self.pads = [nn.Pad2d((1, 0, 2, 1), mode) for mode in ("constant", "reflect", "replicate")]
        self.acts = [nn.LeakyReLU(0.2), nn.ELU(0.7), nn.GELU(), nn.SiLU(), nn.Softplus(), nn.Tanh(), nn.Sigmoid()]
        self.last = nn.Softmax()

    def forward(self, x):
        x = self.layer(self.instance(self.group(self.grow(x))))
        for act, pad in zip(self.acts, self.pads * 3):
            x = pad(act(x))
        return self.last(self.uneven(self.up(self.pool(self.plain(x[:, :12, :12])))))


class Sums(nn.Module):
    """Reductions, indices and rearranging, with operands of fewer axes."""

    def __init__(self):
        self.scale = nn.Parameter(np.array([0.5, 2.0, -1.0], np.float32))

    def forward(self, x):
        y = x * self.scale + x.mean(axis=(1, 2), keepdims=True)
        y = ops.concat(y, ops.maximum(y, 0.1), ops.clip(y, low=-1, high=1), axis=3)
        z = y.sum(axis=2) - y.max(axis=1)
        z = ops.transpose(z, axes=(0, 2, 1))[:, ::-1, 1:4][:, np.array([0, 2, 2, 5])]
        z = ops.matmul(z, z, transpose_b=True)[:, None, 1] / ops.sqrt(ops.abs(z[:, 0, :1]).reshape(-1, 1, 1) + 1)
        rows = ops.log_softmax(x.reshape(-1, 3), axis=1).reshape(x.shape)
        return z + ops.broadcast_to(rows[:, 0, :1].mean(axis=2).reshape(-1, 1, 1), shape=(x.shape[0], 1, 4))


@pytest.mark.parametrize(("make", "shape"), [(Layers, (5, 6, 3)), (Sums, (4, 4, 3))])
def test_layers_and_ops_that_no_model_uses(make, shape, rng):
    check(prepared(make), shape, rng)


class Only(nn.Module):
    """One op on the input; its other inputs and its attributes are fixed."""

    def __init__(self, op, rest, attributes):
        self.op, self.rest, self.attributes = op, rest, attributes

    def forward(self, x):
        return self.op(x, *self.rest, **self.attributes)


def other_input(x):
    """A sample's array as a float32 tensor; numbers, None and whole numbers as they are."""
    return Tensor(x.astype(np.float32)) if isinstance(x, np.ndarray) and x.dtype == np.float64 else x


def calls_with_a_batch(name):
    """(module, input) for the samples of an op whose first axis can count examples."""
    for sample in ops.OPS[name].samples(np.random.default_rng(0)):
        x, *rest = sample.inputs
        if (
            not isinstance(x, np.ndarray)
            or x.ndim < 2
            or not x.size
            or isinstance(sample.attributes.get("index"), tuple)
        ):
            continue
        axes = sample.attributes.get("axis", -1)
        if axes is None or 0 in np.atleast_1d(axes) or any(np.ndim(r) >= x.ndim and "conv" not in name for r in rest):
            continue
        batch = np.concatenate([x] * BATCH)[:BATCH].astype(np.float32)
        yield Only(ops.OPS[name], [*map(other_input, rest)], sample.attributes), batch


BY_NETWORKS = ("cast", "where", "gather", "transpose", "broadcast_to", "reshape", "take", "matmul", "concat")


@pytest.mark.parametrize("name", sorted(set(EMITTERS) - set(BY_NETWORKS)))
def test_every_sample_of_an_op_with_a_form_in_onnx(name):
    tried = 0
    for module, x in calls_with_a_batch(name):
        if name == "instance_norm" and x.ndim != 4:
            continue
        if name == "adaptive_avg_pool2d" and any(
            n % s for n, s in zip(x.shape[1:3], np.resize(module.attributes.get("size", 1), 2))
        ):
            continue
        again = load_bytes(export_model(module, x.shape[1:]).SerializeToString())
        with inference(module), inference(again):
            y, z = module(Tensor(x)).numpy(), again(Tensor(x))
        np.testing.assert_allclose(z.numpy() if isinstance(z, Tensor) else z, y, **TOLERANCE)
        tried += 1
    assert tried, "no sample was of any use"


class Mixed(nn.Module):
    """What is left: choosing by a mask, by index, and number types."""

    def forward(self, x):
        index = Tensor(np.array([[0, 2, 1]] * x.shape[0]))
        y = ops.gather(ops.where(x > 0.0, x, 0.5 * x), index, axis=1)
        return ops.cast(ops.cast(y, dtype=np.dtype(np.float64)), dtype=np.dtype(np.float32))


def test_masks_and_number_types(rng):
    exported = export_model(Mixed(), (4,))
    x = rng.standard_normal((BATCH, 4)).astype(np.float32)
    y = load_bytes(exported.SerializeToString())(Tensor(x)).numpy()
    np.testing.assert_allclose(y, Mixed()(Tensor(x)).numpy(), rtol=1e-6)


def test_the_number_of_examples_stays_open(rng):
    model = prepared(lambda: build_model("lenet5", (12, 12, 1), 3))
    again = load_bytes(export_model(model, (12, 12, 1)).SerializeToString())
    for n in (1, 2, BATCH, 7):
        x = Tensor(rng.standard_normal((n, 12, 12, 1)).astype(np.float32))
        with inference(model), inference(again):
            np.testing.assert_allclose(again(x).numpy(), model(x).numpy(), **TOLERANCE)


def test_an_imported_network_can_be_exported_again(rng):
    model = prepared(lambda: build_model("resnet20", (8, 8, 3), 4))
    once = load_bytes(export_model(model, (8, 8, 3)).SerializeToString())
    _, x, y = check(once, (8, 8, 3), rng)
    with inference(model):
        np.testing.assert_allclose(model(Tensor(x)).numpy(), y, **TOLERANCE)


def test_metadata_and_the_file(tmp_path):
    path = tmp_path / "m.onnx"
    export(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (2, 2, 1), path, {"note": "grüße"})
    read = onnx.load(str(path))
    assert {p.key: p.value for p in read.metadata_props} == {"note": "grüße"}
    assert read.producer_name == "dlkit"
    assert [d.dim_param or d.dim_value for d in read.graph.input[0].type.tensor_type.shape.dim] == ["N", 1, 2, 2]
    with pytest.raises(ConfigError, match=r"an ONNX file's name ends in \.onnx"):
        export(nn.Flatten(), (2, 2, 1), tmp_path / "m.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx"]


def test_what_has_no_form_in_onnx_is_named():
    class Loss(nn.Module):
        def forward(self, x):
            return ops.mse(x, x)

    with pytest.raises(UnsupportedOnnx, match="op mse has no form in ONNX; dlkit exports "):
        export_model(Loss(), (3,))

    class Fixed(nn.Module):
        def forward(self, x):
            return Tensor([1.0])

    with pytest.raises(UnsupportedOnnx, match="does not depend on its input"):
        export_model(Fixed(), (3,))


def test_training_mode_is_left_as_it_was():
    model = build_model("cnn", (8, 8, 1), 2, width=2)
    model.train()
    exported = export_model(model, (8, 8, 1))
    assert model.training
    assert "Dropout" not in {n.op_type for n in exported.graph.node}


def test_an_imported_graph_computes_in_the_type_of_its_weights(rng):
    model = prepared(ZOO["lenet5 modern"][0])
    graph = load_bytes(export_model(model, (28, 28, 1)).SerializeToString())
    x = rng.standard_normal((2, 28, 28, 1)).astype(np.float32)
    with inference(graph):
        single = graph(Tensor(x)).numpy()
        double = graph.astype(np.float64)(Tensor(x.astype(np.float64))).numpy()
        assert double.dtype == np.float64
        assert 0 < np.abs(double - single).max() < 1e-4 * np.abs(single).max()
        with pytest.raises(OnnxError, match="is float32, the graph takes float64"):
            graph(Tensor(x))
        assert (graph.astype(np.float32)(Tensor(x)).numpy() == single).all()
