import pytest
from dlkit.cli.main import run as run_cli


class Outcome:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def dlkit(capsys):
    """Runs the command line in this process: dlkit("weights", "list") -> code, out, err."""

    def call(*args):
        capsys.readouterr()
        code = run_cli([str(a) for a in args])
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call
