"""Timing on work whose duration is known."""

import numpy as np
import pytest

from dlkit.bench.case import difference
from dlkit.bench.measure import Timing, alternate, block_of, ratios
from dlkit.bench.peak import measure_peak


class Clock:
    """Time passes only where the work says so."""

    def __init__(self):
        self.now = 0.0

    def work(self, seconds):
        def run():
            self.now += seconds

        return run

    def __call__(self):
        return self.now


def test_a_known_ratio_is_found():
    clock = Clock()
    sides = {"ours": block_of(clock.work(0.001), clock), "theirs": block_of(clock.work(0.003), clock)}
    timings = alternate(sides, rounds=5)
    assert timings["ours"].median == pytest.approx(0.001)
    assert ratios(timings["theirs"], timings["ours"]) == pytest.approx((3, 3, 3))
    assert timings["ours"].spread == pytest.approx(0)


def test_a_slow_phase_of_the_machine_meets_both_sides():
    rounds, calls = 9, []

    def side(name, seconds):
        def block(count):
            slow = 4 if len(calls) >= 12 else 1  # from some block on, everything takes four times as long
            calls.append(name)
            return seconds * count * slow

        return block

    timings = alternate({"a": side("a", 0.1), "b": side("b", 0.2)}, rounds)
    assert ratios(timings["b"], timings["a"]) == pytest.approx((2, 2, 2))
    assert timings["a"].spread > 0
    assert calls[-2 * rounds :] == ["a", "b"] * rounds


def test_blocks_are_filled_and_long_calls_are_not_repeated():
    counts = {"short": [], "long": []}

    def side(name, seconds):
        def block(count):
            counts[name].append(count)
            return seconds * count

        return block

    alternate({"short": side("short", 1e-4), "long": side("long", 1.0)}, rounds=3, block_seconds=0.02)
    assert counts["short"][-3:] == [200] * 3
    assert counts["long"] == [1] * 4  # once to warm up


def test_every_block_has_a_call_in_front_that_is_not_counted():
    clock, calls = Clock(), []
    block = block_of(lambda: calls.append(clock.work(0.5)()), clock)
    assert (block(1), len(calls)) == (0.5, 2)
    assert (block(4), len(calls)) == (2.0, 2 + 5)


def test_the_ratio_of_medians_lies_between_the_ratios_of_blocks():
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = (Timing(tuple(rng.uniform(1, 2, 7))) for _ in range(2))
        ratio, low, high = ratios(a, b)
        assert low <= ratio <= high


def test_difference_sees_what_is_wrong():
    right = [np.arange(4.0), np.ones((2, 2))]
    assert difference(right, right) == 0
    assert difference([np.arange(4.0), np.full((2, 2), 1.5)], right) == 0.5
    assert difference([np.arange(4.0)], right) == np.inf
    assert difference([np.arange(4.0), np.ones(4)], right) == np.inf
    assert difference([np.array([0, 1, np.nan, 3.0]), np.ones((2, 2))], right) == np.inf


def test_the_peak_grows_with_nothing_but_the_machine():
    peak = measure_peak(1)
    if peak is None:
        pytest.skip("the native kernels are not built")
    assert 1e9 < peak.flops < 1e12
    assert 1e8 < peak.copy < 1e12
