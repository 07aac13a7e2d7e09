"""The cases of `dlkit bench` under pytest-benchmark: `pytest benchmarks --benchmark-enable`.

Without that option every case is checked and runs once. `-m slow` runs the large ones.
"""

import numpy as np
import pytest

from dlkit.bench import CASES

NAMES = [pytest.param(n, marks=[pytest.mark.slow] if "hourglass" in n else []) for n in CASES]


@pytest.mark.benchmark(max_time=0.2, min_rounds=5)
@pytest.mark.parametrize("name", NAMES)
def test_case(benchmark, name):
    case = CASES[name]
    benchmark.group = case.group
    inputs = case.inputs(np.random.default_rng(0))
    expected = case.expected(inputs)
    work = case.ours(inputs)
    case.check("dlkit", work.answer(work.run()), expected)
    benchmark(work.run)
