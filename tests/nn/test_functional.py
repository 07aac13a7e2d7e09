"""Networks written on symbols: the graph runs as written, for any number of examples, and what does not fit is said at once."""

import numpy as np
import pytest

from dlkit import Tensor, layers, nn, ops
from dlkit.errors import ConfigError, ShapeError, UsageError
from dlkit.gradients.models import check_model
from dlkit.nn.plot import graph_svg
from dlkit.nn.summary import summarize


def images(rng, n=3, size=8, channels=3):
    return Tensor(rng.standard_normal((n, size, size, channels)).astype(np.float32))


def residual():
    """Two inputs, two outputs, a skip, a shared layer, constants, a reshape that counts examples."""
    x, extra = nn.Input((8, 8, 3)), nn.Input(5)
    conv = nn.Conv2d(3, 3, 3, padding="same", activation="tanh")
    y = conv(conv(x)) + x
    n, h, w, c = y.shape
    rows = nn.Linear(c, 5)(y.reshape(n * h * w, c)).reshape(n, h * w, 5)
    features = rows.mean(axis=1) * 2.0 + extra
    return nn.Model([x, extra], {"class": nn.Linear(5, 4)(features), "map": nn.Conv2d(3, 1, 1)(y)}), conv


def test_the_graph_computes_what_was_written(rng):
    model, conv = residual()
    for n in (1, 2, 7):
        x, extra = images(rng, n), rng.standard_normal((n, 5)).astype(np.float32)
        y = conv(conv(x)) + x
        rows = model.linear_1(y).numpy().reshape(n, 64, 5).mean(axis=1)
        expected = (2 * rows + extra) @ model.linear_2.weight.numpy() + model.linear_2.bias.numpy()
        out = model(x, Tensor(extra))
        assert list(out) == ["class", "map"]
        np.testing.assert_allclose(out["class"].numpy(), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(out["map"].numpy(), model.conv2d_2(y).numpy())


def test_names_follow_the_order_of_the_calls_and_a_shared_layer_has_one():
    model, conv = residual()
    assert [n for n, _ in model.named_parameters()] == [
        f"{layer}.{part}" for layer in ("conv2d_1", "linear_1", "linear_2", "conv2d_2") for part in ("weight", "bias")
    ]
    assert model.conv2d_1 is conv
    other, _ = residual()
    other.load_state_dict(model.state_dict())


def test_shapes_are_known_before_data_flow():
    x = nn.Input((9, 7, 2))
    y = nn.MaxPool2d(2)(nn.Conv2d(2, 6, 3, stride=2)(x))
    assert [*map(int, y.shape[1:])] == [2, 1, 6]
    assert str(y.shape) == "(N, 2, 1, 6)"
    assert str(ops.concat(y, y, axis=0).shape) == "(2N, 2, 1, 6)"
    assert ops.concat(y, y, axis=3).shape[3] == 12


def test_it_trains(rng):
    x = nn.Input((4,))
    hidden = nn.Linear(4, 8, activation="tanh")(x)
    model = nn.Model(x, nn.Linear(8, 1)(hidden + nn.Linear(8, 8)(hidden)))
    data = rng.standard_normal((32, 4)).astype(np.float32)
    target = data.sum(axis=1, keepdims=True)
    losses = []
    for _ in range(200):
        loss = nn.MSELoss()(model(Tensor(data)), target)
        model.zero_grad()
        loss.backward()
        losses.append(loss.item())
        for name, p in model.named_parameters():
            assert p.grad is not None, name
            p.data = Tensor(p.numpy() - 0.05 * p.grad.numpy()).data
    assert losses[-1] < 0.05 * losses[0]


def test_the_summary_counts_a_shared_layer_once():
    model, _ = residual()
    summary = model.summary(batch=2)
    assert summary.parameters == sum(row.parameters for row in summary.layers) == model.parameter_count()
    assert summary.flops == sum(row.flops for row in summary.layers)
    assert [row.name for row in summary.layers].count("conv2d_1") == 2
    assert "conv2d_1" in str(summary)


def test_a_constant_array_belongs_to_the_state_and_a_parameter_is_trained(rng):
    x = nn.Input(3)
    scale, offset = nn.Parameter(np.full(3, 2.0, np.float32)), np.arange(3, dtype=np.float32)
    model = nn.Model(x, x * scale + offset)
    values = rng.standard_normal((2, 3)).astype(np.float32)
    y = model(Tensor(values))
    np.testing.assert_array_equal(y.numpy(), values * 2 + offset)
    y.sum().backward()
    np.testing.assert_allclose(scale.grad.numpy(), values.sum(axis=0), rtol=1e-6)
    assert sorted(model.state_dict()) == ["add_1.constant1", "multiply_1.constant1"]
    model.astype(np.float64)
    assert model(Tensor(values.astype(np.float64))).dtype == np.float64


def test_integer_constants_and_indices_stay_what_they_are(rng):
    x = nn.Input((4, 3))
    model = nn.Model(x, x[:, np.array([2, 0])][:, :, 1:].reshape(x.shape[0], -1))
    values = rng.standard_normal((5, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(model(Tensor(values)).numpy(), values[:, [2, 0], 1:].reshape(5, 4))


def test_a_part_of_a_network_is_a_model_that_shares_its_weights(rng):
    x = nn.Input((8, 8, 3))
    features = nn.GlobalAvgPool2d()(nn.Conv2d(3, 6, 3)(x))
    whole, trunk = nn.Model(x, nn.Linear(6, 2)(features)), nn.Model(x, features)
    head = nn.Model(features, whole.linear_1(features))
    values = images(rng)
    np.testing.assert_array_equal(head(trunk(values)).numpy(), whole(values).numpy())
    assert trunk.conv2d_1 is whole.conv2d_1


def test_a_model_is_a_layer_of_another(rng):
    x = nn.Input(4)
    inner = nn.Model(x, [nn.Linear(4, 3)(x), x])
    a, b = nn.Input(4), nn.Input(4)
    first, second = inner(a), inner(b)
    outer = nn.Model([a, b], first[0] + second[0])
    assert [n for n, _ in outer.named_parameters()] == ["model_1.linear_1.weight", "model_1.linear_1.bias"]
    one, two = (Tensor(rng.standard_normal((2, 4)).astype(np.float32)) for _ in "ab")
    expected = inner.linear_1(one) + inner.linear_1(two)
    np.testing.assert_array_equal(outer(one, two).numpy(), expected.numpy())


def test_intermediate_values_are_let_go_in_inference(rng):
    x = nn.Input(3)
    y = x
    for _ in range(4):
        y = nn.Linear(3, 3)(y)
    model = nn.Model(x, y)
    freed = [slot for slots in model._last_use.values() for slot in slots]
    assert len(freed) == len(set(freed)) == 4  # the input and three of the four products


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (
            lambda x: nn.Conv2d(4, 8, 3)(x),
            ShapeError,
            r"Conv2d\(4, 8, 3×3\) on \(N, 8, 8, 3\) in test_functional.py:\d+: ",
        ),
        (
            lambda x: x + nn.Input((5, 5, 3)),
            ShapeError,
            r"shapes \(N, 8, 8, 3\) and \(N, 5, 5, 3\) .* \(in test_func.*:\d+\)",
        ),
        (
            lambda x: nn.Sequential(nn.Flatten(), nn.Linear(5, 2))(x),
            ShapeError,
            r"Linear\(5, 2\) on \(N, 8, 8, 3\) in .*: linear: x has shape \(N, 192\)",
        ),
        (lambda x: nn.Model(x, nn.Input(3)), ConfigError, "an Input of shape .* not among the inputs"),
        (
            lambda x: nn.Model([x, nn.Input(3)], x.relu()),
            ConfigError,
            r"no output depends on the input of shape \(N, 3\)",
        ),
        (lambda x: nn.Model(x, np.zeros(3)), ConfigError, "outputs must be symbols"),
        (lambda x: nn.Model([], x), ConfigError, "inputs must be symbols"),
        (lambda x: nn.Input((3, 0)), ShapeError, "positive sizes"),
        (lambda x: ops.dropout(x, 0.5), ConfigError, "use nn.Dropout"),
        (lambda x: x.numpy(), UsageError, "has no values"),
        (lambda x: list(x), UsageError, "has no values"),
        (
            lambda x: nn.Model(x, x.relu())(Tensor(np.zeros((2, 8, 7, 3)))),
            ShapeError,
            r"\(N, 8, 8, 3\); given: \(N, 8, 7, 3\)",
        ),
    ],
)
def test_what_does_not_fit_is_said_where_it_is_written(build, error, message):
    with pytest.raises(error, match=message):
        build(nn.Input((8, 8, 3)))


def test_layers_find_their_input_sizes():
    x = layers.Input((8, 8, 3))
    conv = layers.Conv2d(4, 3, padding="same", activation="relu")
    y = layers.BatchNorm2d()(conv(x))
    model = layers.Model(x, layers.Linear(10)(layers.Flatten()(y)))
    assert model.conv2d_1.weight.shape == (3, 3, 3, 4)
    assert model.linear_1.weight.shape == (256, 10)
    assert conv.made_for(y) is model.conv2d_1  # called again it is the same layer
    with pytest.raises(ShapeError, match="x has 4 channels"):
        conv(y)


def test_every_deferred_layer_equals_the_one_that_is_told():
    x = nn.Input((6, 6, 4))
    given = {
        layers.Conv2d(5, 3, stride=2, bias=False): nn.Conv2d(4, 5, 3, stride=2, bias=False),
        layers.ConvTranspose2d(5, 2, stride=2): nn.ConvTranspose2d(4, 5, 2, stride=2),
        layers.Linear(7, activation="tanh"): nn.Linear(4, 7, activation="tanh"),
        layers.BatchNorm2d(eps=1e-3): nn.BatchNorm2d(4, eps=1e-3),
        layers.BatchNorm1d(): nn.BatchNorm1d(4),
        layers.LayerNorm(): nn.LayerNorm(4),
        layers.InstanceNorm2d(affine=False): nn.InstanceNorm2d(4, affine=False),
        layers.GroupNorm(2): nn.GroupNorm(2, 4),
    }
    for deferred, told in given.items():
        assert deferred(x).shape == told(x).shape
        assert repr(deferred.layer) == repr(told)


def test_a_sequential_that_begins_with_an_input_finds_its_sizes(rng):
    model = nn.Sequential(nn.Input((8, 8, 1)), layers.Conv2d(4, 3), layers.Flatten(), layers.Linear(10))
    assert [n for n, _ in model.named_parameters()] == [f"layers.{i}.{p}" for i in (0, 2) for p in ("weight", "bias")]
    assert model(images(rng, channels=1)).shape == (3, 10)
    with pytest.raises(ShapeError, match="a window of 9 does not fit into 8"):
        nn.Sequential(nn.Input((8, 8, 1)), layers.Conv2d(4, 9))
    with pytest.raises(ConfigError, match="does not know its input yet; begin with Input"):
        nn.Sequential(layers.Linear(3))
    with pytest.raises(ConfigError, match="only be the first"):
        nn.Sequential(nn.ReLU(), nn.Input(3))


def test_a_deferred_layer_takes_no_data(rng):
    with pytest.raises(ConfigError, match=r"Linear\(3\) takes its input size from a symbol, Tensor given"):
        layers.Linear(3)(images(rng))


def test_the_namespace_has_all_of_nn_and_nothing_else():
    assert set(layers.__all__) == set(nn.__all__)
    assert layers.MaxPool2d is nn.MaxPool2d
    with pytest.raises(AttributeError, match="no attribute 'Dense'"):
        _ = layers.Dense


def test_the_picture_has_a_box_for_each_call_and_an_arrow_for_each_value():
    model, _ = residual()
    svg = graph_svg(model, model.input_shapes)
    steps = len(model._steps)
    assert svg.count("<rect x=") == steps + 2 + 2  # and the inputs and outputs
    reads = sum(len(step.inputs) for step in model._steps)
    assert svg.count('marker-end="url(#arrow)"') == reads + 2
    import xml.etree.ElementTree as ElementTree

    texts = [t.text for t in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert "conv2d_1: 8×8×3" in texts


def test_boxes_of_a_row_do_not_overlap_and_edges_lead_down():
    from dlkit.nn.layered import layered

    widths = [50.0, 80, 120, 60, 40, 70]
    edges = [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (0, 5), (3, 5), (4, 5)]
    layout = layered(widths, edges, gap=20)
    for i in range(6):
        for j in range(i):
            if layout.row[i] == layout.row[j]:
                assert abs(layout.x[i] - layout.x[j]) >= (widths[i] + widths[j]) / 2 + 20 - 1e-6
    for (a, b), path in layout.paths.items():
        assert [row for _, row in path] == list(range(layout.row[a], layout.row[b] + 1))


def test_a_model_passes_the_gradient_check_and_leaves_no_data_behind(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "from dlkit.layers import *\n"
        "def build(input_shape, classes):\n"
        "    x = Input(input_shape)\n"
        "    y = Conv2d(3, 3, padding='same', activation='tanh')(x)\n"
        "    return Model(x, Linear(classes)(GlobalAvgPool2d()(y + Conv2d(3, 1)(x))))\n"
    )
    report = check_model(f"{file}:build", backends=["reference"])
    assert report.passed, report
    assert report.elements > 20


def test_plain_meta_runs_are_not_recorded():
    assert type(summarize(nn.Linear(3, 2), (3,))).__name__ == "Summary"
    with pytest.raises(ConfigError, match="must be symbols"):
        nn.Model(nn.Input(3), nn.Linear(3, 2)(Tensor(np.zeros((1, 3), np.float32))))
