"""Schedules at points where the formula can be worked out by hand."""

import math

import pytest

from dlkit.errors import ConfigError
from dlkit.optim import SCHEDULES, Schedule

PER, TOTAL = 10, 100  # ten epochs of ten steps

CASES = [
    (Schedule("constant"), {0: 1, 99: 1}),
    (Schedule("step", decay=0.5, every=3), {0: 1, 29: 1, 30: 0.5, 60: 0.25, 99: 0.125}),
    (Schedule("exponential", decay=0.2), {0: 1, 10: math.exp(-0.2), 95: math.exp(-1.8)}),
    (Schedule("inverse_time", decay=1.0), {0: 1, 10: 0.5, 20: 1 / 3, 99: 0.1}),
    (Schedule("cosine"), {0: 1, 50: 0.5, 25: (1 + math.sqrt(0.5)) / 2, 100: 0}),
    (Schedule("one_cycle"), {0: 0.04, 15: 0.52, 30: 1, 65: (1 + 1e-4) / 2, 100: 1e-4}),
    (Schedule("one_cycle", warmup=5), {0: 0.04, 50: 1, 100: 1e-4}),
    (Schedule("constant", warmup=1), {0: 0.1, 4: 0.5, 9: 1, 50: 1}),
]


@pytest.mark.parametrize(("schedule", "points"), CASES, ids=lambda x: x.name if isinstance(x, Schedule) else "")
def test_values(schedule, points):
    for step, value in points.items():
        assert schedule.factor(step, PER, TOTAL) == pytest.approx(value, abs=1e-12)


def test_every_schedule_is_tested():
    assert {s.name for s, _ in CASES} == set(SCHEDULES.names())


def test_nonsense_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'cosine'"):
        Schedule("cosin")
    with pytest.raises(ConfigError, match="must not be negative"):
        Schedule("exponential", decay=-1)
