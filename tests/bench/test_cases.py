"""Every case, in sizes for tests: it builds, its answer is right, and a wrong one is refused."""

import dataclasses

import numpy as np
import pytest

from dlkit.bench import CASES, Benchmark, Options, Work, select
from dlkit.bench.parcel import read_inputs, write_inputs
from dlkit.errors import BenchmarkError, ConfigError

STEPS = [name for name, case in CASES.items() if case.isolated]
QUICK = Options(tiny=True, rounds=1, block_seconds=0.0)


def spoiled(case, change):
    """The case with `change` made to dlkit's answer in float32."""

    def ours(inputs):
        work = case.ours(inputs)
        wrong = any(isinstance(x, np.ndarray) and x.dtype == np.float32 for x in inputs.values())
        return Work(work.run, lambda y: change(work.answer(y)) if wrong else work.answer(y))

    return dataclasses.replace(case, ours=ours)


@pytest.fixture(scope="module")
def bench():
    return Benchmark(QUICK)


@pytest.mark.parametrize("name", CASES.names())
def test_the_answer_is_right_and_a_wrong_one_is_refused(name, rng):
    case = CASES[name]
    inputs = case.tiny(rng)
    expected = case.expected(inputs)
    work = case.ours(inputs)
    answer = work.answer(work.run())
    assert case.check("dlkit", answer, expected) <= case.tolerance
    for i in range(len(answer)):
        wrong = [a * (1.2 if i == j else 1) for j, a in enumerate(answer)]
        with pytest.raises(BenchmarkError, match="computes something else"):
            case.check("dlkit", wrong, expected)


@pytest.mark.parametrize("name", CASES.names())
def test_counts_are_positive_and_inputs_survive(name, rng):
    case = CASES[name]
    inputs = case.tiny(rng)
    before = {key: np.copy(x) for key, x in inputs.items() if isinstance(x, np.ndarray)}
    work = case.ours(inputs)
    for _ in range(3):
        work.run()
    for key, x in before.items():
        np.testing.assert_array_equal(inputs[key], x)
    for count in (case.flops(inputs), case.bytes(inputs)):
        assert count is None or count > 0


def test_full_sizes_are_those_of_the_names():
    inputs = CASES["conv vgg 8x56x56x64 3x3 64 forward"].inputs(np.random.default_rng(0))
    assert inputs["x"].shape == (8, 56, 56, 64)
    assert CASES["conv vgg 8x56x56x64 3x3 64 forward"].flops(inputs) == 2 * 8 * 56 * 56 * 64 * 64 * 9
    inputs = CASES["linear 64x784x256 dw = xᵀ dy"].inputs(np.random.default_rng(0))
    assert CASES["linear 64x784x256 dw = xᵀ dy"].flops(inputs) == 2 * 64 * 784 * 256
    assert not any("7x7 64 s2 backward_input" in name for name in CASES)  # first layers need none


def test_a_wrong_kernel_is_not_timed(bench):
    case = spoiled(CASES["relu 64x32x32x16 forward"], lambda answer: [a + 0.01 for a in answer])
    with pytest.raises(BenchmarkError, match=r"relu .* dlkit computes something else: it differs by .*; not timed"):
        bench.run(case)


@pytest.mark.parametrize(
    "change",
    [
        lambda loss, g, moved: [loss * 1.1, g, moved],
        lambda loss, g, moved: [loss, -g, moved],
        lambda loss, g, moved: [loss, np.where(np.arange(g.size) == np.abs(g).argmax(), 0, g), moved],
        lambda loss, g, moved: [loss, g, moved * 0],
    ],
    ids=["loss", "sign of the gradient", "one element of it", "no optimiser step"],
)
def test_a_wrong_training_step_is_refused(change, rng):
    case = CASES["step mlp 784-256-128-10, batch 64"]
    inputs = case.tiny(rng)
    broken = spoiled(case, lambda answer: change(*answer))
    work = broken.ours(inputs)
    with pytest.raises(BenchmarkError):
        case.check("dlkit", work.answer(work.run()), broken.expected(inputs))


def test_a_result_says_what_was_measured(bench):
    result = bench.run(CASES["conv lenet5 64x14x14x6 5x5 16 forward"])
    assert result.dlkit_ms > 0
    assert result.gflops > 0
    assert result.peak_fraction is None or 0 < result.peak_fraction < 10
    assert result.error < 1e-5
    assert (result.torch_ms, result.ratio, result.faults) == (None, None, None)
    moved = bench.run(CASES["relu 64x32x32x16 forward"])
    assert moved.gflops is None
    assert moved.gbytes > 0


def test_a_training_step_runs_in_a_process_of_its_own(bench):
    result = bench.run(CASES["step lenet5, batch 64"])
    assert result.dlkit_ms > 0
    assert result.faults >= 0
    assert result.peak_mb >= 0.9 * result.loaded_mb > 0
    assert result.error < 1e-3


def test_a_process_that_fails_says_why(bench):
    case = dataclasses.replace(CASES["step lenet5, batch 64"], name="step that does not exist")
    with pytest.raises(BenchmarkError, match=r"the process of dlkit ended: .*unknown benchmark"):
        bench.run(case)


def test_inputs_survive_the_parcel(tmp_path, rng):
    inputs = CASES[STEPS[0]].tiny(rng)
    write_inputs(tmp_path / "inputs.npz", inputs)
    got = read_inputs(tmp_path / "inputs.npz")
    assert got.keys() == inputs.keys()
    assert [n for n in got if n.startswith("weights.")] == [n for n in inputs if n.startswith("weights.")]
    for name, x in inputs.items():
        np.testing.assert_array_equal(got[name], x)


def test_the_algorithm_of_a_convolution_is_told(bench, monkeypatch):
    matrix = pytest.importorskip("dlkit._native.matrix")

    def tell(x, w, stride, padding, *, groups):
        assert (len(x), len(w), stride, padding, groups) == (4, 4, (2, 2), (1, 1, 1, 1), 1)
        return "direct", "winograd", "product"

    monkeypatch.setattr(matrix, "conv2d_algorithm", tell, raising=False)
    name = "conv resnet20 64x32x32x16 3x3 32 s2"
    told = [bench.run(CASES[f"{name} {d}"]).algorithm for d in ("forward", "backward_input", "backward_weight")]
    assert told == ["direct", "winograd", "product"]
    assert bench.run(CASES["matmul 128x128x128"]).algorithm is None


def test_selecting():
    assert {c.isolated for c in select("models")} == {True}
    assert {c.isolated for c in select("kernels")} == {False}
    assert len(select()) == len(CASES)
    assert [c.name for c in select("all", "tape add, rec*")] == ["tape add, recorded"]
    assert {c.group for c in select("all", "optim")} == {"optim"}
    with pytest.raises(ConfigError, match="--list"):
        select("models", "matmul")
    with pytest.raises(ConfigError, match="unknown peer 'jax'"):
        Benchmark(Options(against="jax"))
    with pytest.raises(ConfigError, match="rounds"):
        Benchmark(Options(rounds=0))
