"""Whole searches on the digits: kept through kill -9, shared by processes, and honest about the test set."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import optuna
import pytest

from dlkit import threads
from dlkit.errors import ConfigError, SearchError
from dlkit.search import Definition, search
from dlkit.search.study import SearchFolder
from dlkit.train import TrainConfig, Trainer
from dlkit.train.config import read_toml
from dlkit.train.tasks.classify import Classify

FIXED = {"model": "mlp", "hidden": [8], "epochs": 2, "threads": 1}
LR = {"lr": {"log_uniform": [0.001, 0.1]}}
BOTH = {**LR, "batch_size": {"log_integer": [32, 256]}}


@pytest.fixture(autouse=True)
def _one_thread():
    with threads.limited(1):
        yield


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """They take longer than the trainings here."""
    monkeypatch.setattr("dlkit.search.result.draw", lambda *args: [])


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """(folder, result) of four trials, undisturbed; the tests leave it as it is."""
    path = tmp_path_factory.mktemp("four") / "s"
    with threads.limited(1):
        return path, run(path)


def definition(table=BOTH, method=None, **fixed):
    return Definition.parse({**FIXED, **fixed, "search": table}, method or {"trials": 4})


def run(path, table=BOTH, method=None, **fixed):
    with SearchFolder.create(path, definition(table, method, **fixed)) as folder:
        return search(folder)


def facts(result):
    """What must not depend on who trained what when."""
    return {t.number: (t.state, t.values, t.score, t.epochs) for t in result.trials}


KILLS_ITSELF = """
import os, signal
from dlkit.train.loop import Trainer
end_epoch = Trainer._end_epoch
def end_or_die(self):
    row = end_epoch(self)
    if str(self.run).endswith("002") and row["epoch"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return row
Trainer._end_epoch = end_or_die
"""


def in_a_process(path, space, before=""):
    """`dlkit search` on the folder `path`, with something done before."""
    command = [sys.executable, "-c", f"{before}\nfrom dlkit.cli.main import main; main()", "search", "--json"]
    return subprocess.Popen(
        [*command, "--out", str(path), "--config", str(space)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_search_and_what_it_leaves_behind(four):
    path, result = four
    assert [t.score for t in result.trials] == sorted((t.score for t in result.trials), reverse=True)
    assert result.best is result.trials[0]
    assert 0.0 < result.test["test_accuracy"] <= 1.0
    assert set(result.importances) == {"lr", "batch_size"}
    assert sum(result.importances.values()) == pytest.approx(1)
    rows = list(csv.DictReader((path / "results.csv").read_text().splitlines()))
    assert [int(r["trial"]) for r in rows] == [t.number for t in result.trials]
    assert float(rows[0]["val_accuracy"]) == result.best.value
    assert float(rows[0]["lr"]) == result.best.values["lr"]
    header = (path / "results.csv").read_text().partition("\n")[0].split(",")
    assert len(header) == len(set(header))
    for name in ("parallel.png", "importance.png"):
        assert (path / name).read_bytes().startswith(b"\x89PNG")
    saved = json.loads((path / "result.json").read_text())
    assert saved["best"]["number"] == result.best.number


def test_best_toml_trains_the_best_trial_again_bit_for_bit(four, tmp_path):
    path, result = four
    trainer = Trainer(TrainConfig.from_dict({**read_toml(path / "best.toml"), "out": str(tmp_path / "again")}))
    trainer.fit()
    assert list(trainer.state.best_score) == result.best.score
    assert trainer.state.history[trainer.state.best_epoch - 1] == result.best.row


def test_the_test_set_is_looked_at_once(tmp_path, monkeypatch):
    looks = []
    test = Classify.test
    monkeypatch.setattr(Classify, "test", lambda self, *args: looks.append(args[-1].name) or test(self, *args))
    first = run(tmp_path / "s", method={"trials": 2})
    assert looks == [f"{first.best.number:03d}"]
    again = run(tmp_path / "s", method={"trials": 2})  # all is done: nothing is trained, and nothing tested
    assert len(looks) == 1
    assert again.test == first.test
    assert facts(again) == facts(first)


def test_after_kill_9_no_finished_trial_is_lost_and_the_running_one_is_repeated(tmp_path):
    (tmp_path / "space.toml").write_text(definition(epochs=6).to_toml())
    process = in_a_process(tmp_path / "s", tmp_path / "space.toml", KILLS_ITSELF)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    with SearchFolder.open(tmp_path / "s") as folder:
        before = folder.trials()
        assert [t.state for t in before] == ["complete", "complete", "running", "waiting"]
        result = search(folder)
    assert {t.state for t in result.trials} == {"complete"}
    kept = [t for t in result.trials if t.number < 2]
    assert sorted(kept, key=lambda t: t.number) == before[:2]  # down to the seconds they took: not trained again
    assert facts(result) == facts(run(tmp_path / "undisturbed", epochs=6))


def test_processes_on_one_folder_share_the_trials(four, tmp_path, monkeypatch):
    """While this process trains the first trial, another one does the rest and then waits for it."""
    (tmp_path / "space.toml").write_text(definition().to_toml())
    fit, processes = Trainer.fit, []

    def meanwhile(trainer, *args, **kwargs):
        processes.append(in_a_process(tmp_path / "s", tmp_path / "space.toml"))
        end = time.monotonic() + 120
        while [t.state for t in folder.trials()] != ["running", "complete", "complete", "complete"]:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert processes[0].poll() is None
        return fit(trainer, *args, **kwargs)

    monkeypatch.setattr(Trainer, "fit", meanwhile)
    with SearchFolder.create(tmp_path / "s", definition()) as folder:
        result = search(folder)
    (other,) = processes
    out, err = other.communicate(timeout=120)
    assert other.returncode == 0, err
    assert json.loads(out)["trials"] == [t.to_dict() for t in result.trials]
    assert facts(result) == facts(four[1])
    assert not list((tmp_path / "s" / "workers").iterdir())


def test_threads_are_divided_between_those_at_work(tmp_path):
    with SearchFolder.create(tmp_path, definition()) as first:
        assert first.workers() == 1
        with SearchFolder.open(tmp_path) as second:
            assert (first.workers(), second.workers()) == (2, 2)
        assert first.workers() == 1


def test_an_interrupted_trial_is_repeated(four, tmp_path, monkeypatch):
    fit, stopped = Trainer.fit, []

    def interrupted(self, *args, **kwargs):
        result = fit(self, *args, **kwargs)
        if len(stopped) < 2:
            stopped.append(self)
            if len(stopped) == 2:
                result.stopped = "interrupted"  # as after Ctrl-C
        return result

    monkeypatch.setattr(Trainer, "fit", interrupted)
    result = run(tmp_path / "s")
    assert result.interrupted
    assert result.finished == 1
    again = run(tmp_path / "s")
    assert not again.interrupted
    assert facts(again) == facts(four[1])


def test_a_diverged_trial_is_a_failed_one_and_not_the_end(tmp_path):
    result = run(tmp_path / "s", {"lr": {"categorical": [1e30, 0.05]}}, {"method": "grid"}, optimizer="sgd")
    states = {t.values["lr"]: t for t in result.trials}
    assert states[0.05].state == "complete"
    assert states[1e30].state == "failed"
    assert "the loss became" in states[1e30].why
    assert result.best is states[0.05]


def test_where_all_trials_fail_the_first_reason_is_told(tmp_path):
    with pytest.raises(SearchError, match=r"no trial came to its end; the first one: the .*epoch 1"):
        run(tmp_path / "s", {"lr": {"categorical": [1e30]}}, {"method": "grid"}, optimizer="sgd")


@pytest.mark.parametrize(
    ("epochs", "decisions"), [(9, {1, 3}), (10, {2, 6}), (17, {2, 6}), (20, {3, 9}), (81, {9, 27})]
)
def test_halving_decides_after_a_ninth_and_a_third(tmp_path, monkeypatch, epochs, decisions):
    asked = []
    kept = optuna.pruners.SuccessiveHalvingPruner
    monkeypatch.setattr(optuna.pruners, "SuccessiveHalvingPruner", lambda *a: asked.append(a) or kept(*a))
    run(tmp_path / "s", {"lr": {"categorical": [0.03]}}, {"method": "halving", "trials": 1}, epochs=epochs)
    first, reduction = asked[0]
    assert {n for n in (first * reduction**k for k in range(9)) if n < epochs} == decisions


def test_halving_stops_the_worse_ones_early(tmp_path):
    table = {"lr": {"categorical": [0.03, 1e-6, 2e-6, 3e-6]}}
    result = run(tmp_path / "s", table, {"method": "halving", "trials": 6}, epochs=9)
    good = [t for t in result.trials if t.values["lr"] == 0.03]
    bad = [t for t in result.trials if t.values["lr"] != 0.03]
    assert result.best in good
    assert result.best.epochs == 9
    later = [t for t in bad if t.number > min(g.number for g in good)]
    assert later
    assert {(t.state, t.epochs) for t in later} == {("pruned", 1)}


def test_refining_draws_around_the_best(tmp_path):
    table = {"lr": {"log_uniform": [1e-6, 0.1]}}
    result = run(tmp_path / "s", table, {"trials": 4, "refine": 3, "around": 2})
    coarse = sorted((t for t in result.trials if t.number < 4), key=lambda t: t.score, reverse=True)
    fine = [t for t in result.trials if t.number >= 4]
    assert len(fine) == 3
    best = [t.values["lr"] for t in coarse[:2]]
    tenth = 10 ** (0.1 * 5)
    assert all(min(best) / tenth <= t.values["lr"] <= max(best) * tenth for t in fine)
    assert len({t.values["lr"] for t in fine}) == 3


def test_a_finished_search_takes_more_trials(four, tmp_path):
    first = run(tmp_path / "s", method={"trials": 2})
    with SearchFolder.open(tmp_path / "s", trials=4) as folder:
        more = search(folder)
    assert {n: f for n, f in facts(more).items() if n < 2} == facts(first)
    assert facts(more) == facts(four[1])
    with SearchFolder.open(tmp_path / "s", refine=1) as folder:
        assert len(search(folder).trials) == 5
    with pytest.raises(ConfigError, match=r"trials \(=9\) cannot be changed: the search is refined"):
        SearchFolder.open(tmp_path / "s", trials=9)


def test_another_metric_and_conditions_decide(tmp_path):
    table = {"hidden": {"categorical": [[4], [64]]}}
    with SearchFolder.create(
        tmp_path,
        Definition.parse(
            {"model": "mlp", "epochs": 3, "metric": "f1", "satisfy": "parameters<1000", "search": table},
            {"method": "grid"},
        ),
    ) as folder:
        result = search(folder)
    small, large = (next(t for t in result.trials if t.values["hidden"] == [n]) for n in (4, 64))
    assert large.value > small.value
    assert result.best is small
    assert large.why.startswith("misses parameters<1000 (4810")
    assert small.row["val_f1"] == small.value
