"""Partial convolution against the paper's formula, in loops."""

import numpy as np
import pytest

from dlkit import Tensor, nn
from dlkit.gradients.layers import check_layer
from dlkit.models import PartialUNet
from dlkit.models.partial_unet import pull_push


def in_loops(x, mask, w, b, stride, padding):
    """Equations 1 and 2 of Liu et al. 2018, one window after another; mask has x's channels."""
    (n, h, wd, c), (r, s, _, k) = x.shape, w.shape
    oh, ow = (h + 2 * padding - r) // stride + 1, (wd + 2 * padding - s) // stride + 1
    y, known = np.zeros((n, oh, ow, k)), np.zeros((n, oh, ow, 1))
    for i, oi, oj in np.ndindex(n, oh, ow):
        total, seen = np.zeros(k), 0.0
        for p, q, channel in np.ndindex(r, s, c):
            a, e = oi * stride + p - padding, oj * stride + q - padding
            if 0 <= a < h and 0 <= e < wd and mask[i, a, e, channel]:
                total += w[p, q, channel] * x[i, a, e, channel]
                seen += 1
        if seen:
            y[i, oi, oj], known[i, oi, oj] = total * (r * s * c) / seen + b, 1
    return y, known


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (2, 1, 0), (5, 2, 2)])
def test_it_is_the_formula(rng, groups, kernel, stride, padding):
    x, b = rng.standard_normal((2, 9, 8, 4)), rng.standard_normal(3)
    mask = (rng.random((2, 9, 8, groups)) < 0.5).astype(float)
    mask[0, :7, :7] = 0
    layer = nn.PartialConv2d(4, 3, kernel, stride, padding).astype(np.float64)
    layer.bias.data = nn.Parameter(b).data
    y, known = layer(Tensor(x), Tensor(mask))
    expected, updated = in_loops(x, np.repeat(mask, 4 // groups, axis=3), layer.weight.numpy(), b, stride, padding)
    assert 0 < updated.mean() < 1
    np.testing.assert_array_equal(known.numpy(), updated)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)


def test_what_lies_in_the_hole_does_not_matter(rng):
    x = rng.standard_normal((1, 8, 8, 2)).astype(np.float32)
    mask = (rng.random((1, 8, 8, 1)) < 0.5).astype(np.float32)
    layer = nn.PartialConv2d(2, 3, 3, padding=1)
    y, _ = layer(Tensor(x), Tensor(mask))
    other, _ = layer(Tensor(np.where(mask, x, 1e6).astype(np.float32)), Tensor(mask))
    np.testing.assert_array_equal(y.numpy(), other.numpy())


def test_with_all_known_it_is_a_convolution(rng):
    x = rng.standard_normal((1, 6, 6, 2)).astype(np.float32)
    layer, plain = nn.PartialConv2d(2, 3, 3), nn.Conv2d(2, 3, 3)
    plain.load_state_dict(layer.state_dict())
    y, known = layer(Tensor(x), Tensor(np.ones((1, 6, 6, 1), np.float32)))
    np.testing.assert_allclose(y.numpy(), plain(Tensor(x)).numpy(), atol=1e-5)
    assert (known.numpy() == 1).all()


def test_its_gradient():
    report = check_layer("PartialConv2d")
    assert report.passed, report.failure


# -- the network of it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (5, 9)])
def test_the_network_takes_any_size_and_begins_as_the_blur(rng, size):
    x = rng.random((2, *size, 3)).astype(np.float32)
    known = (rng.random((2, *size, 1)) < 0.6).astype(np.float32)
    y = PartialUNet(3, width=4, depth=3)(Tensor(x * known), Tensor(known)).numpy()
    np.testing.assert_array_equal(y, pull_push(Tensor(x * known), Tensor(known)).numpy())


def test_every_parameter_learns_once_the_last_layer_is_not_zero(rng):
    model = PartialUNet(3, width=4, depth=2)
    model.change.weight.data = nn.Parameter(rng.standard_normal(model.change.weight.shape).astype(np.float32)).data
    known = np.ones((1, 12, 12, 1), np.float32)
    known[:, 3:8, 3:8] = 0
    x = rng.random((1, 12, 12, 3)).astype(np.float32) * known
    (model(Tensor(x), Tensor(known)) ** 2).sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert np.abs(p.grad.numpy()).max() > 0, name


def test_pull_push_keeps_what_is_known_and_stays_between_it(rng):
    x = rng.random((1, 13, 21, 2)).astype(np.float32)
    known = (rng.random((1, 13, 21, 1)) < 0.1).astype(np.float32)
    y = pull_push(Tensor(x * known), Tensor(known)).numpy()
    at = known[..., 0] == 1
    np.testing.assert_array_equal(y[at], x[at])
    assert (y >= x[at].min() - 1e-6).all()
    assert (y <= x[at].max() + 1e-6).all()


def test_pull_push_of_one_colour_is_that_colour():
    known = np.zeros((1, 20, 30, 1), np.float32)
    known[0, 7, 3] = 1
    np.testing.assert_allclose(pull_push(Tensor(0.3 * known), Tensor(known)).numpy(), 0.3, atol=1e-6)
