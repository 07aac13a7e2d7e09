"""Where a backend or an extension is missing its tests are skipped; in CI that would hide a broken build, so there it is a failure."""

import importlib
import os
from pathlib import Path

import pytest

from dlkit.backends import BACKENDS, current_backend


@pytest.mark.skipif(not os.environ.get("CI"), reason="a machine without a compiler or Numba is fine outside CI")
@pytest.mark.parametrize("name", ["reference", "native", "numba"])
def test_ci_has_every_cpu_backend(name):
    assert BACKENDS[name].available() is None


SOURCES = sorted((Path(__file__).resolve().parents[2] / "csrc" / "cython").glob("*.pyx"))


@pytest.mark.skipif(not os.environ.get("CI"), reason="a machine without a compiler is fine outside CI")
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_ci_has_every_extension(source):
    importlib.import_module(f"dlkit._native.{source.stem}")


@pytest.mark.skipif(bool(os.environ.get("DLKIT_BACKEND")), reason="DLKIT_BACKEND chooses another")
def test_native_is_the_default_where_it_is_built():
    expected = "native" if BACKENDS["native"].available() is None else "numba"
    assert current_backend() == expected
