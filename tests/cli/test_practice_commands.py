"""The commands of learning practice: errors, diagnose; the goal of a training."""

import csv
import json

import numpy as np
import pytest

from dlkit.train import TrainConfig, Trainer


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A network on three overlapping clouds of points: it makes mistakes."""
    folder, rng = tmp_path_factory.mktemp("practice"), np.random.default_rng(0)
    y = np.arange(300) % 3
    x = (np.array([[0, 0], [2, 0], [0, 2]])[y] + rng.standard_normal((300, 2))).astype(np.float32)
    np.savez(folder / "clouds.npz", x=x, y=np.array(["a", "b", "c"])[y])
    out = folder / "run"
    Trainer(TrainConfig(data=str(folder / "clouds.npz"), epochs=4, lr=0.01, out=str(out))).fit()
    return out


def refused(result, code, said):
    assert result.code == code, result.err
    assert result.err.startswith("dlkit: ")
    assert result.err.count("\n") == 1
    assert said in result.err
    assert result.out == ""


def test_errors_writes_a_table_and_reads_it_back(dlkit, run, tmp_path):
    out = tmp_path / "t.csv"
    result = dlkit("errors", run, "--out", out)
    assert result.code == 0, result.err
    assert "confusions, most frequent first" in result.out
    assert str(out) in result.out
    got = json.loads(dlkit("errors", run, "--out", out, "--json").out)
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert got["mistakes"] == len(rows) > 0
    for row in rows:
        row["tags"] = "noise"
    with open(out, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert "100.00 %" in dlkit("errors", run, "--tags", out).out.split("noise")[1]
    assert json.loads(dlkit("errors", run, "--tags", out, "--json").out)["gains"][0]["accuracy"] == pytest.approx(1)
    refused(dlkit("errors", run, "--out", out), 2, "holds tags")
    refused(dlkit("errors", run, "--tags", out, "--sample", 3), 2, "--tags reads a table")
    refused(dlkit("errors", run, "--tags", tmp_path / "no.csv"), 1, "cannot be read")


def test_diagnose_names_the_largest_gap(dlkit, run):
    result = dlkit("diagnose", run, "--human", 0.01)
    assert result.code == 0, result.err
    got = json.loads(dlkit("diagnose", run, "--human", 0.01, "--json").out)
    assert got["largest"] == "avoidable bias"  # the clouds overlap
    assert "largest gap: avoidable bias" in result.out
    assert all(help in result.out for help in got["helps"])
    assert [e["name"] for e in got["errors"]] == ["human", "train", "dev", "test"]
    refused(dlkit("diagnose", run, "--human", 7), 2, "human (=7.0) must be an error from 0 to below 1")


def test_train_says_that_no_condition_was_met(dlkit, tmp_path):
    args = ["train", "--model", "logistic", "--epochs", 1, "--metric", "f1", "--satisfy", "parameters<10"]
    result = dlkit(*args, "--out", tmp_path / "a")
    assert result.code == 0
    assert "no epoch meets all conditions; the best of them, which is kept, misses parameters<10 (650)" in result.out
    assert json.loads(dlkit(*args, "--out", tmp_path / "b", "--json").out)["satisfied"] is False
    refused(dlkit("train", "--satisfy", "parameters=10"), 2, "is no condition")
