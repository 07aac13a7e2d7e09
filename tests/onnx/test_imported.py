"""An imported graph as a module: it computes at dlkit's speed, trains, saves, and its gradients are right."""

import sys

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import dlkit
from dlkit import Tensor, nn, ops, optim, random
from dlkit.errors import OnnxError, UnsupportedOnnx
from dlkit.models import build_model
from dlkit.nn import inference
from dlkit.onnx import export_model, load, load_bytes
from dlkit.ops.op import follow

N = helper.make_node


def graph_model(nodes, inputs, weights, outputs=("y",), dtype=np.float64, opset=22):
    """A model whose float inputs and weights are of `dtype`."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def typed(a):
        a = np.asarray(a)
        return a.astype(dtype) if a.dtype.kind == "f" else a

    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, kind, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(o, kind, None) for o in outputs],
        [numpy_helper.from_array(typed(a), n) for n, a in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString()


def imported(name, shape, classes=3, **options):
    """(a model of the zoo, the same by way of ONNX), batch norm's statistics away from 0 and 1."""
    with random.using(np.random.default_rng(1)):
        model = build_model(name, shape, classes, **options)
    rng = np.random.default_rng(2)
    for i, (_, b) in enumerate(model.named_buffers()):
        b.data = (rng.standard_normal(b.shape) * 0.1 + i % 2).astype(np.float32)
    model.eval()
    return model, load_bytes(export_model(model, shape).SerializeToString())


def test_images_are_channels_last_unless_asked_otherwise(rng):
    w = rng.standard_normal((5, 3, 2, 2)).astype(np.float32)
    data = graph_model([helper.make_node("Conv", ["x", "w"], ["y"])], {"x": ["N", 3, 6, 7]}, {"w": w}, dtype=np.float32)
    x = rng.standard_normal((2, 6, 7, 3)).astype(np.float32)
    y = load_bytes(data)(Tensor(x))
    assert y.shape == (2, 5, 6, 5)
    z = load_bytes(data, channels_last=False)(Tensor(x.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(z.numpy().transpose(0, 2, 3, 1), y.numpy(), rtol=1e-6)
    with pytest.raises(OnnxError, match=r"input 'x' has shape 2×6×7×3 \(in ONNX's order\), the graph takes N×3×6×7"):
        load_bytes(data, channels_last=False)(Tensor(x))


@pytest.mark.parametrize("name", ["resnet20", "cnn", "lenet5"])
def test_nothing_is_moved_between_convolutions(name, rng):
    """The imported network applies the ops of the original, and no transposition beyond the one it was exported with."""
    model, module = imported(name, (12, 12, 1))
    x = Tensor(rng.standard_normal((2, 12, 12, 1)).astype(np.float32))
    heavy = ("conv2d", "linear", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "batch_norm_inference")
    applied = []
    for network in (model, module):
        calls = []
        with inference(network), follow(lambda op, inputs, attributes, y, calls=calls: calls.append(op.name)):
            network(x)
        applied.append([c for c in calls if c in heavy])
        assert calls.count("transpose") <= (name == "lenet5")
    assert applied[0] == applied[1]


def norm_and(nodes, shape=(2, 3, 4, 4), outputs=("y",), **more):
    """Batch norm of x, called n, and what comes behind it."""
    rng = np.random.default_rng(5)
    weights = {
        "s": rng.random(3) + 0.5,
        "b": rng.standard_normal(3),
        "m": rng.standard_normal(3),
        "v": rng.random(3) + 0.5,
    }
    first = N("BatchNormalization", ["x", "s", "b", "m", "v"], ["n"])
    return load_bytes(graph_model([first, *nodes], {"x": shape}, {**weights, **more}, outputs), channels_last=False)


FUSED = {  # what stands behind batch norm -> the ops that are left
    "relu": ([("Relu", ["n"], ["y"])], ["batch_norm_inference"]),
    "residual and relu": ([("Add", ["x", "n"], ["a"]), ("Relu", ["a"], ["y"])], ["batch_norm_inference"]),
    "residual alone": ([("Add", ["n", "x"], ["y"])], ["batch_norm_inference"]),
    "read twice": ([("Relu", ["n"], ["r"]), ("Sub", ["r", "n"], ["y"])], ["batch_norm_inference", "relu", "subtract"]),
    "added to itself": ([("Add", ["n", "n"], ["y"])], ["batch_norm_inference", "add"]),
    "a residual of another shape": (
        [("Add", ["n", "row"], ["a"]), ("Relu", ["a"], ["y"])],
        ["batch_norm_inference", "add", "relu"],
    ),
    "an activation that does not fit": ([("Tanh", ["n"], ["y"])], ["batch_norm_inference", "tanh"]),
}


@pytest.mark.parametrize("name", FUSED)
def test_steps_of_one_pass_are_joined_and_give_the_same(name, rng):
    behind, expected = FUSED[name]
    module = norm_and([N(*node) for node in behind], row=np.linspace(-1, 1, 4))
    x = rng.standard_normal((2, 3, 4, 4))
    calls = []
    with follow(lambda op, inputs, attributes, y: calls.append(op.name)):
        y = module(Tensor(x)).numpy()
    assert [c for c in calls if c not in ("transpose", "reshape")] == expected
    weights = {n.removeprefix("weights."): a for n, a in module.state_dict().items()}
    s, b, m, v = (weights[n].reshape(3, 1, 1) for n in "sbmv")
    values = {"x": x, "n": s * (x - m) / np.sqrt(v + 1e-5) + b, "row": np.linspace(-1, 1, 4)}
    meaning = {"Relu": lambda a: np.maximum(a, 0), "Tanh": np.tanh, "Add": np.add, "Sub": np.subtract}
    for op, inputs, (output,) in behind:
        values[output] = meaning[op](*(values[i] for i in inputs))
    np.testing.assert_allclose(y, values["y"], rtol=1e-12, atol=1e-12)


def test_two_branches_that_meet_are_joined_once(rng):
    """Both sides of a sum are batch norms: one takes the sum into its pass, the other stays."""
    second = N("BatchNormalization", ["x", "s", "b", "v", "v"], ["n2"])
    module = norm_and([second, N("Add", ["n", "n2"], ["a"]), N("Relu", ["a"], ["y"])])
    calls = []
    with follow(lambda op, inputs, attributes, y: calls.append(op.name)):
        y = module(Tensor(rng.standard_normal((2, 3, 4, 4)))).numpy()
    assert [c for c in calls if c not in ("transpose", "reshape")] == ["batch_norm_inference"] * 2
    assert (y >= 0).all()
    assert (y > 0).any()


def test_a_value_that_is_an_output_is_not_swallowed(rng):
    module = norm_and([N("Relu", ["n"], ["y"])], outputs=("y", "n"))
    y, n = module(Tensor(rng.standard_normal((2, 3, 4, 4))))
    np.testing.assert_array_equal(y.numpy(), np.maximum(n.numpy(), 0))


def test_an_imported_network_has_the_originals_gradients(rng):
    model, module = imported("lenet5", (12, 12, 1))
    x, labels = Tensor(rng.standard_normal((4, 12, 12, 1)).astype(np.float32)), np.array([0, 1, 2, 1])
    for network in (model, module):
        nn.CrossEntropyLoss()(network(x), labels).backward()
    ours, theirs = dict(model.named_parameters()), dict(module.weights.named_parameters())
    assert set(ours) == set(theirs)
    for name, p in ours.items():
        assert theirs[name].shape == p.shape, "weights are kept in dlkit's order of axes"
        np.testing.assert_allclose(theirs[name].grad.numpy(), p.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_an_imported_network_trains_with_batch_statistics(rng):
    model, module = imported("cnn", (8, 8, 1), width=4, dropout=0.0)
    x, labels = rng.standard_normal((16, 8, 8, 1)).astype(np.float32), np.arange(16) % 3
    losses = []
    for network in (model, module):
        network.train()
        optimizer = optim.Adam(network.parameters(), lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            loss = nn.CrossEntropyLoss()(network(Tensor(x)), labels)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    ours, theirs = dict(model.named_buffers()), dict(module.weights.named_buffers())
    assert set(ours) == set(theirs)
    for name, b in ours.items():
        np.testing.assert_allclose(theirs[name].numpy(), b.numpy(), rtol=1e-3, atol=1e-4)
    with inference(module), inference(model):
        np.testing.assert_allclose(module(Tensor(x)).numpy(), model(Tensor(x)).numpy(), atol=2e-3)


def test_weights_save_and_load(rng):
    _, module = imported("lenet5", (12, 12, 1))
    _, other = imported("lenet5", (12, 12, 1))
    state = {n: a + 0.1 for n, a in module.state_dict().items()}
    other.load_state_dict(state)
    x = Tensor(rng.standard_normal((2, 12, 12, 1)).astype(np.float32))
    assert not np.allclose(other(x).numpy(), module(x).numpy())
    module.load_state_dict(state)
    np.testing.assert_array_equal(other(x).numpy(), module(x).numpy())


def test_constants_are_not_trained():
    data = graph_model(
        [helper.make_node("Clip", ["x", "low", "high"], ["c"]), helper.make_node("Mul", ["c", "w"], ["y"])],
        {"x": [2, 3]},
        {"low": np.array(-1.0), "high": np.array(1.0), "w": np.array([1.0, 2.0, 3.0])},
    )
    assert [n for n, _ in load_bytes(data).named_parameters()] == ["weights.w"]


def test_a_name_that_a_module_has_already(rng):
    data = graph_model([helper.make_node("Mul", ["x", "training"], ["y"])], {"x": [2, 3]}, {"training": np.ones(3)})
    module = load_bytes(data)
    module.train()
    module(Tensor(np.ones((2, 3))))
    assert [n for n, _ in module.named_parameters()] == ["weights.training_"]


IMAGE, VOLUME = [2, 3, 6, 5], [1, 2, 5, 4, 6]


def w(*shape):
    return np.random.default_rng(7).standard_normal(shape)


GRADIENTS = {
    "Conv 1-D": (
        [N("Conv", ["x", "w", "b"], ["y"], pads=[1, 2], strides=[2])],
        {"x": [2, 3, 9]},
        {"w": w(4, 3, 3), "b": w(4)},
    ),
    "Conv 2-D groups": ([N("Conv", ["x", "w"], ["y"], group=3, pads=[1, 0, 2, 1])], {"x": IMAGE}, {"w": w(6, 1, 3, 2)}),
    "Conv 3-D": (
        [N("Conv", ["x", "w", "b"], ["y"], pads=[1, 0, 1, 0, 1, 1], strides=[2, 1, 1], dilations=[1, 2, 1])],
        {"x": VOLUME},
        {"w": w(3, 2, 2, 2, 3), "b": w(3)},
    ),
    "ConvTranspose 2-D": (
        [N("ConvTranspose", ["x", "w", "b"], ["y"], strides=[3, 2], pads=[1, 0, 2, 1], output_padding=[2, 1])],
        {"x": [1, 2, 3, 4]},
        {"w": w(2, 3, 3, 2), "b": w(3)},
    ),
    "ConvTranspose 3-D": (
        [N("ConvTranspose", ["x", "w"], ["y"], strides=[2, 1, 1], output_shape=[6, 4, 5])],
        {"x": [1, 2, 3, 3, 4]},
        {"w": w(2, 2, 2, 2, 2)},
    ),
    "AveragePool dilated": (
        [
            N(
                "AveragePool",
                ["x"],
                ["y"],
                kernel_shape=[2, 2],
                dilations=[2, 1],
                count_include_pad=1,
                pads=[1, 1, 0, 1],
                ceil_mode=1,
            )
        ],
        {"x": IMAGE},
        {},
    ),
    "MaxPool dilated": ([N("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[2, 2])], {"x": IMAGE}, {}),
    "MaxPool 3-D": ([N("MaxPool", ["x"], ["y"], kernel_shape=[2, 2, 2], pads=[0, 1, 0, 1, 0, 1])], {"x": VOLUME}, {}),
    "MaxPool with indices": ([N("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2], strides=[2, 1])], {"x": IMAGE}, {}),
    "LpPool": ([N("LpPool", ["x"], ["y"], kernel_shape=[2, 3], p=3)], {"x": IMAGE}, {}),
    "GlobalLpPool": ([N("GlobalLpPool", ["x"], ["y"])], {"x": IMAGE}, {}),
    "LRN": ([N("LRN", ["x"], ["y"], size=3, alpha=0.3)], {"x": IMAGE}, {}),
    "GroupNormalization": (
        [N("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)],
        {"x": [2, 4, 3, 2]},
        {"s": w(4), "b": w(4)},
    ),
    "LayerNormalization": (
        [N("LayerNormalization", ["x", "s", "b"], ["y"], axis=2)],
        {"x": [2, 3, 4]},
        {"s": w(4), "b": w(4)},
    ),
    "RMSNormalization": ([N("RMSNormalization", ["x", "s"], ["y"])], {"x": [2, 3, 4]}, {"s": w(4)}),
    "LpNormalization": ([N("LpNormalization", ["x"], ["y"], p=1)], {"x": [2, 3, 4]}, {}),
    "PRelu": ([N("PRelu", ["x", "slope"], ["y"])], {"x": IMAGE}, {"slope": w(3, 1, 1)}),
    "Celu": ([N("Celu", ["x"], ["y"], alpha=0.7)], {"x": IMAGE}, {}),
    "Mish": ([N("Mish", ["x"], ["y"])], {"x": IMAGE}, {}),
    "Gelu tanh": ([N("Gelu", ["x"], ["y"], approximate="tanh")], {"x": IMAGE}, {}),
    "Erf": ([N("Erf", ["x"], ["y"])], {"x": IMAGE}, {}),
    "Tan": ([N("Tan", ["x"], ["y"])], {"x": [2, 3]}, {}),
    "Resize cubic": (
        [N("Resize", ["x", "", "", "sizes"], ["y"], mode="cubic", coordinate_transformation_mode="align_corners")],
        {"x": IMAGE},
        {"sizes": np.array([2, 3, 9, 4])},
    ),
    "Resize antialias": (
        [N("Resize", ["x", "", "scales"], ["y"], mode="linear", antialias=1)],
        {"x": IMAGE},
        {"scales": np.array([1, 1, 0.6, 0.5], np.float32)},
    ),
    "GridSample": (
        [N("GridSample", ["x", "grid"], ["y"], mode="cubic")],
        {"x": IMAGE},
        {"grid": np.tanh(w(2, 3, 2, 2))},
    ),
    "Einsum": ([N("Einsum", ["x", "w"], ["y"], equation="bij,kj->bik")], {"x": [2, 3, 4]}, {"w": w(5, 4)}),
    "Einsum diagonal": ([N("Einsum", ["x"], ["y"], equation="...ii->...i")], {"x": [2, 3, 3]}, {}),
    "Gemm": (
        [N("Gemm", ["x", "w", "b"], ["y"], transA=1, transB=1, alpha=0.5, beta=2.0)],
        {"x": [3, 2]},
        {"w": w(4, 3), "b": w(4)},
    ),
    "CumSum": ([N("CumSum", ["x", "axis"], ["y"], reverse=1, exclusive=1)], {"x": [2, 4, 3]}, {"axis": np.array(1)}),
    "ReduceLogSumExp": ([N("ReduceLogSumExp", ["x", "axes"], ["y"])], {"x": [2, 4, 3]}, {"axes": np.array([1])}),
    "ReduceMin": ([N("ReduceMin", ["x", "axes"], ["y"])], {"x": [2, 4, 3]}, {"axes": np.array([0, 2])}),
    "TopK": ([N("TopK", ["x", "k"], ["y", "i"])], {"x": [2, 5]}, {"k": np.array([2])}),
    "SoftmaxCrossEntropyLoss": (
        [N("SoftmaxCrossEntropyLoss", ["x", "labels", "w"], ["y"])],
        {"x": [2, 3, 4]},
        {"labels": np.array([[0, 1, 2, 1], [1, 1, 0, 2]]), "w": np.array([1.0, 2.0, 0.5])},
    ),
    "a chain in one layout": (
        [
            N("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
            N("Mul", ["a", "scale"], ["b"]),
            N("Concat", ["b", "x"], ["c"], axis=1),
            N("Transpose", ["c"], ["d"], perm=[0, 2, 1, 3]),
            N("ReduceSum", ["d", "axes"], ["e"], keepdims=0),
            N("Sigmoid", ["e"], ["y"]),
        ],
        {"x": IMAGE},
        {"w": w(4, 3, 3, 3), "scale": w(4, 1, 1), "axes": np.array([3])},
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_against_differences(name):
    """Every input and float weight, in float64, central differences along random directions."""
    nodes, inputs, weights = GRADIENTS[name]
    module = load_bytes(graph_model(nodes, inputs, weights), channels_last=False)
    rng = np.random.default_rng(3)
    (shape,) = inputs.values()
    x = Tensor(rng.permutation(np.prod(shape)).reshape(shape) / np.prod(shape) * 3.1 - 1.53, requires_grad=True)
    leaves = [x, *(p for p in module.parameters() if p.dtype == np.float64)]

    def first(y):
        return y[0] if isinstance(y, tuple) else y

    y = first(module(x))
    dy = rng.standard_normal(y.shape)
    y.backward(Tensor(dy))
    for leaf in leaves:
        assert leaf.grad is not None
        direction, eps, kept = rng.standard_normal(leaf.shape), 1e-6, leaf.data
        sides = []
        for sign in (1, -1):
            leaf.data = kept + sign * eps * direction
            sides.append((first(module(x)).numpy() * dy).sum())
        leaf.data = kept
        numeric = (sides[0] - sides[1]) / (2 * eps)
        assert (leaf.grad.numpy() * direction).sum() == pytest.approx(numeric, rel=2e-6, abs=2e-8)


def test_a_gradient_that_would_be_lost_is_refused():
    data = graph_model([N("Mul", ["x", "w"], ["a"]), N("Asin", ["a"], ["y"])], {"x": [2]}, {"w": np.array([0.1, 0.2])})
    module = load_bytes(data)
    x = Tensor(np.ones(2))
    with pytest.raises(UnsupportedOnnx, match=r"Asin \(ai.onnx 22\): has no gradient in dlkit, but weights behind it"):
        module(x)
    with dlkit.no_grad():
        np.testing.assert_allclose(module(x).numpy(), np.arcsin([0.1, 0.2]))


def test_a_definition_of_the_standard_stands_in_for_an_operator(rng):
    """Attention has no converter of its own; its definition by others computes and trains."""
    q = rng.standard_normal((1, 2, 3, 4)).astype(np.float32)
    data = graph_model(
        [N("Mul", ["q", "w"], ["v"]), N("Attention", ["q", "q", "v"], ["y"])],
        {"q": [1, 2, 3, 4]},
        {"w": np.ones(4)},
        dtype=np.float32,
        opset=23,
    )
    module = load_bytes(data, channels_last=False)
    y = module(Tensor(q))
    scores = q @ q.transpose(0, 1, 3, 2) / 2
    share = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(y.numpy(), share @ q, rtol=1e-5)
    y.sum().backward()
    expected = (share.sum(-2)[..., None] * q).sum((0, 1, 2))
    np.testing.assert_allclose(module.parameters()[0].grad.numpy(), expected, rtol=1e-4)


def test_a_function_of_the_models_own_stands_for_its_nodes():
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    scaled = helper.make_node("Elu", ["t"], ["out"])
    scaled.attribute.add(name="alpha", ref_attr_name="strength", type=1)
    body = helper.make_function(
        "own",
        "SquaredElu",
        ["a"],
        ["out"],
        [N("Mul", ["a", "a"], ["s"]), N("Neg", ["s"], ["t"]), scaled],
        opsets,
        ["strength"],
    )
    model = onnx.ModelProto.FromString(
        graph_model([N("SquaredElu", ["x"], ["m"], domain="own", strength=2.0), N("Neg", ["m"], ["y"])], {"x": [3]}, {})
    )
    model.opset_import.append(opsets[1])
    model.functions.append(body)
    x = np.array([0.5, -1.0, 2.0])
    y = load_bytes(model.SerializeToString())(Tensor(x)).numpy()
    np.testing.assert_allclose(y, -2 * np.expm1(-x * x), rtol=1e-12)


def test_without_the_package_onnx_one_line_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    (tmp_path / "m.onnx").write_bytes(b"x")
    with pytest.raises(OnnxError, match=r'pip install "dlkit\[onnx\]"'):
        load(tmp_path / "m.onnx")


def test_importing_dlkit_imports_no_onnx():
    import subprocess

    code = "import sys, dlkit, dlkit.train, dlkit.cli.main; print(any(m.split('.')[0] == 'onnx' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_follow_sees_the_tensors():
    seen = []
    x = Tensor([1.0, -2.0])
    with follow(lambda op, inputs, attributes, y: seen.append((op.name, inputs[0] is x, attributes, y.tolist()))):
        ops.leaky_relu(x, slope=0.5)
    ops.relu(x)
    assert seen == [("leaky_relu", True, {"slope": 0.5}, [1.0, -1.0])]
