"""`dlkit gradcheck` as a user meets it: exit status, table, JSON, a file of one's own."""

import json
import time

import pytest

MINE = """
def square(x):
    print("called")
    return x * x

def square_backward(dy, x):
    return {factor} * dy * x
"""


@pytest.fixture
def mine(tmp_path):
    def write(factor):
        path = tmp_path / "mine.py"
        path.write_text(MINE.format(factor=factor))
        return f"{path}:square"

    return write


def test_right_and_wrong(dlkit, mine):
    right = dlkit("gradcheck", mine(2), "--input", "3x4")
    assert right.code == 0
    assert right.out.startswith("square: ok")
    assert "called" not in right.out + right.err
    wrong = dlkit("gradcheck", mine(-2), "--input", "3x4")
    assert wrong.code == 1
    assert "→ x: sign flipped" in wrong.out


def test_json(dlkit, mine):
    result = dlkit("gradcheck", mine(3), "--input", "3x4", "--json")
    got = json.loads(result.out)
    assert result.code == 1
    assert (got["checked"], got["failed"]) == (1, 1)
    assert got["worst"]["name"] == "square"
    assert got["ops"][0]["diagnosis"] == ["x: constant factor: backward gives 1.5 times the gradient"]
    assert {"input", "index", "analytic", "numeric", "step", "error"} <= got["ops"][0]["worst"].keys()


def test_the_registry_in_a_table(dlkit):
    result = dlkit("gradcheck", "-k", "*tanh*", "--backend", "reference")
    assert result.code == 0
    header = result.out.splitlines()[0].split()
    assert header == ["name", "samples", "backends", "worst", "error", "where", "s"]
    row = next(line for line in result.out.splitlines() if line.startswith("tanh "))
    assert " reference " in row
    assert " h=" in row
    assert row.endswith("ok")
    assert "1 checked on reference: 0 wrong" in result.out


def test_backends_and_types_are_chosen(dlkit):
    got = json.loads(dlkit("gradcheck", "-k", "relu", "--backend", "reference", "--dtype", "float32", "--json").out)
    assert all(r["backends"] == ["reference"] and r["dtypes"] == ["float32"] for r in got["ops"])
    everything = json.loads(dlkit("gradcheck", "-k", "tanh", "--json").out)
    assert "reference" in everything["ops"][0]["backends"]
    assert everything["ops"][0]["dtypes"] == ["float64", "float32"]


def test_fail_fast_stops(dlkit, monkeypatch):
    from dlkit.ops import OPS

    for name in ("exp", "log"):
        right = OPS[name]._backward
        monkeypatch.setattr(
            OPS[name], "_backward", lambda k, saved, dy, right=right: (k.negative(right(k, saved, dy)[0]),)
        )
    arguments = ("gradcheck", "-k", "[el][xo][pg]", "--backend", "reference")
    assert json.loads(dlkit(*arguments, "--json").out)["failed"] == 2
    assert json.loads(dlkit(*arguments, "--json", "--fail-fast").out)["checked"] == 1


def test_second_order(dlkit):
    once, twice = (
        json.loads(dlkit("gradcheck", "-k", "tanh", "--backend", "reference", "--order", n, "--json").out)["ops"][0]
        for n in (1, 2)
    )
    assert twice["elements"] > once["elements"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.py:f"], "nowhere.py: no such file"),
        (["--input", "3x4"], "--input needs a TARGET"),
        (["--plot", "x.png"], "--plot needs --model"),
        (["x.py:f", "--model", "run"], "give a TARGET or --model, not both"),
        (["x.py:f", "-k", "conv"], "-k is for dlkit's own ops, not for x.py:f"),
        (["--model", "run", "--dtype", "float32"], "--dtype is for dlkit's own ops, not for --model"),
        (["--model", "run", "--order", "2"], "--order is for ops, not for --model"),
        (["--eps", "0"], "must be positive"),
        (["-k", "tanh", "--backend", "natve"], "did you mean 'native'"),
        (["--model", "no-such-run"], "no-such-run: no such run folder"),
    ],
)
def test_bad_calls_are_refused_in_a_line(dlkit, arguments, message):
    result = dlkit("gradcheck", *arguments)
    assert result.code in (1, 2)
    assert result.out == ""
    assert message in result.err
    assert result.err.count("\n") == 1


def test_the_first_result_comes_at_once(dlkit_process, mine):
    began = time.perf_counter()
    assert dlkit_process("gradcheck", mine(2), "--input", "3x4").code == 0
    assert time.perf_counter() - began < 10  # 0.5 s on a free machine; this one may be busy
