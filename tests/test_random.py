import numpy as np
import pytest

from dlkit import random
from dlkit.errors import ConfigError


@pytest.fixture(autouse=True)
def _restore():
    with random.using(random.generator()):
        yield


def test_seed_restarts_the_default_and_seeds_differ():
    random.seed(3)
    first = random.generator().random(8)
    assert not np.array_equal(first, random.generator().random(8))
    random.seed(3)
    assert np.array_equal(first, random.generator().random(8))
    random.seed(4)
    assert not np.array_equal(first, random.generator().random(8))


def test_derive_is_the_documented_seed_sequence():
    expected = np.random.Generator(np.random.PCG64(np.random.SeedSequence((7, 2, 5, 9)))).random(5)
    assert np.array_equal(random.derive(7, 2, 5, 9).random(5), expected)
    assert np.array_equal(random.derive(np.int64(7), 2, 5, np.int32(9)).random(5), expected)


def test_branches_in_use_never_coincide():
    paths = [(s, b) for s in range(3) for b in (0, 3)]
    paths += [(s, 1, e) for s in range(3) for e in range(1, 6)]
    paths += [(s, 2, e, i) for s in range(3) for e in range(5) for i in range(5)]
    assert len({random.derive(*p).integers(2**63) for p in paths}) == len(paths)


def test_using_replaces_for_the_block_and_restores_even_after_an_error():
    former, other = random.generator(), np.random.default_rng(1)
    with random.using(other) as given:
        assert given is other
        assert random.generator() is other
        random.seed(5)  # a seed set inside does not leak out
    assert random.generator() is former
    with pytest.raises(RuntimeError), random.using(other):
        raise RuntimeError
    assert random.generator() is former


@pytest.mark.parametrize("bad", [-1, 2**32, 1.5, "3", None])
def test_bad_seed(bad):
    with pytest.raises(ConfigError, match="expected an integer"):
        random.seed(bad)
    with pytest.raises(ConfigError, match="expected an integer"):
        random.derive(0, bad)
