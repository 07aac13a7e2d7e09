"""Saliency and Grad-CAM against their formulas on networks small enough to see through, and on a planted patch."""

import numpy as np
import pytest

from dlkit import Tensor, nn, ops, random
from dlkit.errors import ConfigError, ShapeError
from dlkit.models import MODELS, build_model
from dlkit.nn import Input, Model
from dlkit.optim import Adam
from dlkit.visualize import explain, feature_maps
from dlkit.visualize.colours import enlarged, overlaid, resized, shades
from dlkit.visualize.layers import chosen, stages


def test_saliency_of_a_linear_network_is_its_weights(rng):
    model = build_model("logistic", (4, 5, 3), 6)
    weight = rng.standard_normal((60, 6)).astype(np.float32)
    model.load_state_dict({"layers.1.weight": weight, "layers.1.bias": np.zeros(6, np.float32)})
    found = explain(model, Tensor(rng.standard_normal((1, 4, 5, 3)).astype(np.float32)), 2)
    np.testing.assert_allclose(found.saliency, np.abs(weight[:, 2].reshape(4, 5, 3)).max(axis=2), rtol=1e-6)
    assert found.cam is None
    assert found.layer is None


def test_saliency_is_the_slope_measured_by_differences(rng):
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, activation="tanh", rng=rng),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(4 * 4 * 3, 3, rng=rng),
    ).astype(np.float64)
    x = rng.standard_normal((1, 6, 5, 2))
    found = explain(model, Tensor(x), 1).saliency
    with nn.inference(model):
        slopes = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[i] = 1e-6
            up, down = (model(Tensor(x + s * step)).numpy()[0, 1] for s in (1, -1))
            slopes[i] = (up - down) / 2e-6
    np.testing.assert_allclose(found, np.abs(slopes[0]).max(axis=2), atol=1e-8)


def test_grad_cam_is_the_weighted_sum_of_the_maps(rng):
    """Behind global average pooling and one linear layer the weight of map c is w[c, k] / (H·W), whatever the image."""
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, activation="relu", rng=rng), nn.GlobalAvgPool2d(), nn.Linear(5, 4, rng=rng)
    ).astype(np.float64)
    x = Tensor(rng.standard_normal((1, 8, 9, 3)))
    maps = feature_maps(model, x)["layers.0"].numpy()[0]
    weight = model[2].weight.numpy()
    for k in range(4):
        expected = np.maximum(0, sum(weight[c, k] / (6 * 7) * maps[..., c] for c in range(5)))
        np.testing.assert_allclose(explain(model, x, k).cam, expected, atol=1e-12)


def test_grad_cam_of_an_inner_layer_follows_the_chain_rule(rng):
    """A linear network: the slope at the first layer's maps is the second convolution's transpose."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 1, rng=rng), nn.Conv2d(2, 3, 1, rng=rng), nn.GlobalAvgPool2d(), nn.Linear(3, 2, rng=rng)
    ).astype(np.float64)
    x = Tensor(rng.standard_normal((1, 4, 4, 1)))
    inner = feature_maps(model, x)["layers.0"].numpy()[0]
    alpha = model[1].weight.numpy()[0, 0] @ model[3].weight.numpy()[:, 1] / 16
    found = explain(model, x, 1, "layers.0")
    np.testing.assert_allclose(found.cam, np.maximum(inner @ alpha, 0), atol=1e-12)
    assert found.layer == "layers.0"


def patches(rng, count, size=16):
    """Noise, in half of the images with a bright 4×4 patch: its corner is where, or (-1, -1)."""
    x = 0.3 * rng.standard_normal((count, size, size, 1)).astype(np.float32)
    where = np.full((count, 2), -1)
    for i in range(0, count, 2):
        r, c = where[i] = rng.integers(0, size - 4, 2)
        x[i, r : r + 4, c : c + 4] += 1.5
    return x, where


def test_the_patch_that_decides_the_class_lights_up(rng):
    with random.using(np.random.default_rng(1)):
        model = build_model("cnn", (16, 16, 1), 2, width=4, dropout=0.0)
    optimizer, loss = Adam(model.parameters(), lr=0.01), nn.CrossEntropyLoss()
    for _ in range(60):
        x, where = patches(rng, 32)
        value = loss(model(Tensor(x)), (where[:, 0] >= 0).astype(int))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    x, where = patches(rng, 40)
    with nn.inference(model):
        right = model(Tensor(x)).numpy().argmax(axis=1) == (where[:, 0] >= 0)
    assert right.mean() > 0.95
    inside, salient = [], []
    for image, (r, c) in zip(x[::2], where[::2]):
        found = explain(model, Tensor(image[None]), 1)
        heat = resized(found.cam, (16, 16))
        y, z = np.unravel_index(heat.argmax(), heat.shape)
        inside.append(r - 2 <= y < r + 6 and c - 2 <= z < c + 6)  # a map's cell is 4 pixels wide
        near = found.saliency[max(r - 2, 0) : r + 6, max(c - 2, 0) : c + 6]
        salient.append(near.mean() / found.saliency.mean())
    assert np.mean(inside) > 0.75  # a quarter by chance
    assert np.mean(salient) > 2


CLASSIFIERS = [name for name, m in MODELS.items() if m.task == "classify"]


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_registered_model_is_explained(name, channels, rng):
    with random.using(np.random.default_rng(0)):
        model = build_model(name, (32, 32, channels), 5, **MODELS[name].shrunk)
    x = Tensor(rng.standard_normal((1, 32, 32, channels)).astype(np.float32))
    found = explain(model, x, 3)
    assert found.saliency.shape == (32, 32)
    assert found.saliency.max() > 0 or name == "logistic"  # whose weights begin at 0
    convolutions = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    maps = feature_maps(model, x)
    assert (found.cam is not None) == bool(convolutions)
    if convolutions:
        assert found.cam.min() >= 0
        assert found.cam.shape == maps[found.layer].shape[1:3]
        sizes = [maps[n].shape[1:3] for n in stages(maps)]
        assert len(set(sizes)) == len(sizes) >= 2
    assert all(p.grad is None for p in model.parameters())  # a look leaves no trace
    assert all(m.training for m in model.modules())


def test_a_network_written_the_functional_way(rng):
    x = Input((12, 12, 3))
    a = nn.Conv2d(3, 4, 3, padding="same", activation="relu")(x)
    b = ops.max_pool2d(ops.relu(a + nn.Conv2d(4, 4, 3, padding="same")(a)), kernel=2)
    c = nn.Conv2d(4, 6, 3, padding="same", activation="relu")(b)
    model = Model(x, nn.Linear(6, 2)(nn.GlobalAvgPool2d()(c)))
    image = Tensor(rng.standard_normal((1, 12, 12, 3)).astype(np.float32))
    maps = feature_maps(model, image)
    assert [m.shape[1:] for m in maps.values()] == [(12, 12, 4)] * 4 + [(6, 6, 6)]  # pooling passes on
    sum_, last = stages(maps)
    np.testing.assert_array_equal(maps[sum_].numpy(), np.maximum(maps[sum_].numpy(), 0))
    assert explain(model, image, 1).layer == last


def test_a_layer_in_two_places_shows_its_last_call(rng):
    class Twice(nn.Module):
        def __init__(self):
            self.conv = nn.Conv2d(2, 2, 3, padding="same", rng=rng)
            self.head = nn.Linear(2, 2, rng=rng)

        def forward(self, x):
            return self.head(self.conv(self.conv(x)).mean(axis=(1, 2)))

    model, x = Twice(), Tensor(rng.standard_normal((1, 4, 4, 2)).astype(np.float32))
    once = model.conv(x)
    np.testing.assert_array_equal(feature_maps(model, x)["conv"].numpy(), model.conv(once).numpy())


def test_wrong_calls_are_named(rng):
    model = build_model("lenet5", (28, 28, 1), 3)
    x = Tensor(rng.standard_normal((2, 28, 28, 1)).astype(np.float32))
    with pytest.raises(ShapeError, match=r"one image \[1, H, W, C\].*\(2, 28, 28, 1\)"):
        explain(model, x, 0)
    maps = feature_maps(model, x)
    assert chosen(maps, None) == chosen(maps, "layers.0, layers.2") == chosen(maps, "all") == ["layers.0", "layers.2"]
    with pytest.raises(ConfigError, match=r"no layer 'layers.1' that makes maps.*layers: layers.0, layers.2"):
        chosen(maps, "layers.1")


def test_colours():
    image = np.full((4, 4, 1), 100, np.uint8)
    cold = overlaid(image, np.zeros((2, 2), np.float32))
    np.testing.assert_array_equal(cold, np.full((4, 4, 3), 100))
    hot = overlaid(image, np.array([[5.0, 0.0], [0.0, 0.0]], np.float32))
    assert hot[0, 0, 0] > hot[0, 0, 2]  # red where it is largest
    np.testing.assert_array_equal(hot[3, 3], 100)
    assert enlarged(image).shape == (224, 224, 1)
    assert enlarged(np.zeros((300, 500, 3), np.uint8)).shape == (300, 500, 3)
    np.testing.assert_array_equal(shades(np.array([[0.0, 2.0], [4.0, 4.0]]))[..., 0], [[0, 128], [255, 255]])
    np.testing.assert_array_equal(shades(np.zeros((2, 2))), 0)
    np.testing.assert_allclose(resized(np.array([[1.0, 3.0]], np.float32), (1, 4)), [[1.0, 1.5, 2.5, 3.0]])
