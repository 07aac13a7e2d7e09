"""`dlkit bench` as a user meets it."""

import json
import sys

import pytest

from dlkit.bench import CASES, Benchmark
from dlkit.errors import BenchmarkError

KEYS = {"case", "dlkit_ms", "torch_ms", "ratio", "gflops", "peak_fraction", "threads", "error", "machine"}
TAPE = sorted(name for name in CASES if name.startswith("tape"))


def test_a_table_with_a_heading(dlkit):
    result = dlkit("bench", "-k", "tape", "--rounds", 1, "--threads", 1)
    assert result.code == 0
    assert "1 thread;" in result.out
    assert "float32, NHWC" in result.out
    assert all(name in result.out for name in TAPE)
    assert "ratio" not in result.out
    assert "faults" not in result.out


def test_json_is_a_list_of_objects(dlkit):
    result = dlkit("bench", "kernels", "-k", "matmul 128*", "--rounds", 2, "--json")
    (got,) = json.loads(result.out)
    assert got.keys() >= KEYS
    assert got["case"] == "matmul 128x128x128"
    assert got["dlkit_ms"] > 0
    assert got["gflops"] == pytest.approx(2e-6 * 128**3 / got["dlkit_ms"])
    assert got["peak_fraction"] == pytest.approx(got["gflops"] / got["machine"]["peak_gflops"])
    assert (got["torch_ms"], got["ratio"]) == (None, None)
    assert {"cpu", "isa", "threads", "dlkit", "torch", "python"} <= got["machine"].keys()
    assert "GFLOP/s" in result.err  # the heading


def test_a_training_step_states_faults_and_memory(dlkit):
    (got,) = json.loads(dlkit("bench", "models", "-k", "tanh", "--rounds", 1, "--json").out)
    assert got["peak_mb"] > 0
    assert got["faults"] >= 0
    assert "peak MB" in dlkit("bench", "models", "-k", "tanh", "--rounds", 1).out


def test_the_list_is_the_registry(dlkit):
    assert dlkit("bench", "--list").out.splitlines() == list(CASES)
    assert json.loads(dlkit("bench", "models", "--list", "--json").out) == [n for n, c in CASES.items() if c.isolated]


def test_without_pytorch_one_line_says_so(dlkit, monkeypatch):
    for name in [m for m in sys.modules if m.startswith("dlkit.bench.peers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("dlkit.bench.peers", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    result = dlkit("bench", "-k", "tape", "--against", "torch")
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("dlkit: --against torch needs PyTorch")
    assert "pip install torch" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kernel"], "kernels"),
        (["-k", "no such case"], "--list"),
        (["--against", "jax"], "torch"),
        (["--rounds", "0"], "rounds"),
        (["--threads", "-1"], "threads"),
    ],
)
def test_wrong_calls_are_refused(dlkit, arguments, message):
    result = dlkit("bench", *arguments)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err


def interrupting(monkeypatch, error):
    """The second case raises `error`."""
    right, seen = Benchmark.run, []

    def run(self, case):
        seen.append(case)
        if len(seen) == 2:
            raise error
        return right(self, case)

    monkeypatch.setattr(Benchmark, "run", run)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_ctrl_c_shows_what_was_measured(dlkit, monkeypatch, options):
    interrupting(monkeypatch, KeyboardInterrupt())
    result = dlkit("bench", "-k", "tape", "--rounds", 1, *options)
    assert result.code == 130
    assert "interrupted after 1 of 3" in result.err
    if options:
        assert [r["case"] for r in json.loads(result.out)] == ["tape add, not recorded"]
    else:
        assert "tape add, not recorded" in result.out


def test_a_wrong_answer_is_an_error_and_the_rest_is_measured(dlkit, monkeypatch):
    interrupting(monkeypatch, BenchmarkError("add: dlkit computes something else"))
    result = dlkit("bench", "-k", "tape", "--rounds", 1, "--json")
    assert result.code == 1
    assert len(json.loads(result.out)) == 2
    assert "dlkit: add: dlkit computes something else" in result.err
