"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dlkit.cli.main import run as run_cli


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


class Outcome:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def dlkit(capsys):
    """Runs the command line in this process: dlkit("train", "--epochs", 1) -> code, out, err."""

    def call(*args):
        capsys.readouterr()
        code = run_cli([str(a) for a in args])
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture
def dlkit_process():
    """The same in a process of its own."""

    def call(*args, **kwargs):
        command = [sys.executable, "-c", "from dlkit.cli.main import main; main()", *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, **kwargs)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call
