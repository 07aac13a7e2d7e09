"""Some classes, a few examples of each."""

import numpy as np
import pytest

from dlkit.data import ArraySource, Dataset
from dlkit.data.select import at_most, of_classes
from dlkit.errors import ConfigError


@pytest.fixture
def data():
    """60 training and 12 test examples of a, b, c; each example holds its number and its class."""
    parts = []
    for n in (60, 12):
        labels = np.arange(n) * 7 % 3
        parts.append(ArraySource(np.stack([np.arange(n), labels], axis=1).astype(np.float32), labels))
    return Dataset("abc", ["a", "b", "c"], *parts, dev=parts[1])


def test_classes_are_numbered_in_the_order_asked_for(data):
    some = of_classes(data, ["c", "a"])
    assert some.classes == ["c", "a"]
    for part, whole in ((some.train, data.train), (some.test, data.test), (some.dev, data.dev)):
        x = part.read(range(len(part)))
        assert len(part) == np.isin(whole.labels, [0, 2]).sum()
        assert [("abc"[int(k)]) for k in x[:, 1]] == [some.classes[y] for y in part.labels]


def test_all_classes_in_order_change_nothing(data):
    assert of_classes(data, ["a", "b", "c"]) is data


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "dog"], "abc has no class 'dog'; classes: a, b, c"),
        (["a", "b", "a"], "'a' is named twice"),
        ([], "no class"),
    ],
)
def test_wrong_names_are_refused(data, names, said):
    with pytest.raises(ConfigError, match=said):
        of_classes(data, names)


def test_a_few_of_each_class_are_drawn(data):
    few = at_most(data.train, 5, seed=1)
    assert np.bincount(few.labels).tolist() == [5, 5, 5]
    x = few.read(range(15))
    assert len(set(x[:, 0])) == 15
    assert (x[:, 1] == few.labels).all()
    again, other = at_most(data.train, 5, seed=1), at_most(data.train, 5, seed=2)
    np.testing.assert_array_equal(again.read(range(15)), x)
    assert (other.read(range(15)) != x).any()
    drawn = {n for seed in range(40) for n in at_most(data.train, 5, seed).read(range(15))[:, 0]}
    assert len(drawn) == 60  # nothing is left out for good


def test_what_has_fewer_stays_whole(data):
    assert len(at_most(data.train, 1000, seed=0)) == 60
    with pytest.raises(ConfigError, match="at least 1"):
        at_most(data.train, 0, seed=0)
