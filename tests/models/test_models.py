"""Every registered model: builds, gives every parameter a gradient, saves and loads, refuses what it cannot take."""

import numpy as np
import pytest

import dlkit
from dlkit import Tensor, nn, random
from dlkit.errors import ConfigError
from dlkit.models import MODELS, build_model
from dlkit.nn.summary import summarize

SHAPES = {"logistic": [(7,), (5, 4, 2)], "shallow": [(7,), (5, 4, 2)], "mlp": [(7,), (5, 4, 2)]}
IMAGES = [(28, 28, 1), (32, 32, 3)]
SMALLEST = {name: (m.smallest, m.smallest + 3, 2) for name, m in MODELS.items()}
CASES = [(name, shape) for name in MODELS for shape in SHAPES.get(name, [*IMAGES, SMALLEST[name]])]
ZOO = [name for name, m in MODELS.items() if m.shrunk]


def make(name, shape, seed=0, **options):
    """A network with 5 classes, shrunken where it is a large one."""
    with random.using(np.random.default_rng(seed)):
        return build_model(name, shape, 5, **{**MODELS[name].shrunk, **options})


def output_shape(name, shape, batch):
    return (batch, 5) if MODELS[name].task == "classify" else (batch, *shape[:2], 5)


@pytest.mark.parametrize(("name", "shape"), CASES, ids=str)
def test_every_parameter_gets_a_gradient(name, shape, rng):
    model = make(name, shape)
    x = Tensor(rng.standard_normal((6, *shape)).astype(np.float32))
    logits = model(x)
    assert logits.shape == output_shape(name, shape, 6)
    labels = rng.integers(0, 5, logits.shape[:-1])
    nn.CrossEntropyLoss()(logits.reshape(-1, 5), labels.reshape(-1)).backward()
    for parameter, p in model.named_parameters():
        assert p.grad is not None, parameter
        assert p.grad.shape == p.shape
        if name != "logistic" or parameter.endswith("bias"):
            assert np.abs(p.grad.numpy()).max() > 0, parameter


@pytest.mark.parametrize(("name", "shape"), CASES, ids=str)
def test_shapes_are_known_before_any_data_flows(name, shape, rng):
    model = make(name, shape)
    summary = summarize(model, shape)
    assert summary.parameters == sum(p.size for p in model.parameters())
    assert summary.parameters == sum(layer.parameters for layer in summary.layers)
    assert summary.flops == sum(layer.flops for layer in summary.layers) > 0
    outputs = {}
    names = {id(m): n for n, m in model.named_modules()}
    with dlkit.no_grad(), nn.observe_modules(lambda m, x, y: outputs.setdefault(names[id(m)], y.shape[1:])):
        model(Tensor(rng.standard_normal((2, *shape)).astype(np.float32)))
    for layer in summary.layers:
        assert layer.output == outputs[layer.name], layer


@pytest.mark.parametrize("name", MODELS.names())
def test_weights_round_trip(name, rng):
    shape = SHAPES.get(name, [SMALLEST[name]])[0]
    a, b = (
        make(name, shape, 0, **({} if name != "logistic" else {"init": "normal"})).eval(),
        make(name, shape, 1).eval(),
    )
    x = Tensor(rng.standard_normal((2, *shape)).astype(np.float32))
    assert not np.array_equal(a(x).numpy(), b(x).numpy())
    b.load_state_dict(a.state_dict())
    np.testing.assert_array_equal(a(x).numpy(), b(x).numpy())


def test_the_seed_decides_the_weights():
    a, b, c = (make("mlp", (9,), seed).state_dict()["layers.1.weight"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_published_parameter_counts():
    assert make("lenet5", (32, 32, 1)).parameter_count() == 61_706 - 84 * 5 - 5  # ten classes in the paper, five here
    assert build_model("mlp", (28, 28, 1), 10, hidden=(256, 128)).parameter_count() == 235_146


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("lenet5", (10, 10, 1), {}, "at least 12×12"),
        ("cnn", (7,), {}, "needs images"),
        ("resnet20", (2, 2, 3), {}, "at least 4×4"),
        ("mlp", (3,), {"width": 3}, "has no option 'width'"),
        ("shallow", (3,), {"hidden": (3, 4)}, "one hidden layer"),
        ("lenet5", (28, 28, 1), {"pool": "mean"}, "unknown pool 'mean'"),
        ("mlp", (3,), {"activation": "rely"}, "unknown activation"),
        ("mlp", (3,), {"init": "hee"}, "unknown initialisation"),
        ("vgg", (3,), {}, "unknown model 'vgg'"),
        ("resnet18", (7,), {}, "needs images"),
        ("vgg16", (32, 32, 3), {"activation": "tanh"}, "has no option 'activation'; its options are width, dropout"),
        ("inception_v3", (12, 40, 3), {}, "at least 16×16 pixels; these are 12×40"),
        ("unet", (8, 8, 3), {}, "at least 16×16"),
    ],
)
def test_what_a_model_cannot_take_is_refused(name, shape, options, message):
    with pytest.raises(ConfigError, match=message):
        build_model(name, shape, 5, **options)


def test_training_mode_and_inference_mode_differ_only_where_they_should(rng):
    model = make("cnn", (16, 16, 1))
    x = Tensor(rng.standard_normal((4, 16, 16, 1)).astype(np.float32))
    first, second = model(x).numpy(), model(x).numpy()
    assert not np.array_equal(first, second)  # dropout
    model.eval()
    np.testing.assert_array_equal(model(x).numpy(), model(x).numpy())
    one = model(Tensor(x.numpy()[:1])).numpy()
    np.testing.assert_allclose(model(x).numpy()[:1], one, rtol=1e-4, atol=1e-5)  # no batch statistics at inference
