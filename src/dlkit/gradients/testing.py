"""Gradient checks as tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlkit.gradients.function import gradcheck
from dlkit.gradients.report import GradientReport


def assert_gradients(fn: Any, inputs: Any, backward: Callable | None = None, **options: Any) -> GradientReport:
    """AssertionError with the whole report unless `gradcheck(fn, inputs, backward, **options)` passes; returns the report.

    >>> def test_my_layer():
    ...     assert_gradients(MyLayer(3), [np.random.default_rng(0).standard_normal((2, 3))])
    """
    __tracebackhide__ = True  # pytest shows the test's line, not this one
    report = gradcheck(fn, inputs, backward, **options)
    if not report.passed:
        raise AssertionError(str(report))
    return report
