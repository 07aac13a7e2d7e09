"""Metrics against counts made by hand, conditions as text, which of two networks is better."""

import itertools
import math

import numpy as np
import pytest

from dlkit import nn
from dlkit.errors import ConfigError
from dlkit.models import build_model
from dlkit.train import Evaluation
from dlkit.train.metrics import METRICS, Asked, Condition, Goal, latency_ms


def evaluation(labels, probabilities):
    labels, p = np.array(labels), np.array(probabilities, np.float32)
    of_label = p[np.arange(len(p)), labels].astype(float)
    return Evaluation(float(-np.log(of_label).mean()), float((p.argmax(1) == labels).mean()), p, labels)


@pytest.fixture
def result(rng):
    """200 examples of classes 0, 1, 2; the network knows a class 3 as well, which has none."""
    labels = rng.integers(0, 3, 200)
    p = rng.dirichlet([0.7] * 4, 200)
    p[np.arange(200), labels] += rng.random(200)
    return evaluation(labels, p / p.sum(1, keepdims=True))


def counts(result, k):
    pairs = list(zip(result.labels.tolist(), result.probabilities.argmax(1).tolist()))
    hit = sum(t == k == p for t, p in pairs)
    return hit, sum(p == k for _, p in pairs), sum(t == k for t, _ in pairs)


def by_hand(name, result, k):
    hit, taken, there = counts(result, k)
    if name == "precision":
        return hit / taken
    if name == "recall":
        return hit / there
    if name == "f1":
        return 2 * hit / (taken + there)
    scores = result.probabilities[:, k]
    inside, outside = scores[result.labels == k], scores[result.labels != k]
    if name == "auc":  # the chance that an example of the class gets the higher probability
        wins = sum((a > b) + 0.5 * (a == b) for a, b in itertools.product(inside, outside))
        return wins / (len(inside) * len(outside))
    order = np.argsort(-scores, kind="stable")
    hits = (result.labels[order] == k).cumsum()
    at_hits = (result.labels[order] == k).nonzero()[0]
    return float(np.mean([hits[i] / (i + 1) for i in at_hits]))


@pytest.mark.parametrize("name", [m.name for m in METRICS.values() if m.per_class])
def test_metrics_of_classes_equal_those_counted_by_hand(result, name):
    each = [by_hand(name, result, k) for k in range(3)]
    assert len({round(v, 4) for v in each}) == 3
    for k, expected in enumerate(each):
        assert Asked.parse(f"{name}:c{k}").of(result, ["c0", "c1", "c2", "c3"]) == pytest.approx(expected, rel=1e-6)
    assert METRICS[name].of(result) == pytest.approx(np.mean(each), rel=1e-6)


def test_metrics_of_all_classes_together(result):
    assert METRICS["accuracy"].of(result) == sum(counts(result, k)[0] for k in range(3)) / 200
    assert METRICS["balanced_accuracy"].of(result) == pytest.approx(METRICS["recall"].of(result))
    p = result.probabilities
    assert METRICS["loss"].of(result) == pytest.approx(
        -np.mean([math.log(p[i, t]) for i, t in enumerate(result.labels)])
    )
    two = evaluation([0, 0, 0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9], [0.6, 0.4]])
    a, b, c, d = 1, 1, 1, 2  # true positives, false positives, false negatives, true negatives
    by_definition = (a * d - b * c) / math.sqrt((a + b) * (a + c) * (d + b) * (d + c))
    assert METRICS["mcc"].of(two) == pytest.approx(by_definition)
    assert METRICS["auc"].of(two) == pytest.approx(by_hand("auc", two, 1))


@pytest.mark.parametrize("name", ["auc", "average_precision"])
def test_of_two_classes_both_count(name, rng):
    p = rng.random(60)
    two = evaluation((rng.random(60) < 0.2 + 0.5 * p).astype(int), np.stack([1 - p, p], axis=1))
    each = [by_hand(name, two, k) for k in (0, 1)]
    assert METRICS[name].of(two) == pytest.approx(np.mean(each), abs=1e-6)


def test_what_cannot_be_ranked_is_not_a_number_and_never_best():
    one_class = evaluation([0, 0], [[0.9, 0.1], [0.2, 0.8]])
    assert math.isnan(METRICS["auc"].of(one_class))
    goal = Goal.parse("auc")
    assert goal.score({"auc": math.nan, "loss": 0.1}) < goal.score({"auc": 0.01, "loss": 9.0})
    assert not Condition.parse("auc>0").holds(math.nan)


def test_what_a_network_costs():
    model = build_model("cnn", (16, 16, 3), 5, width=4)
    values = Goal.parse("accuracy", "parameters<1, size_mb<1, mflops<1, latency_ms<1").of_network(model, (16, 16, 3))
    assert values["parameters"] == sum(p.size for p in model.parameters())
    state = model.state_dict()
    assert values["size_mb"] == pytest.approx(sum(4 * a.size for a in state.values()) / 1e6)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(6, 5))
    assert METRICS["mflops"].of(linear, (1, 2, 3)) == pytest.approx((2 * 6 * 5 + 5) / 1e6, rel=0.2)
    assert model.training


def test_latency_is_the_time_of_one_example(monkeypatch):
    """The network takes as long as its clock says: a slow start, then 3 ms, with an interruption now and then."""

    class Clocked(nn.Module):
        now, calls = 0.0, 0

        def forward(self, x):
            assert x.shape == (1, 2, 3)
            assert not self.training
            Clocked.calls += 1
            Clocked.now += 1.0 if Clocked.calls <= 5 or Clocked.calls % 7 == 0 else 0.003
            return x

    monkeypatch.setattr("dlkit.train.metrics.time.perf_counter", lambda: Clocked.now)
    assert latency_ms(Clocked(), (2, 3)) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("latency_ms<5", 5.0, False),
        ("latency_ms<=5", 5.0, True),
        (" recall : cat >= 0.9 ", 0.9, True),
        ("recall:cat>0.9", 0.9, False),
        ("parameters<1e6", 999_999, True),
    ],
)
def test_conditions(text, value, holds):
    assert Condition.parse(text).holds(value) is holds


@pytest.mark.parametrize(
    ("metric", "satisfy", "said"),
    [
        ("acuracy", None, "did you mean 'accuracy'"),
        ("accuracy:cat", None, "accuracy is not of one class"),
        ("recall:", None, "names no class"),
        ("f1", "latency<5", "did you mean 'latency_ms'"),
        ("f1", "latency_ms", "is no condition"),
        ("f1", "latency_ms==5", "is no condition"),
        ("f1", "1<latency_ms<5", "is no condition"),
        ("f1", "latency_ms<5ms", "'5ms' is not a number"),
        ("f1", "latency_ms<nan", "a finite number"),
        ("f1", "accuracy>90", "accuracy is a share from 0 to 1"),
        ("f1", "recall>0.5,", "is no condition"),
    ],
)
def test_what_is_no_goal_is_refused(metric, satisfy, said):
    with pytest.raises(ConfigError, match=said):
        Goal.parse(metric, satisfy)


def test_an_unknown_class_is_named(result):
    with pytest.raises(ConfigError, match=r"no class 'kat' \(did you mean 'cat'\?\)"):
        Goal.parse("recall:kat").of_predictions(result, ["cat", "dog", "cow", "owl"])


def test_conditions_go_before_the_metric_and_the_metric_before_the_loss():
    goal = Goal.parse("f1", "latency_ms<5, recall>=0.5")
    best_first = [
        {"f1": 0.6, "latency_ms": 4, "recall": 0.5, "loss": 0.4},
        {"f1": 0.6, "latency_ms": 1, "recall": 0.9, "loss": 0.5},
        {"f1": 0.5, "latency_ms": 1, "recall": 0.9, "loss": 0.1},
        {"f1": 0.9, "latency_ms": 5, "recall": 0.9, "loss": 0.1},
        {"f1": 0.8, "latency_ms": 9, "recall": 0.1, "loss": 0.1},
    ]
    scores = [goal.score(values) for values in best_first]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores)
    assert goal.missed(best_first[0]) == []
    assert goal.missed(best_first[4]) == ["latency_ms<5 (9)", "recall>=0.5 (0.1)"]
    lower = Goal.parse("loss")
    assert lower.score({"loss": 0.1}) > lower.score({"loss": 0.2})
