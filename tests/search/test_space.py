"""Ranges: what they draw, and which ones make no sense."""

import numpy as np
import pytest
from scipy import stats

from dlkit.errors import ConfigError
from dlkit.search import Definition, Space
from dlkit.search.plan import drawn, grid
from dlkit.search.space import Choice, Numbers


def space(**ranges):
    return Space.parse(ranges, {}, "space.toml")


def samples(found, count=4000):
    return np.array([t["x"] for t in drawn(Space({"x": found}), count, seed=0)], dtype=float)


def test_uniform_draws_are_uniform_in_value_and_log_uniform_in_its_logarithm():
    even = samples(Numbers(2.0, 6.0))
    assert stats.kstest(even, stats.uniform(2, 4).cdf).pvalue > 0.01
    log = samples(Numbers(1e-4, 1.0, log=True))
    assert stats.kstest(np.log10(log), stats.uniform(-4, 4).cdf).pvalue > 0.01
    assert stats.kstest(log, stats.uniform(0, 1).cdf).pvalue < 1e-9


def test_whole_numbers_are_equally_likely_with_both_ends():
    drawn = samples(Numbers(3, 7, integer=True))
    counts = [np.sum(drawn == n) for n in range(3, 8)]
    assert sum(counts) == len(drawn)
    assert stats.chisquare(counts).pvalue > 0.01
    small = samples(Numbers(1, 64, log=True, integer=True))
    assert set(small) >= {1, 64}
    assert abs(np.mean(small <= 7) - 0.5) < 0.1  # 8 is half way from 1 to 64 in powers


def test_choices_are_equally_likely():
    values = [t["hidden"] for t in drawn(space(hidden={"categorical": [[4], [8, 8]]}), 1000, seed=0)]
    assert abs(values.count([4]) - 500) < 80
    assert values.count([4]) + values.count([8, 8]) == 1000


def test_a_trial_depends_on_its_number_alone():
    ranges = space(lr={"log_uniform": [0.001, 1.0]}, dropout={"uniform": [0.0, 0.5]})
    twenty = drawn(ranges, 20, seed=3)
    assert drawn(ranges, 5, seed=3) == twenty[:5]
    assert drawn(ranges, 5, seed=3, first=15) == twenty[15:]
    assert drawn(ranges, 20, seed=4) != twenty
    assert len({t["lr"] for t in twenty}) == 20


def test_a_grid_has_every_combination_with_both_ends():
    points = grid(space(lr={"log_uniform": [0.001, 0.1]}, model={"categorical": ["cnn", "mlp"]}), 3)
    assert points == [{"lr": lr, "model": m} for lr in (0.001, 0.01, 0.1) for m in ("cnn", "mlp")]
    assert Numbers(1, 2, integer=True).grid(5) == [1, 2]
    with pytest.raises(ConfigError, match=r"100 × 100 × 100 = 1,000,000 points"):
        grid(Space({n: Numbers(0.0, 1.0) for n in "abc"}), 100)


def test_narrowing_keeps_what_lies_around_the_best():
    ranges = Space({"a": Numbers(0.0, 10.0), "b": Numbers(1e-4, 1.0, log=True), "c": Choice(("x", "y", "z"))})
    found = ranges.narrowed([{"a": 4.0, "b": 0.01, "c": "z"}, {"a": 6.0, "b": 0.1, "c": "x"}]).ranges
    assert (found["a"].low, found["a"].high) == (3.0, 7.0)  # a tenth of the range on either side
    assert found["b"].low == pytest.approx(10**-2.4, rel=1e-3)
    assert found["b"].high == pytest.approx(10**-0.6, rel=1e-3)
    assert found["c"].values == ("x", "z")
    assert ranges.narrowed([{"a": 9.9, "b": 1e-4, "c": "y"}]).ranges["a"].high == 10.0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, r"\[search\] is empty"),
        ({"lrr": {"uniform": [0, 1]}}, "unknown option 'lrr'.*did you mean 'lr'"),
        (
            {"lr": {"unifrom": [0, 1]}},
            "unknown kind of range 'unifrom'.*did you mean 'uniform'.*known: uniform, log_uniform",
        ),
        ({"lr": [0.1, 0.2]}, r"lr \(=\[0.1, 0.2\]\) must be a range such as"),
        ({"lr": {"uniform": [0.2, 0.1]}}, "lr: uniform .* is empty: the lowest must be below the highest"),
        ({"lr": {"uniform": [0.1]}}, "must be two numbers"),
        ({"lr": {"uniform": [0.1, "high"]}}, "must be two numbers"),
        ({"lr": {"uniform": [0.1, float("nan")]}}, "must be two numbers"),
        ({"lr": {"log_uniform": [0.0, 0.1]}}, "must begin above 0"),
        ({"lr": {"uniform": [-1.0, 0.1]}}, r"lr \(=-1.0\) must be positive"),
        ({"dropout": {"uniform": [0.0, 1.5]}}, r"dropout \(=1.5\) must be at least 0 and below 1"),
        ({"width": {"uniform": [8, 32]}}, "width .*=8.0.* must be a whole number"),
        ({"width": {"integer": [8.5, 32]}}, "whole numbers at its ends"),
        ({"optimizer": {"categorical": ["adam", "sdg"]}}, "unknown optimizer 'sdg'"),
        ({"optimizer": {"categorical": []}}, "must be a list of values"),
        ({"optimizer": {"categorical": ["sgd", "sgd"]}}, "has a value twice"),
        ({"val_split": {"uniform": [0.1, 0.3]}}, "val_split must be the same for all trials"),
        ({"metric": {"categorical": ["f1", "loss"]}}, "metric must be the same for all trials"),
    ],
)
def test_nonsense_is_named(table, message):
    with pytest.raises(ConfigError, match=message):
        Space.parse(table, {}, "space.toml")


@pytest.mark.parametrize(
    ("values", "method", "message"),
    [
        ({"lr": 0.1, "search": {"lr": {"uniform": [0.1, 0.2]}}}, {}, r"lr is searched, but also fixed \(=0.1\)"),
        ({"epoch": 3}, {}, "unknown option 'epoch'.*'epochs'"),
        ({}, {"method": "grd"}, "unknown method 'grd'.*did you mean 'grid'"),
        ({}, {"trials": 0}, r"trials \(=0\) must be a whole number of at least 1"),
        ({}, {"method": "grid", "trials": 5}, r"trials \(=5\) was given, but a grid's follow from its points"),
        ({"method": {"trails": 3}}, {}, "unknown option 'trails'.*'trials'"),
        ({"method": "grid"}, {}, r"\[method\] .* must be a table"),
        ({"search": 5}, {}, r"\[search\] is empty"),
    ],
)
def test_a_definition_that_makes_no_sense_is_named(values, method, message):
    with pytest.raises(ConfigError, match=message):
        Definition.parse(values, method)


def test_a_definition_survives_its_file(tmp_path):
    from dlkit.train.config import read_toml

    table = {
        "lr": {"log_uniform": [0.001, 0.1]},
        "hidden": {"categorical": [[4], [8, 8]]},
        "width": {"integer": [1, 3]},
    }
    before = Definition.parse({"epochs": 3, "search": table}, {"method": "halving", "trials": 7, "refine": 2})
    (tmp_path / "search.toml").write_text(before.to_toml())
    assert Definition.parse(read_toml(tmp_path / "search.toml"), {}) == before


@pytest.mark.parametrize(
    ("fixed", "varied"),
    [
        ({}, {"lr", "batch_size", "weight_decay", "width", "dropout"}),
        ({"model": "mlp", "lr": 0.01}, {"batch_size", "weight_decay", "hidden", "dropout"}),
        ({"model": "lenet5"}, {"lr", "batch_size", "weight_decay"}),
    ],
)
def test_without_a_space_what_is_not_fixed_is_varied(fixed, varied):
    assert set(Definition.parse(fixed, {}).space.ranges) == varied
