"""Kernels and training steps under pytest-benchmark: `pytest benchmarks --benchmark-enable`."""

import numpy as np
import pytest

from dlkit import Tensor, nn
from dlkit.backends import available_backends, kernels, use_backend
from dlkit.models import build_model
from dlkit.optim import Adam

LAYERS = [(8, 56, 56, 64, 64, 3), (64, 32, 32, 16, 16, 3), (64, 14, 14, 6, 16, 5)]


@pytest.fixture(params=[b for b in ("native", "numba") if b in available_backends()])
def backend(request):
    with use_backend(request.param):
        yield request.param


def reference(name, *args):
    with use_backend("reference"):
        return getattr(kernels(), name)(*args)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("direction", ["conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight"])
def test_convolution(benchmark, backend, layer, direction):
    n, h, w, c, k, r = layer
    rng = np.random.default_rng(0)
    x, f = rng.standard_normal((n, h, w, c)).astype(np.float32), rng.standard_normal((r, r, c, k)).astype(np.float32)
    geometry = ((1, 1), (0, 0, 0, 0), (1, 1), 1)
    dy = rng.standard_normal((n, h - r + 1, w - r + 1, k)).astype(np.float32)
    args = {
        "conv2d_forward": (x, f, None, *geometry, None),
        "conv2d_backward_input": (dy, f, (h, w), *geometry),
        "conv2d_backward_weight": (x, dy, (r, r), *geometry),
    }[direction]
    expected = reference(direction, *args)
    got = benchmark(getattr(kernels(), direction), *args)
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["mlp", "lenet5", "resnet20"])
def test_training_step(benchmark, name):
    shape = (32, 32, 3) if name == "resnet20" else (28, 28, 1)
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((64, *shape)).astype(np.float32), rng.integers(0, 10, 64)
    model, loss = build_model(name, shape, 10), nn.CrossEntropyLoss()
    optimizer = Adam(model.parameters())

    def step():
        value = loss(model(Tensor(x)), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.item()

    first = step()
    benchmark(step)
    for _ in range(10):
        last = step()
    assert last < first


def test_tape_overhead(benchmark):
    """add and sum of ten numbers, forward and backward: the cost is the tape's."""
    x = Tensor(np.ones(10, np.float32), requires_grad=True)

    def run():
        x.grad = None
        (x + x).sum().backward()
        return x.grad

    assert benchmark(run).numpy().sum() == 20
