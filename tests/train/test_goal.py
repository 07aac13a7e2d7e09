"""The goal of a training: which epoch is kept, when it stops, what is said where no condition is met."""

import csv
import json

import numpy as np
import pytest

from dlkit.data import ArraySource, Dataset
from dlkit.errors import ConfigError
from dlkit.train import RunFolder, TrainConfig, Trainer, evaluate
from dlkit.train.progress import Silent


def unbalanced(n=240, seed=0):
    """Points of two overlapping clouds, every eighth of the rare one."""
    rng = np.random.default_rng(seed)
    y = (np.arange(n) % 8 == 0).astype(int)
    x = (1.3 * y[:, None] + rng.standard_normal((n, 2))).astype(np.float32)
    return Dataset("clouds", ["common", "rare"], ArraySource(x, y), ArraySource(x[:80] + 0.1, y[:80]))


def fit(tmp_path, progress=None, **options):
    values = {"model": "mlp", "hidden": (8,), "epochs": 12, "lr": 0.03, "batch_size": 32, "val_split": 0.3}
    out = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
    trainer = Trainer(TrainConfig(**{**values, **options, "out": str(out)}), unbalanced())
    return trainer.fit(progress), out, trainer


def rows(out):
    return [{k: float(v) for k, v in r.items()} for r in csv.DictReader((out / "history.csv").read_text().splitlines())]


def test_the_metric_chooses_the_epoch(tmp_path):
    for metric in ("accuracy", "recall:rare", "loss", "auc"):
        result, out, _ = fit(tmp_path, metric=metric)
        sign = -1 if metric == "loss" else 1
        best = max(rows(out), key=lambda r: (sign * r[f"val_{metric}"], -r["val_loss"], -r["epoch"]))
        assert result.best_epoch == best["epoch"], metric
        assert result.metrics[f"val_{metric}"] == best[f"val_{metric}"]


def test_conditions_go_before_the_metric(tmp_path):
    _, free, _ = fit(tmp_path, metric="accuracy")
    bar = float(np.median([r["val_accuracy"] for r in rows(free)]))
    result, out, _ = fit(tmp_path, metric="recall:rare", satisfy=f"accuracy>={bar}")
    history = rows(out)
    good = [r for r in history if r["val_accuracy"] >= bar]
    assert 0 < len(good) < len(history)
    best = max(good, key=lambda r: (r["val_recall:rare"], -r["val_loss"]))
    assert result.best_epoch == best["epoch"]
    assert (result.satisfied, result.missed) == (True, [])


def test_where_nothing_satisfies_the_best_of_those_is_kept_and_said(tmp_path, capsys):
    result, out, _ = fit(tmp_path, satisfy="parameters<10, recall:rare>=0")
    plain, _, _ = fit(tmp_path)
    assert result.best_epoch == plain.best_epoch
    saved = json.loads((out / "metrics.json").read_text())
    assert (saved["satisfied"], saved["missed"]) == (False, ["parameters<10 (42)"])


def test_the_best_network_has_the_values_that_are_reported(tmp_path):
    result, out, trainer = fit(tmp_path, metric="f1", satisfy="size_mb<1")
    checkpoint = RunFolder.open(out).load_best()
    again = evaluate(checkpoint.build(), trainer.task.val_source, checkpoint.normalizer)
    from sklearn.metrics import f1_score

    assert result.val_f1 == pytest.approx(f1_score(again.labels, again.predictions, average="macro"))
    assert result.metrics["size_mb"] == pytest.approx(42 * 4 / 1e6)
    assert "test_f1" in result.metrics


def test_early_stopping_listens_to_the_metric(tmp_path):
    result, _, _ = fit(tmp_path, metric="recall:rare", epochs=200, patience=3)
    assert result.stopped == "early"
    assert result.epochs == result.best_epoch + 3
    by_accuracy, _, _ = fit(tmp_path, metric="accuracy", epochs=200, patience=3)
    assert by_accuracy.best_epoch != result.best_epoch


class StopAfterOne(Silent):
    def epoch(self, trainer, row):
        trainer.stop()


def test_what_a_network_costs_is_measured_once_and_kept_when_resumed(tmp_path, monkeypatch):
    """Latency differs from run to run; the second part of a run goes by what the first has measured."""
    data = unbalanced()
    monkeypatch.setattr("dlkit.train.loop.load_data", lambda c: data)
    result, out, _ = fit(tmp_path, StopAfterOne(), satisfy="latency_ms<1000")
    assert result.stopped == "interrupted"
    measured = result.metrics["latency_ms"]
    monkeypatch.setattr("dlkit.train.metrics.time.perf_counter", lambda: 1e9)
    resumed = Trainer.resume(str(out))
    assert resumed.state.costs == {"latency_ms": measured}
    assert "latency" not in (out / "history.csv").read_text()  # two equal runs have equal files


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metric": "f2"}, "unknown metric 'f2'"),
        ({"satisfy": "speed>1"}, "unknown metric 'speed'"),
        ({"metric": "f1", "val_split": 0.0}, "metric was given, but val_split is 0"),
        ({"satisfy": "latency_ms<1", "val_split": 0.0}, "satisfy was given, but val_split is 0"),
    ],
)
def test_a_goal_that_cannot_be_followed_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        TrainConfig(**options)


def test_a_class_that_is_not_there_is_refused_before_training(tmp_path):
    with pytest.raises(ConfigError, match="no class 'rar'"):
        fit(tmp_path, metric="recall:rar")
    assert not list(tmp_path.iterdir())
