"""Fixtures of the op tests; the case table itself is in cases.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dlkit.backends import use_backend


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "numba: runs Numba kernels, which take seconds to compile")


@pytest.fixture
def reference() -> Iterator[None]:
    """Everything in the test runs on the reference backend."""
    with use_backend("reference"):
        yield
