"""Layers against formulas written here, and against what they must do in training and inference."""

import numpy as np
import pytest

from dlkit import Tensor, nn, ops, random
from dlkit.errors import ConfigError
from dlkit.nn.init import INITS, fans_of


def t(x):
    return Tensor(np.asarray(x, np.float32))


def test_linear_is_x_w_plus_b(rng):
    layer = nn.Linear(3, 2)
    layer.bias.data[:] = [1, -1]
    x = rng.standard_normal((4, 3)).astype(np.float32)
    np.testing.assert_allclose(layer(t(x)).numpy(), x @ layer.weight.numpy() + [1, -1], rtol=1e-5)


@pytest.mark.parametrize("activation", nn.ACTIVATIONS)
def test_an_activation_inside_a_layer_equals_one_behind_it(activation, rng):
    with random.using(np.random.default_rng(0)):
        inside = nn.Linear(5, 4, activation=activation, init="he_normal")
    with random.using(np.random.default_rng(0)):
        behind = nn.Sequential(nn.Linear(5, 4, init="he_normal"), nn.Activation(activation))
    x = t(rng.standard_normal((3, 5)))
    np.testing.assert_allclose(inside(x).numpy(), behind(x).numpy(), rtol=1e-5, atol=1e-6)


def test_batch_norm_running_averages_follow_the_definition(rng):
    layer = nn.BatchNorm2d(3, momentum=0.3)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(4):
        x = 2 * rng.standard_normal((5, 2, 4, 3)).astype(np.float32) + 1
        layer(t(x))
        rows = x.reshape(-1, 3).astype(np.float64)
        mean = 0.7 * mean + 0.3 * rows.mean(0)
        var = 0.7 * var + 0.3 * rows.var(0, ddof=1)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-4)
    np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-4)
    layer.eval()
    x = rng.standard_normal((2, 1, 1, 3))
    np.testing.assert_allclose(layer(t(x)).numpy(), (x - mean) / np.sqrt(var + 1e-5), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-4)  # inference does not move them


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ["relu", "relu6", "leaky_relu", "tanh", None])
def test_batch_norm_adds_a_residual_before_its_activation(rng, activation, training):
    fused, plain = (
        nn.BatchNorm2d(3, activation=activation, slope=0.2).train(training),
        nn.BatchNorm2d(3).train(training),
    )
    x, r = t(rng.standard_normal((5, 4, 4, 3))), t(4 * rng.standard_normal((5, 4, 4, 3)))
    y = plain(x) + r
    options = {"slope": 0.2} if activation == "leaky_relu" else {}
    if activation == "relu6":
        y = ops.clip(y, 0.0, 6.0)
    elif activation is not None:
        y = ops.OPS[activation](y, **options)
    np.testing.assert_allclose(fused(x, r).numpy(), y.numpy(), rtol=1e-5, atol=1e-5)


def test_dropout_drops_scales_and_rests_at_inference():
    layer, x = nn.Dropout(0.3), t(np.ones((200, 200)))
    with random.using(np.random.default_rng(0)):
        y = layer(x).numpy()
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.7)}
    assert abs((y == 0).mean() - 0.3) < 0.01
    assert layer.eval()(x) is x


def test_dropout_follows_the_generator_in_force():
    layer, x = nn.Dropout(0.5), t(np.ones((8, 8)))

    def draw(seed):
        with random.using(np.random.default_rng(seed)):
            return layer(x).numpy()

    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))


def test_upsample_pad_and_pool_shapes(rng):
    x = t(rng.standard_normal((2, 4, 6, 3)))
    assert nn.Upsample(2)(x).shape == (2, 8, 12, 3)
    assert nn.Upsample((1, 3), "bilinear")(x).shape == (2, 4, 18, 3)
    assert nn.Pad2d((1, 0, 2, 3), "reflect")(x).shape == (2, 5, 11, 3)
    assert nn.GlobalAvgPool2d()(x).shape == (2, 3)
    assert nn.MaxPool2d(2)(x).shape == nn.AvgPool2d(2)(x).shape == (2, 2, 3, 3)
    assert nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1)(x).shape == (2, 8, 12, 5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(2, 2, activation="swish"),
        lambda: nn.Linear(2, 2, init="xavier"),
        lambda: nn.Conv2d(3, 4, 3, groups=2),
        lambda: nn.Conv2d(3, 4, 0),
        lambda: nn.Dropout(1.0),
        lambda: nn.Upsample(2, "cubic"),
        lambda: nn.Activation("rely"),
    ],
)
def test_nonsense_is_refused_when_the_layer_is_made(make):
    with pytest.raises(ConfigError):
        make()


# -- initial weights --------------------------------------------------------------------------------------------------


def test_fans_of_linear_and_filters():
    assert fans_of((30, 20)) == (30, 20)
    assert fans_of((3, 5, 4, 8)) == (3 * 5 * 4, 3 * 5 * 8)


def test_flatten_of_no_examples():
    assert nn.Flatten()(Tensor(np.zeros((0, 4, 4, 3), np.float32))).shape == (0, 48)


@pytest.mark.parametrize(
    ("layer", "channels"),
    [
        (lambda: nn.Conv2d(256, 16, 3, activation="relu"), 256),
        (lambda: nn.Conv2d(64, 64, 3, groups=64, activation="relu"), 64),
        (lambda: nn.ConvTranspose2d(256, 16, 3), 256),
        (lambda: nn.ConvTranspose2d(16, 256, 3), 16),
        (lambda: nn.ConvTranspose2d(256, 16, 4, stride=2), 256),
        (lambda: nn.ConvTranspose2d(64, 32, 2, stride=2, groups=4), 64),
    ],
)
def test_he_keeps_the_variance_through_every_convolution(layer, channels, rng):
    """Twice the variance of the input, which a ReLU halves; away from the border, which has fewer inputs."""
    with random.using(rng):
        made = layer()
    made.activation = made._fused = None
    y = made(Tensor(rng.standard_normal((4, 24, 24, channels)).astype(np.float32))).numpy()
    assert y[:, 4:-4, 4:-4].var() == pytest.approx(2, rel=0.2)


def test_xavier_of_groups_counts_what_one_input_feeds(rng):
    w = nn.Conv2d(256, 512, 3, groups=64, activation="tanh", rng=rng).weight.numpy()
    assert w.var() == pytest.approx(2 / (9 * 4 + 9 * 8), rel=0.05)


@pytest.mark.parametrize(
    ("rule", "variance"),
    [
        ("zeros", 0.0),
        ("normal", 1e-4),
        ("xavier_uniform", 2 / (200 + 300)),
        ("xavier_normal", 2 / (200 + 300)),
        ("he_uniform", 2 / 200),
        ("he_normal", 2 / 200),
        ("lecun_uniform", 1 / (3 * 200)),
    ],
)
def test_variance_of_each_rule(rule, variance, rng):
    w = INITS[rule]((200, 300), rng)
    assert w.var() == pytest.approx(variance, rel=0.05)
    assert abs(w.mean()) < 4 * np.sqrt(variance / w.size) + 1e-12


def test_every_rule_is_tested():
    tested = {"zeros", "normal", "xavier_uniform", "xavier_normal", "he_uniform", "he_normal", "lecun_uniform"}
    assert set(INITS.names()) == tested


def test_he_keeps_the_variance_through_deep_relu_networks(rng):
    """The claim of He et al. 2015: after 30 layers the signal is neither gone nor exploded; the small normal dies."""
    x = rng.standard_normal((64, 256))

    def spread(rule):
        y = t(x)
        for _ in range(30):
            y = nn.Linear(256, 256, bias=False, activation="relu", init=rule, rng=rng)(y)
        return float(y.numpy().std())

    assert 0.1 < spread("he_normal") < 10
    assert spread("normal") < 1e-10


# -- losses ------------------------------------------------------------------------------------------------------------


def test_cross_entropy_takes_labels_or_probabilities(rng):
    logits, labels = t(rng.standard_normal((5, 4))), rng.integers(0, 4, 5)
    weight = np.array([1.0, 2.0, 0.5, 1.0])
    loss = nn.CrossEntropyLoss(weight, 0.1, "sum")
    one_hot = np.eye(4, dtype=np.float32)[labels]
    assert loss(logits, labels).item() == pytest.approx(loss(logits, t(one_hot)).item(), rel=1e-5)


def test_weighted_mean_divides_by_the_weights_of_the_labels(rng):
    z, labels, w = rng.standard_normal((6, 3)), np.array([0, 0, 0, 0, 1, 2]), np.array([0.1, 3.0, 1.0])
    logp = z - np.log(np.exp(z).sum(1, keepdims=True))
    expected = -(w[labels] * logp[range(6), labels]).sum() / w[labels].sum()
    assert nn.CrossEntropyLoss(w)(t(z), labels).item() == pytest.approx(expected, rel=1e-5)


def test_l2_penalty_counts_weights_only():
    layer = nn.Linear(2, 2)
    layer.weight.data[:] = [[1, 2], [3, 4]]
    layer.bias.data[:] = 100
    assert nn.l2_penalty(layer.parameters(), 0.1).item() == pytest.approx(0.05 * 30)
