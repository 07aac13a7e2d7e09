import subprocess
import sys

import pytest
from dlkit.cli.main import run as run_cli


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
