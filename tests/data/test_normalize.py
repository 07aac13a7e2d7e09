import json

import numpy as np
import pytest

from dlkit.data.normalize import Normalizer
from dlkit.errors import ConfigError, DataError


class Fake:
    def __init__(self, x):
        self.x, self.shape, self.is_image = x, x.shape[1:], x.ndim == 4
        self.labels = np.zeros(len(x), np.int64)
        self.read_indices = []

    def __len__(self):
        return len(self.x)

    def read(self, indices):
        self.read_indices.extend(int(i) for i in indices)
        return self.x[indices]


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (150, 5, 7, 3))
    return Fake((x * [1.0, 0.5, 0.1] + [0, 20, 100]).clip(0, 255).astype(np.uint8))


@pytest.fixture
def table():
    rng = np.random.default_rng(1)
    return Fake((rng.normal(size=(150, 4)) * [1, 30, 1e-4, 2] + [0, 5, 1, 1e4]).astype(np.float32))


def test_images_standard_against_a_loop(pictures):
    n = Normalizer.fit(pictures)
    for c in range(3):
        values = [float(v) / 255 for v in pictures.x[..., c].ravel()]
        mean = sum(values) / len(values)
        std = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
        assert n.mean[c] == pytest.approx(mean, rel=1e-12)
        assert n.std[c] == pytest.approx(std, rel=1e-12)
    z = n(pictures.x)
    assert z.dtype == np.float32
    assert z.flags.c_contiguous
    np.testing.assert_allclose(z, (pictures.x / 255 - n.mean) / n.std, rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(z.mean((0, 1, 2), dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(z.std((0, 1, 2), dtype=np.float64), 1, atol=1e-5)


def test_features_standard_and_range(table):
    n = Normalizer.fit(table)
    x = table.x.astype(np.float64)
    np.testing.assert_allclose(n.mean, x.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(n.std, x.std(0), rtol=1e-9)
    # Float32 rounding of the inputs' mean alone is felt; a cancelling x*a + b would be 10 times worse.
    np.testing.assert_allclose(n(table.x), (x - n.mean) / n.std, atol=1e-3)
    s = Normalizer.fit(table, "scale")
    z = s(table.x)
    np.testing.assert_allclose(z.min(0), 0, atol=1e-3)
    np.testing.assert_allclose(z.max(0), 1, atol=1e-3)


def test_images_scale_and_none(pictures, table):
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    z = Normalizer.fit(pictures, "scale")(every)
    np.testing.assert_allclose(z, every / 255, rtol=1e-6)
    assert z.min() == 0
    assert z.max() == 1
    assert np.array_equal(Normalizer.fit(pictures, "none")(every), every.astype(np.float32))
    assert np.array_equal(Normalizer.fit(table, "none")(table.x), table.x)
    pictures.read_indices.clear()
    Normalizer.fit(pictures, "scale")
    assert pictures.read_indices == []  # nothing to measure, nothing decoded


def test_one_channel_and_out():
    x = np.random.default_rng(2).integers(0, 256, (80, 6, 6, 1), dtype=np.uint8)
    n = Normalizer.fit(Fake(x))
    before, out = x.copy(), np.empty(x.shape, np.float32)
    assert n(x, out) is out
    assert np.array_equal(x, before)
    np.testing.assert_allclose(out, (x / 255 - n.mean) / n.std, rtol=1e-5, atol=2e-6)
    strided = x[:, ::2, ::-1]
    assert np.array_equal(n(strided), out[:, ::2, ::-1])
    for bad in (np.empty((80, 6, 6, 1)), np.empty((79, 6, 6, 1), np.float32), out.transpose(0, 2, 1, 3)):
        with pytest.raises(ConfigError, match="expected contiguous float32"):
            n(x, bad)


def test_result_does_not_depend_on_the_batch(pictures):
    n = Normalizer.fit(pictures)
    whole = n(pictures.x)
    assert all(np.array_equal(n(pictures.x[i : i + 1])[0], whole[i]) for i in range(10))


def test_constant_becomes_zero_not_infinite():
    x = np.full((300, 3), 0.1, np.float32)
    x[:, 1] = np.arange(300)
    for mode in ("standard", "scale"):
        n = Normalizer.fit(Fake(x), mode)
        assert n.std[0] == 1
        assert np.abs(n(x)[:, [0, 2]]).max() < 1e-6
    plain = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 5, 7, 256))  # rounds for some levels
    assert (Normalizer.fit(Fake(plain)).std == 1).all()


def test_limit_reads_that_many_distinct_by_seed(pictures):
    def chosen(seed, limit=40):
        pictures.read_indices.clear()
        Normalizer.fit(pictures, seed=seed, limit=limit)
        return list(pictures.read_indices)

    first = chosen(1)
    assert len(set(first)) == len(first) == 40
    assert chosen(1) == first
    assert chosen(2) != first
    assert max(first) > 100  # not merely the beginning
    assert sorted(chosen(1, 5000)) == list(range(150))


def test_state_through_json(pictures, table):
    for source in (pictures, table):
        n = Normalizer.fit(source)
        again = Normalizer.from_state(json.loads(json.dumps(n.state())))
        assert again.state() == n.state()
        assert np.array_equal(again(source.x), n(source.x))


def test_errors(pictures, table):
    with pytest.raises(ConfigError, match="expected one of standard, scale, none"):
        Normalizer.fit(pictures, "whiten")
    with pytest.raises(ConfigError, match="1 example or more"):
        Normalizer.fit(pictures, limit=0)
    with pytest.raises(DataError, match="no examples"):
        Normalizer.fit(Fake(np.zeros((0, 4), np.float32)))
    table.x[3, 1] = np.nan
    with pytest.raises(DataError, match="NaN"):
        Normalizer.fit(table)
    with pytest.raises(ConfigError, match="expected 3 channels"):
        Normalizer.fit(pictures)(np.zeros((2, 5, 7, 1), np.uint8))
    with pytest.raises(ConfigError, match="lacks std"):
        Normalizer.from_state({"mode": "standard", "is_image": True, "mean": [0.1]})
    with pytest.raises(ConfigError, match="positive"):
        Normalizer.from_state({"mode": "standard", "is_image": True, "mean": [0.1], "std": [0.0]})
