"""`dlkit search`: what it prints, and what goes wrong in one line."""

import json
import sys

import pytest

from dlkit import threads
from dlkit.search import Definition
from dlkit.search.study import SearchFolder

SPACE = """model = "mlp"
hidden = [8]
epochs = 2
threads = 1
[search]
lr = { log_uniform = [0.001, 0.1] }
[method]
trials = 3
"""


@pytest.fixture(autouse=True)
def _one_thread():
    with threads.limited(1):
        yield


def definition():
    return Definition.parse({"model": "mlp", "search": {"lr": {"uniform": [0.1, 0.2]}}}, {})


def test_jobs_start_further_processes_and_the_best_can_be_trained(tmp_path, dlkit):
    (tmp_path / "space.toml").write_text(SPACE)
    done = dlkit("search", "--config", tmp_path / "space.toml", "--out", tmp_path / "s", "--jobs", 2)
    assert done.code == 0, done.err
    assert done.err.count("validation accuracy") == 3
    assert "best: trial" in done.out
    assert "its test accuracy, looked at once: " in done.out
    again = dlkit("search", "--resume", tmp_path / "s", "--json")
    assert again.code == 0
    assert len(json.loads(again.out)["trials"]) == 3
    assert dlkit("train", "--config", tmp_path / "s" / "best.toml", "--out", tmp_path / "best").code == 0


def one_line(done, code, *words):
    assert done.code == code, done.err
    assert done.err.startswith("dlkit: ")
    assert done.err.count("\n") == 1, done.err
    for word in words:
        assert word in done.err


def test_bad_calls_end_in_one_line(tmp_path, dlkit):
    (tmp_path / "empty.toml").write_text("[search]\n")
    (tmp_path / "space.toml").write_text("[search]\nlr = { log_uniform = [1.0, 0.1] }\n")
    one_line(dlkit("search", "--config", tmp_path / "empty.toml"), 2, "empty.toml: [search] is empty")
    one_line(dlkit("search", "--config", tmp_path / "space.toml"), 2, "[search]: lr", "the lowest must be below")
    one_line(dlkit("search", "--config", tmp_path / "none.toml"), 2, "none.toml", "cannot be read")
    one_line(dlkit("search", "--resume", tmp_path), 2, "no search here")
    one_line(dlkit("search", "--resume", tmp_path, "--lr", 0.1), 2, "--lr cannot change")
    one_line(dlkit("search", "--out", tmp_path), 2, "holds something else")
    one_line(dlkit("search", "--method", "best"), 2, "unknown method 'best'")
    one_line(
        dlkit("search", "--model", "mlp", "--val-split", 0, "--epochs", 1, "--out", tmp_path / "v"),
        2,
        "nothing is held back",
    )
    assert not list(tmp_path.glob("runs"))


def test_another_search_in_the_folder_is_named(tmp_path, dlkit):
    with SearchFolder.create(tmp_path / "s", definition()):
        pass
    done = dlkit("search", "--model", "mlp", "--epochs", 3, "--out", tmp_path / "s")
    one_line(done, 2, "holds another search", "choose another --out")


def test_a_combination_that_cannot_be_trained_is_named(tmp_path, dlkit):
    (tmp_path / "space.toml").write_text('epochs = 1\nwidth = 8\n[search]\nmodel = { categorical = ["mlp"] }\n')
    done = dlkit("search", "--config", tmp_path / "space.toml", "--out", tmp_path / "s", "--method", "grid")
    one_line(done, 2, "trial 0 (model=mlp)", "has no option 'width'")


def test_a_damaged_storage_is_named(tmp_path, dlkit):
    with SearchFolder.create(tmp_path / "s", definition()):
        pass
    (tmp_path / "s" / "search.db").write_bytes(b"no database at all" * 100)
    one_line(dlkit("search", "--resume", tmp_path / "s"), 1, "search.db: cannot be used")


def test_without_optuna_the_extra_is_named(tmp_path, dlkit, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    one_line(dlkit("search", "--model", "mlp", "--out", tmp_path / "s"), 2, 'pip install "dlkit[search]"')
    assert not list(tmp_path.iterdir())


def test_a_search_is_gone_on_with_from_elsewhere(tmp_path, dlkit, monkeypatch):
    (tmp_path / "net.py").write_text(
        "from dlkit import nn\n"
        "def build(input_shape, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    arguments = ("--model", "net.py:build", "--epochs", 1, "--trials", 1, "--out", "s")
    assert dlkit("search", *arguments).code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert dlkit("search", "--resume", tmp_path / "s", "--trials", 2).code == 0


@pytest.mark.slow
def test_twenty_trials_on_the_digits_find_a_good_network(tmp_path, dlkit, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = dlkit("search", "--jobs", 2, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert len(found["trials"]) == 20
    assert found["best"]["value"] >= 0.985
    assert found["test"]["test_accuracy"] >= 0.98
