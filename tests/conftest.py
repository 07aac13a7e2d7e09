"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data: $DLKIT_DATA_DIR, else ../shared/data beside the project. Skips if absent."""
    own = os.environ.get("DLKIT_DATA_DIR")
    folder = Path(own) if own else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        reason = f"no real data in {folder}; set DLKIT_DATA_DIR"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
