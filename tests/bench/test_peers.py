"""PyTorch's sides: with PyTorch installed, every case against it; without, the comparison by a stand-in."""

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from dlkit.bench import CASES, Benchmark, Options, Work, run
from dlkit.errors import BenchmarkError

QUICK = Options(against="torch", tiny=True, rounds=2, block_seconds=0.0)
RELU = CASES["relu 64x32x32x16 forward"]


def stand_in(build, variants=("default", "channels_last")):
    """What dlkit.bench.peers offers, with one peer for all cases."""
    return lambda: SimpleNamespace(
        VERSION="0.0",
        set_num_threads=lambda n: None,
        PEERS={RELU.peer: SimpleNamespace(variants=variants, build=build)},
    )


def slow(times):
    def build(inputs, variant):
        work = RELU.ours(inputs)

        def again():
            for _ in range(times[variant]):
                y = work.run()
            return y

        return Work(again, work.answer)

    return build


def test_the_faster_variant_counts(monkeypatch):
    monkeypatch.setattr(run, "load_peers", stand_in(slow({"default": 3000, "channels_last": 300})))
    result = Benchmark(QUICK).run(RELU)
    assert result.torch_variant == "channels_last"
    assert result.torch_all_ms["default"] > result.torch_ms == result.torch_all_ms["channels_last"]
    assert result.ratio == pytest.approx(result.torch_ms / result.dlkit_ms)
    assert result.ratio_low <= result.ratio <= result.ratio_high
    assert result.ratio > 10


def test_a_peer_that_does_other_work_is_refused(monkeypatch):
    def build(inputs, variant):
        work = RELU.ours(inputs)
        return Work(work.run, lambda y: [-a for a in work.answer(y)])

    monkeypatch.setattr(run, "load_peers", stand_in(build))
    with pytest.raises(BenchmarkError, match=r"PyTorch \(default\) computes something else"):
        Benchmark(QUICK).run(RELU)


def test_the_process_of_the_peer_does_not_load_dlkits_kernels():
    """They ask the C library to keep freed memory, which would change PyTorch's figures."""
    code = (
        "import sys, dlkit.bench.worker, dlkit.bench.step, dlkit.bench.parcel; "
        "print([m for m in sys.modules if m.startswith(('dlkit._native.', 'dlkit.backends.native'))])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


ABSENT = [pytest.param("", marks=pytest.mark.skip(reason="PyTorch is not installed"))]


@pytest.mark.parametrize("name", CASES.names() if importlib.util.find_spec("torch") else ABSENT)
def test_pytorch_computes_the_same(name):
    from dlkit.bench.peers import PEERS

    case = CASES[name]
    inputs = case.tiny(np.random.default_rng(0))
    expected = case.expected(inputs)
    for variant in PEERS[case.peer].variants:
        work = PEERS[case.peer].build(inputs, variant)
        case.check(variant, work.answer(work.run()), expected)
