"""Muon against its formulas in NumPy, float64, and against what an orthogonal step must be."""

import numpy as np
import pytest

from dlkit import Tensor, nn, use_backend
from dlkit.backends import kernels
from dlkit.errors import ConfigError
from dlkit.optim import Muon
from dlkit.optim.muon import orthogonal

SHAPES = [(3, 3, 5, 7), (2, 2, 1, 9), (6, 6), (4, 9), (1, 3), (8, 1)]


def newton_schulz(m):
    x = m / (np.sqrt((m * m).sum()) + 1e-7)
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x @ x.T @ x + 2.0315 * x @ x.T @ x @ x.T @ x
    return x


def parameters(rng, shapes, dtype=np.float64):
    return [nn.Parameter(rng.standard_normal(shape).astype(dtype)) for shape in shapes]


@pytest.mark.parametrize("backend", ["reference", "native", "numba"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_follows_the_formula(rng, shape, backend):
    weight, output = parameters(rng, [shape, (3, 2)])
    optimizer = Muon([weight, output], lr=0.03, momentum=0.8)
    w, v = weight.numpy().reshape(-1, shape[-1]).copy(), 0.0
    norm, rank = np.linalg.norm(w), min(w.shape)
    with use_backend(backend):
        for _ in range(4):
            g = rng.standard_normal(shape)
            weight.grad = Tensor(g)
            optimizer.step()
            m = g.reshape(w.shape)
            v = 0.8 * v + m
            w = w - 0.03 * norm / np.sqrt(rank) * newton_schulz(m + 0.8 * v)
            w *= norm / np.linalg.norm(w)
            np.testing.assert_allclose(weight.numpy().reshape(w.shape), w, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(20, 6), (6, 20), (9, 9)])
def test_all_singular_values_come_near_one_and_the_directions_stay(rng, shape):
    u, s, vt = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    m = u @ np.diag(np.geomspace(1, 0.02, len(s))) @ vt
    o = orthogonal(kernels("cpu"), m)
    inside = u.T @ o @ vt.T
    assert np.diag(inside).min() > 0.6
    assert np.diag(inside).max() < 1.3
    np.testing.assert_allclose(inside, np.diag(np.diag(inside)), atol=1e-10)
    np.testing.assert_allclose(u @ inside @ vt, o, atol=1e-10)


def test_the_size_of_a_gradient_does_not_matter_and_the_norm_stays(rng):
    g = rng.standard_normal((5, 8))
    results = []
    for size in (1.0, 1e4):
        weight, output = parameters(np.random.default_rng(0), [(5, 8), (8, 2)])
        before = np.linalg.norm(weight.numpy())
        optimizer = Muon([weight, output], lr=0.1)
        for _ in range(3):
            weight.grad = Tensor(size * g)
            optimizer.step()
        results.append(weight.numpy())
        assert np.linalg.norm(weight.numpy()) == pytest.approx(before, rel=1e-12)
    np.testing.assert_allclose(*results, rtol=1e-6)


def test_output_layer_and_vectors_take_nesterovs_step(rng):
    """The last weight at five times the rate and with weight decay, vectors without."""
    shapes = [(4, 4), (4,), (4, 3), (3,)]
    ps = parameters(rng, shapes)
    gs = [rng.standard_normal(shape) for shape in shapes]
    old = [p.numpy().copy() for p in ps]
    for p, g in zip(ps, gs):
        p.grad = Tensor(g)
    Muon(ps, lr=0.02, momentum=0.9, weight_decay=0.5).step()
    for i, decay in ((1, 0.0), (2, 0.5), (3, 0.0)):
        g = gs[i] + decay * old[i]
        np.testing.assert_allclose(ps[i].numpy(), old[i] - 5 * 0.02 * (g + 0.9 * g), rtol=1e-12)
    turned = ps[0].numpy() - (old[0] - 0.1 * 1.9 * gs[0])
    assert np.abs(turned).max() > 1e-3  # and the other weight does not


def test_a_weight_of_zeros_is_refused(rng):
    with pytest.raises(ConfigError, match=r"shape \(4, 4\) is all zeros"):
        Muon([nn.Parameter(np.zeros((4, 4))), nn.Parameter(np.ones((4, 2)))])
    Muon([nn.Parameter(np.ones((4, 4))), nn.Parameter(np.zeros((4, 2)))])  # the output layer may be
