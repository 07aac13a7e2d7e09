"""Does the check bite? At least 99 of 100 wrong backwards must be caught; the few that are not stand here with the reason."""

import numpy as np
import pytest
from gradients.mutants import hunt

from dlkit.ops import OPS

TO_BREAK = [name for name, op in OPS.items() if op.differentiable]
FAST = ["tanh", "multiply", "divide", "matmul", "linear", "batch_norm_inference", "softmax", "var", "mse"]


def samples(name, first=None):
    return OPS[name].samples(np.random.default_rng(0))[:first]


@pytest.mark.parametrize("name", FAST)
def test_broken_backwards_are_caught(name, monkeypatch):
    tally = hunt(OPS[name], samples(name, 2), monkeypatch)
    assert tally.mutants >= 8
    assert not tally.survivors


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
