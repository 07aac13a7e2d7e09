"""The hourglass of Deep Image Prior: sizes, parameters counted by hand, gradients."""

import numpy as np
import pytest

from dlkit import Tensor, nn, random
from dlkit.errors import ConfigError
from dlkit.gradients import assert_gradients
from dlkit.models import MODELS, Hourglass


def make(*args, **options):
    with random.using(np.random.default_rng(0)):
        return Hourglass(*args, **options)


def convolution(c, k, r):
    return r * r * c * k + k + 2 * k  # filters, biases, γ and β


def counted(channels, noise, out, scales, skip):
    total = channels * out + out
    for scale in range(scales):
        c = channels if scale else noise
        total += convolution(c, skip, 1) + convolution(c, channels, 3) + convolution(channels, channels, 3)
        total += 2 * (skip + channels) + convolution(skip + channels, channels, 3) + convolution(channels, channels, 1)
    return total


def test_parameter_count():
    assert make().parameter_count() == counted(128, 32, 3, 5, 4) == 2_217_831  # what the paper's code prints
    assert make(8, input_channels=3, output_channels=1, scales=2, skip=1).parameter_count() == counted(8, 3, 1, 2, 1)


@pytest.mark.parametrize("size", [(32, 32), (17, 23), (1, 40)])
def test_the_image_keeps_its_size_and_stays_in_range(size, rng):
    y = make(4, input_channels=2, scales=3)(Tensor(rng.random((2, *size, 2)).astype(np.float32))).numpy()
    assert y.shape == (2, *size, 3)
    assert y.min() > 0
    assert y.max() < 1


def test_gradients_in_float64(rng):
    model = make(3, input_channels=2, output_channels=2, scales=2, skip=1).astype(np.float64)
    for p in model.parameters():  # with β = 0, batch norm after batch norm leaves γ without effect
        p.data = Tensor(p.numpy() + 0.3 * rng.standard_normal(p.shape)).data
    z, target = rng.standard_normal((1, 9, 10, 2)), rng.random((1, 9, 10, 2))

    class WithLoss(nn.Module):
        def __init__(self):
            self.model = model

        def forward(self, z):
            return nn.MSELoss()(self.model(z), target)

    report = assert_gradients(WithLoss(), z)  # a bias in front of batch norm: zero but for rounding, which passes too
    assert report.worst.error < 1e-5
    assert report.kinks < 0.01 * report.elements
    assert report.elements > 200


def test_it_fits_an_image(rng):
    from dlkit.optim import Adam

    model, image = make(8, input_channels=4, scales=2), rng.random((1, 16, 16, 3)).astype(np.float32)
    z, optimizer = Tensor(rng.random((1, 16, 16, 4)).astype(np.float32)), Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        loss = nn.MSELoss()(model(z), image)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_it_is_no_classifier():
    assert "hourglass" not in MODELS
    with pytest.raises(ConfigError, match="scales"):
        Hourglass(4, scales=0)
