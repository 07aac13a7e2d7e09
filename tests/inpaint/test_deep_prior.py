"""Deep Image Prior on images small enough for a fast suite."""

import numpy as np
import pytest

from dlkit.inpaint import Job, inpaint
from dlkit.inpaint.methods import deep_prior as module
from dlkit.inpaint.methods.deep_prior import Prior, Size

TINY = Size(8, 8, 60)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setitem(module.SIZES, "fast", TINY)


def waves(h=48, w=40, channels=3):
    """uint8 [h, w, channels]: stripes of 8 pixels, another phase in each channel."""
    i, j = np.indices((h, w))
    image = np.stack([127 + 100 * np.sin(2 * np.pi * (i + j) / 8 + c) for c in range(channels)], axis=2)
    return image.astype(np.uint8)


def error(image, truth, hole):
    return np.sqrt(np.mean((image.astype(float) - truth)[hole] ** 2))


@pytest.mark.parametrize("shape", [(48, 40), (33, 51), (9, 7)])
@pytest.mark.parametrize("channels", [1, 3])
def test_fills_any_size(shape, channels):
    truth = waves(*shape, channels)
    hole = np.random.default_rng(0).random(shape) < 0.4
    damaged = np.where(hole[..., None], 0, truth).astype(np.uint8)
    before = damaged.copy()
    result = inpaint(damaged, hole, "deep-prior", quality="fast", iterations=3)
    assert np.array_equal(damaged, before)
    assert np.array_equal(result.image[~hole], truth[~hole])
    assert result.image.shape == truth.shape


def test_learns_the_structure_of_the_photo():
    """Nearer to the stripes than their mean, and nearer after more iterations."""
    truth = waves()
    hole = np.random.default_rng(1).random(truth.shape[:2]) < 0.5
    damaged = np.where(hole[..., None], 0, truth).astype(np.uint8)
    short = inpaint(damaged, hole, "deep-prior", quality="fast", iterations=10)
    long = inpaint(damaged, hole, "deep-prior", quality="fast", iterations=250)
    mean = truth[~hole].mean(axis=0)
    assert error(long.image, truth, hole) < 0.7 * error(np.broadcast_to(mean, truth.shape), truth, hole)
    assert error(long.image, truth, hole) < 0.9 * error(short.image, truth, hole)


def test_what_lies_in_the_hole_is_not_looked_at():
    truth = waves()
    hole = np.random.default_rng(2).random(truth.shape[:2]) < 0.3
    other = truth.copy()
    other[hole] = 255 - other[hole]
    first, second = (inpaint(a, hole, "deep-prior", quality="fast", iterations=5).image for a in (truth, other))
    assert np.array_equal(first, second)


def test_pixels_held_back_are_not_learned_from():
    image = waves().astype(np.float32) / 255
    hole = np.random.default_rng(3).random(image.shape[:2]) < 0.3
    prior = Prior(image, hole, TINY, Job())
    weight = prior.weight.numpy()[0, ..., 0]
    assert prior.asked.any()
    assert not weight[prior.asked].any()
    assert not weight[hole].any()
    assert not (prior.asked & hole).any()
    assert weight.sum() * image.shape[2] == pytest.approx(1, rel=1e-5)


def test_the_result_is_where_held_back_pixels_are_drawn_best(monkeypatch):
    """Missed 3, 1, 2: the second drawing is kept."""
    drawings = iter([0.1, 0.5, 0.9])
    missed = iter([3.0, 1.0, 2.0])

    class Drawn:
        def __init__(self, image, hole, size, job):
            self.image = image

        def iterate(self):
            self.mean = np.full_like(self.image, next(drawings))

        def missed(self):
            return next(missed)

    monkeypatch.setattr(module, "Prior", Drawn)
    monkeypatch.setattr(module, "LOOK", 1)
    image = np.zeros((16, 16, 1), np.float32)
    hole = np.zeros((16, 16), bool)
    hole[4:9, 4:9] = True
    result = inpaint(image, hole, "deep-prior", iterations=3)
    assert np.allclose(result.image[hole], 0.5)


@pytest.mark.parametrize("covered", [0.4, 1.0])
def test_a_large_image_is_fitted_in_tiles(monkeypatch, covered):
    """No tile is larger than asked, the known stays, also where a tile has no known pixel at all."""
    sizes = []
    plain = module.fitted

    def fitted(image, hole, job):
        sizes.append(max(hole.shape))
        assert not hole.all()
        return plain(image, hole, job)

    monkeypatch.setattr(module, "fitted", fitted)
    monkeypatch.setattr(module, "TILE", 96)
    truth = waves(200, 120, 1)
    hole = np.random.default_rng(4).random(truth.shape[:2]) < 0.4
    hole[:100] |= np.random.default_rng(5).random((100, 120)) < covered
    result = inpaint(truth, hole, "deep-prior", quality="fast", iterations=2)
    assert sizes
    assert max(sizes) <= 96
    assert np.array_equal(result.image[~hole], truth[~hole])
    assert result.image[hole].std() > 0


def test_stops_when_the_time_is_over():
    truth = waves()
    hole = np.random.default_rng(6).random(truth.shape[:2]) < 0.4
    result = inpaint(truth, hole, "deep-prior", quality="fast", iterations=100_000, timeout=0.5)
    assert result.seconds < 5
    assert not result.finished
