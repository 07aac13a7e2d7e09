"""The loss of several heads is the formula, whatever is missing; the docs' example learns."""

import re
from pathlib import Path

import numpy as np
import pytest

from dlkit import Tensor, nn
from dlkit.errors import ConfigError, ShapeError
from dlkit.nn.multitask import known_labels

DOCS = Path(__file__).resolve().parents[2] / "docs" / "models.md"


def cross_entropy(z, labels):
    z = z - z.max(axis=1, keepdims=True)
    return (np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]).mean()


@pytest.fixture
def batch(rng):
    return {
        "a": rng.standard_normal((6, 3)),
        "b": rng.standard_normal((6, 4)),
        "size": rng.standard_normal((6, 2)),
    }, {"a": np.array([0, -1, 2, -1, 1, 1]), "b": rng.integers(0, 4, 6), "size": rng.standard_normal((6, 2))}


def test_it_is_the_weighted_sum_of_means_over_known_labels(batch):
    outputs, targets = batch
    targets["size"][[0, 5], [1, 0]] = np.nan
    loss = nn.MultiTaskLoss(
        {"a": nn.CrossEntropyLoss(), "b": nn.CrossEntropyLoss(), "size": nn.MSELoss()}, {"a": 2.0, "b": 0.5, "size": 3}
    )
    tensors = {n: Tensor(x, requires_grad=True) for n, x in outputs.items()}
    value = loss(tensors, targets)
    known, sized = targets["a"] >= 0, [1, 2, 3, 4]
    parts = {
        "a": cross_entropy(outputs["a"][known], targets["a"][known]),
        "b": cross_entropy(outputs["b"], targets["b"]),
        "size": ((outputs["size"] - targets["size"])[sized] ** 2).mean(),
    }
    for name, part in loss.parts(tensors, targets).items():
        assert part.item() == pytest.approx(parts[name], rel=1e-12)
    assert value.item() == pytest.approx(2 * parts["a"] + 0.5 * parts["b"] + 3 * parts["size"], rel=1e-12)

    value.backward()
    p = np.exp(outputs["a"]) / np.exp(outputs["a"]).sum(axis=1, keepdims=True)
    p[known, targets["a"][known]] -= 1
    np.testing.assert_allclose(tensors["a"].grad.numpy(), np.where(known[:, None], 2 * p / known.sum(), 0), atol=1e-14)
    np.testing.assert_array_equal(tensors["size"].grad.numpy()[[0, 5]], 0)


def test_a_head_without_any_label_counts_nothing(batch):
    outputs, targets = batch
    losses = [nn.CrossEntropyLoss(), nn.CrossEntropyLoss()]
    tensors = [Tensor(outputs[n], requires_grad=True) for n in "ab"]
    value = nn.MultiTaskLoss(losses)(tensors, [np.full(6, -1), targets["b"]])
    assert value.item() == pytest.approx(cross_entropy(outputs["b"], targets["b"]), rel=1e-12)
    value.backward()
    np.testing.assert_array_equal(tensors[0].grad.numpy(), 0)


def test_whole_numbers_of_a_regression_are_numbers():
    loss = nn.MultiTaskLoss({"a": nn.CrossEntropyLoss(), "b": nn.MSELoss()})
    outputs = {"a": Tensor(np.zeros((3, 2))), "b": Tensor(np.zeros((3, 1)))}
    targets = {"a": np.array([0, 1, -1]), "b": np.array([[-1], [0], [-1]])}
    expected = {"a": pytest.approx(np.log(2)), "b": pytest.approx(2 / 3)}
    assert {n: v.item() for n, v in loss.parts(outputs, targets).items()} == expected
    tensors = {n: Tensor(t) for n, t in targets.items()}
    assert {n: v.item() for n, v in loss.parts(outputs, tensors).items()} == expected


def test_a_head_without_a_label_counts_nothing_whatever_it_says():
    x = Tensor(np.full((3, 2), np.inf), requires_grad=True)
    value = nn.MultiTaskLoss([nn.CrossEntropyLoss()])([x], [np.full(3, -1)])
    value.backward()
    assert value.item() == 0
    np.testing.assert_array_equal(x.grad.numpy(), 0)


def test_what_is_known():
    np.testing.assert_array_equal(known_labels(np.array([3, -1, 0])), [True, False, True])
    np.testing.assert_array_equal(known_labels(np.array([[1.0, np.nan], [-1, 2]])), [False, True])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.MultiTaskLoss({}), ConfigError, "at least one head"),
        (
            lambda: nn.MultiTaskLoss({"a": nn.MSELoss()}, {"b": 1.0}),
            ConfigError,
            "weights for b; the heads are a",
        ),
        (lambda: nn.MultiTaskLoss({"a": nn.MSELoss()}, {"a": -1.0}), ConfigError, r"weight of 'a' \(=-1.0\)"),
        (lambda: nn.MultiTaskLoss([nn.MSELoss("sum")]), ConfigError, "must have reduction='mean'"),
        (
            lambda: nn.MultiTaskLoss({"a": nn.MSELoss()})({"b": Tensor([1.0])}, {"a": np.zeros(1)}),
            ConfigError,
            "outputs for b; the heads are a",
        ),
        (
            lambda: nn.MultiTaskLoss([nn.MSELoss()])([Tensor([1.0, 2.0])], [np.zeros(3)]),
            ShapeError,
            "head 0 has 2 outputs and 3 targets",
        ),
    ],
)
def test_what_does_not_fit_is_said(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_example_in_the_docs_learns_both_tasks():
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S) if "parity" in c]
    found = {}
    exec(compile(code, str(DOCS), "exec"), found)
    assert 0.4 < (found["parity"] == -1).mean() < 0.6
    assert found["accuracy"]["digit"] > 0.96
    assert found["accuracy"]["even"] > 0.96
