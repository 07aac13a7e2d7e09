"""The published networks: sizes and costs as published, small and large images, every head, ONNX, and what training needs."""

from itertools import pairwise

import numpy as np
import pytest

from dlkit import Tensor, nn, random
from dlkit.models import MODELS, build_model
from dlkit.nn.summary import run_on_shapes, summarize
from dlkit.onnx import export, load
from dlkit.ops.op import observe

# name, options, pixels each way, classes, parameters, billions of multiply-adds in convolutions and linear layers
PUBLISHED = [
    ("alexnet", {}, 224, 1000, 61_100_840, 0.714),
    ("vgg11", {}, 224, 1000, 132_863_336, 7.61),
    ("vgg11", {"batch_norm": True}, 224, 1000, 132_868_840, 7.61),
    ("vgg13", {}, 224, 1000, 133_047_848, 11.31),
    ("vgg13", {"batch_norm": True}, 224, 1000, 133_053_736, 11.31),
    ("vgg16", {}, 224, 1000, 138_357_544, 15.47),
    ("vgg16", {"batch_norm": True}, 224, 1000, 138_365_992, 15.47),
    ("vgg19", {}, 224, 1000, 143_667_240, 19.63),
    ("vgg19", {"batch_norm": True}, 224, 1000, 143_678_248, 19.63),
    ("resnet18", {}, 224, 1000, 11_689_512, 1.81),
    ("resnet34", {}, 224, 1000, 21_797_672, 3.66),
    ("resnet50", {}, 224, 1000, 25_557_032, 4.09),  # 3.8 with the stride in the first 1×1, as in the paper
    ("resnet101", {}, 224, 1000, 44_549_160, 7.80),
    ("resnet20", {}, 32, 10, 269_722, 0.0406),  # 0.27 M, 0.46 M, 0.85 M in the paper's table 6
    ("resnet32", {}, 32, 10, 464_154, 0.0689),
    ("resnet56", {}, 32, 10, 853_018, 0.1255),
    ("inception_v1", {}, 224, 1000, 6_624_904, 1.50),
    ("inception_v1", {"auxiliary": True}, 224, 1000, 13_004_888, None),
    ("inception_v3", {}, 299, 1000, 23_834_568, 5.71),
    ("inception_v3", {"auxiliary": True}, 299, 1000, 27_161_264, None),
    ("mobilenet_v1", {}, 224, 1000, 4_231_976, 0.569),  # 4.2 M and 569 million in the paper's table 4
    ("mobilenet_v1", {"width": 16}, 224, 1000, 1_331_592, 0.149),  # 1.3 M and 149 million in its table 6
    ("mobilenet_v2", {}, 224, 1000, 3_504_872, 0.301),  # 3.4 M and 300 million in the paper's table 4
]
ZOO = [name for name, m in MODELS.items() if m.shrunk]


def multiply_adds(model, shape):
    total = 0

    def on_op(op, shapes, attributes, output, dtype):
        nonlocal total
        total += op.flops(shapes, attributes) // 2 if op.name in ("conv2d", "conv_transpose2d", "linear") else 0

    run_on_shapes(model, shape, ("float32",), observe(on_op))
    return total


@pytest.mark.parametrize(("name", "options", "side", "classes", "parameters", "billions"), PUBLISHED, ids=str)
def test_sizes_and_costs_are_the_published_ones(name, options, side, classes, parameters, billions):
    with nn.undrawn():
        model = build_model(name, (side, side, 3), classes, **options)
    assert model.parameter_count() == parameters
    if billions is not None:
        assert multiply_adds(model, (side, side, 3)) / 1e9 == pytest.approx(billions, rel=0.005)


def test_every_published_network_has_its_size_here():
    assert set(ZOO) - {"unet"} <= {name for name, *_ in PUBLISHED}


def test_unet_has_the_layers_of_its_figure():
    """23 convolutions; the paper counts no parameters, so they are counted here from its figure."""
    down, up = [1, 64, 128, 256, 512, 1024], [1024, 512, 256, 128, 64]
    filters = sum(9 * a * b + b + 9 * b * b + b for a, b in pairwise(down))
    filters += sum(4 * a * b + b + 9 * a * b + b + 9 * b * b + b for a, b in pairwise(up))
    with nn.undrawn():
        model = build_model("unet", (512, 512, 1), 2)
    assert model.parameter_count() == filters + 64 * 2 + 2
    convolutions = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert len(convolutions) == 23


def test_undrawn_weights_have_shapes_and_no_values():
    with nn.undrawn():
        model = build_model("resnet18", (32, 32, 3), 10)
    drawn = build_model("resnet18", (32, 32, 3), 10)
    assert [(n, p.shape) for n, p in model.named_parameters()] == [(n, p.shape) for n, p in drawn.named_parameters()]
    assert model.conv1.weight.device == "meta"
    assert summarize(model, (32, 32, 3)).to_dict() == summarize(drawn, (32, 32, 3)).to_dict()


@pytest.mark.parametrize("name", [n for n in ZOO if n not in ("resnet34", "resnet101", "vgg13", "vgg19")])
def test_large_images_too(name, rng):
    """224×224, the sizes that the published stems are made for: forward, backward, every parameter gets a gradient."""
    model = build_model(name, (224, 224, 3), 5, **MODELS[name].shrunk)
    x = Tensor(rng.standard_normal((2, 224, 224, 3)).astype(np.float32))
    y = model(x)
    nn.CrossEntropyLoss()(y.reshape(-1, 5), rng.integers(0, 5, y.size // 5)).backward()
    for parameter, p in model.named_parameters():
        assert p.grad is not None, parameter
        assert np.isfinite(p.grad.numpy()).all(), parameter


@pytest.mark.parametrize(("name", "heads"), [("inception_v1", 3), ("inception_v3", 2)])
@pytest.mark.parametrize("side", [32, 224])
def test_auxiliary_heads_are_there_while_training(name, heads, side):
    with nn.undrawn():
        model = build_model(name, (side, side, 3), 7, auxiliary=True)
        plain = build_model(name, (side, side, 3), 7)
    y = run_on_shapes(model, (side, side, 3))
    assert [scores.shape for scores in y] == [(1, 7)] * heads
    assert run_on_shapes(plain, (side, side, 3)).shape == (1, 7)
    inference = model.eval()(Tensor.wrap(_meta((2, side, side, 3)), "meta"))
    assert inference.shape == (2, 7)


def _meta(shape):
    from dlkit.backends.meta import MetaArray

    return MetaArray(shape)


def test_auxiliary_heads_train_with_the_trunk(rng):
    model = build_model("inception_v1", (32, 32, 3), 4, width=4, auxiliary=True)
    x = Tensor(rng.standard_normal((4, 32, 32, 3)).astype(np.float32))
    loss = nn.MultiTaskLoss([nn.CrossEntropyLoss()] * 3, weights=[1.0, 0.3, 0.3])
    loss(model(x), [np.arange(4)] * 3).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name


@pytest.mark.parametrize(
    ("name", "small", "large"),
    [("resnet18", 3, 7), ("resnet50", 3, 7), ("mobilenet_v2", 3, 3), ("inception_v1", 3, 7), ("alexnet", 5, 11)],
)
def test_small_images_keep_more_pixels(name, small, large):
    """Below 64 pixels the first two halvings are left out: 4×4 pixels are left of 32×32, as 7×7 of 224×224."""
    with nn.undrawn():
        models = {side: build_model(name, (side, side, 3), 10) for side in (32, 224)}
    for side, filters, left in ((32, small, 4), (224, large, 7)):
        first = next(m for m in models[side].modules() if isinstance(m, nn.Conv2d))
        assert first.weight.shape[0] == filters
        if name != "alexnet":
            pooled = [row for row in summarize(models[side], (side, side, 3)).layers if "conv" in row.name]
            assert pooled[-1].output[0] == left


@pytest.mark.parametrize("name", ZOO)
def test_exported_networks_answer_alike(name, tmp_path):
    side = MODELS[name].smallest
    with random.using(np.random.default_rng(1)):
        model = build_model(name, (side, side, 3), 5, **MODELS[name].shrunk).eval()
    export(model, (side, side, 3), tmp_path / "model.onnx")
    x = Tensor(np.random.default_rng(2).standard_normal((2, side, side, 3)).astype(np.float32))
    expected, again = model(x).numpy(), load(tmp_path / "model.onnx").eval()(x).numpy()
    if MODELS[name].task == "segment":
        again = again if again.shape == expected.shape else again.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
