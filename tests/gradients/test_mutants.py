"""Does the check bite? At least 99 of 100 wrong backwards must be caught; the few that are not stand here with the reason."""

import numpy as np
import pytest
from gradients.mutants import hunt

from dlkit.ops import OPS

SURVIVORS = {  # "op: mutant" -> why it may live
    "batch_norm_inference: add: second term dropped": "eps = 1e-5 left out of √(var + eps) moves the gradient by 5e-6 of "
    "itself, which is below the tolerance of 1e-5; the sample with eps = 1e-3 catches the same mutant",
}
TO_BREAK = [name for name, op in OPS.items() if op.differentiable]
FAST = ["tanh", "multiply", "divide", "matmul", "linear", "batch_norm_inference", "softmax", "var", "mse"]


def samples(name, first=None):
    return OPS[name].samples(np.random.default_rng(0))[:first]


def unexplained(tally):
    """The survivors that SURVIVORS does not name."""
    named = {text: f"{text.split()[0]}: {text.rpartition(', ')[2]}" for text in tally.survivors}
    return [text for text, key in named.items() if key not in SURVIVORS]


@pytest.mark.parametrize("name", FAST)
def test_broken_backwards_are_caught(name, monkeypatch):
    tally = hunt(OPS[name], samples(name, 2), monkeypatch)
    assert tally.mutants >= 8
    assert not unexplained(tally)


def test_the_original_is_restored_and_passes(monkeypatch):
    from gradients.mutants import caught

    from dlkit.gradients.ops import SampleCall

    hunt(OPS["mse"], samples("mse", 1), monkeypatch)
    assert not caught(SampleCall(OPS["mse"], samples("mse")[0]), 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", TO_BREAK)
def test_every_backward_broken_in_every_way(name, monkeypatch):
    tally = hunt(OPS[name], samples(name), monkeypatch)
    assert tally.mutants >= 5
    assert len(tally.survivors) <= 0.01 * tally.mutants, f"{len(tally.survivors)} of {tally.mutants}: {tally.survivors}"
    assert not unexplained(tally)


def test_who_survives_one_sample_is_caught_by_another(monkeypatch):
    """The mutant in SURVIVORS, at the op's second sample."""
    tally = hunt(OPS["batch_norm_inference"], samples("batch_norm_inference", 2)[1:], monkeypatch)
    assert not tally.survivors
