"""One number of threads for everybody; results that do not depend on it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from dlkit.backends import available_backends

TRAIN = """
import json, sys, numpy as np, dlkit
from dlkit.data import ArraySource, Dataset
from dlkit.threads import set_num_threads
from dlkit.train import TrainConfig, Trainer
rng = np.random.default_rng(0)
data = Dataset("noise", ["a", "b"], ArraySource(rng.integers(0, 256, (64, 16, 16, 3)).astype(np.uint8), np.arange(64) % 2))
config = TrainConfig(model="cnn", epochs=1, batch_size=32, width=16, threads=int(sys.argv[1]), val_split=0.0, out=sys.argv[2],
                     backend=sys.argv[3])
result = Trainer(config, data).fit()
from dlkit._native import matrix
print(json.dumps([result.train_loss, matrix.max_threads()]))
"""


@pytest.mark.skipif("native" not in available_backends(), reason="the native kernels are not built")
def test_a_training_gives_the_same_bits_on_one_and_two_threads(tmp_path):
    losses = {}
    for threads in (1, 2):
        command = [sys.executable, "-c", TRAIN, str(threads), str(tmp_path / str(threads)), "native"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        loss, used = json.loads(done.stdout)
        assert used == threads
        losses[threads] = loss
    assert losses[1] == losses[2]


def test_the_environment_sets_the_default():
    code = "from dlkit import threads; threads.set_num_threads(0); print(threads._requested)"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "1"


def test_numba_follows_when_it_is_loaded_later():
    pytest.importorskip("numba")
    code = (
        "import numpy as np, dlkit; from dlkit.threads import set_num_threads; set_num_threads(1);"
        "dlkit.use_backend('numba'); import numba; print(numba.get_num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.skipif("native" not in available_backends(), reason="the native kernels are not built")
@pytest.mark.parametrize("asked", ["set_num_threads(1)", "None"])
def test_numba_loaded_later_leaves_the_native_kernels_their_number(asked):
    """Both share one OpenMP runtime, and Numba sets its number to all cores when it starts its threads."""
    pytest.importorskip("numba")
    code = (
        f"from dlkit.threads import set_num_threads; from dlkit._native import matrix; {asked}; import dlkit.jit;"
        "import dlkit.inpaint as i, numpy as np; h = np.zeros((400, 400), bool); h[50:350, 50:350] = True;"
        "i.inpaint(np.ones((400, 400), np.float32), h, 'harmonic'); print(matrix.max_threads())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "1"


@pytest.mark.skipif("native" not in available_backends(), reason="the native kernels are not built")
@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512", "sse9"])
def test_an_instruction_set_can_be_asked_for(isa):
    """One this CPU has is taken; one it lacks, or an unknown name, is said by the doctor and not followed."""
    code = "from dlkit._native import matrix as m; print(m.isa_name(), m.isa_cpu(), m.isa_request_error() or '-')"
    environment = {**os.environ, "DLKIT_ISA": isa}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    used, best, error = done.stdout.strip().split(" ", 2)
    order = ["baseline", "avx2", "avx512"]
    if isa in order and order.index(isa) <= order.index(best):
        assert (used, error) == (isa, "-")
    else:
        assert used == best
        assert "DLKIT_ISA" in error


def test_thread_count_of_the_reference_does_not_matter():
    from dlkit.backends import kernels, use_backend
    from dlkit.threads import set_num_threads

    rng = np.random.default_rng(0)
    a = rng.standard_normal((40, 30))
    with use_backend("reference"):
        set_num_threads(1)
        one = kernels().matmul(a, a, False, True)
        set_num_threads(2)
        np.testing.assert_allclose(kernels().matmul(a, a, False, True), one, rtol=1e-12)
