"""The pool behind large results: reused, bounded, given back, safe to hold on to."""

import gc
import itertools
import threading
import tracemalloc

import numpy as np
import pytest

import dlkit
from dlkit import Tensor, memory, nn
from dlkit.backends import kernels
from dlkit.optim import SGD

pool = pytest.importorskip("dlkit._native.pool")
MB = 1 << 20


@pytest.fixture(autouse=True)
def native_only():
    with dlkit.use_backend("native"):
        gc.collect()
        memory.release()
        yield
        memory.release()


def relu_of(megabytes, value=1.0):
    return kernels("cpu").relu(np.full(megabytes * MB // 4, value, np.float32))


def test_a_freed_block_is_taken_again():
    first = relu_of(3)
    address = first.ctypes.data
    del first
    assert memory.stats()["kept"] >= 3 * MB
    before = memory.stats()["fresh"]
    assert relu_of(3).ctypes.data == address
    assert memory.stats()["fresh"] == before


def test_in_use_counts_what_lives():
    start = memory.stats()["in_use"]
    held = [relu_of(2) for _ in range(4)]
    assert memory.stats()["in_use"] - start == 8 * MB
    del held
    assert memory.stats()["in_use"] == start


def test_a_view_keeps_the_block():
    y = relu_of(2, value=3.0)
    view = y[::1000].reshape(-1)
    del y
    others = [relu_of(2, value=5.0) for _ in range(3)]
    assert (view == 3.0).all()
    assert all((o == 5.0).all() for o in others)


def test_arrays_start_on_cache_lines_and_do_not_overlap():
    held = [relu_of(1 + i % 3) for i in range(20)]
    spans = sorted((a.ctypes.data, a.ctypes.data + a.nbytes) for a in held)
    assert all(start % 64 == 0 for start, _ in spans)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_release_gives_everything_back():
    del_me = relu_of(5)
    del del_me
    memory.release()
    assert memory.stats()["kept"] == 0
    assert memory.stats()["peak"] == memory.stats()["in_use"]


def test_sizes_that_no_longer_come_do_not_pile_up():
    for megabytes in range(8, 72):  # each its own size, one alive at a time: 2.5 GB if all were kept
        relu_of(megabytes)
    assert memory.stats()["kept"] <= 71 * MB * 9 / 8 + 33 * MB


def test_small_results_do_not_come_from_the_pool():
    before = memory.stats()
    held = [kernels("cpu").relu(np.ones(1000, np.float32)) for _ in range(50)]
    assert memory.stats()["in_use"] == before["in_use"]
    del held


def test_a_steady_training_step_takes_nothing_fresh():
    dlkit.random.seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16, activation="relu"), nn.GlobalAvgPool2d())
    optimizer, loss = SGD(model.parameters(), 0.1), nn.CrossEntropyLoss()
    x, labels = np.ones((32, 32, 32, 3), np.float32), np.arange(32) % 10
    fresh = []
    for _ in range(5):
        value = loss(model(Tensor(x)), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        del value
        fresh.append(memory.stats()["fresh"])
    assert fresh[1:] == fresh[1:2] * 4


def test_threads_share_the_pool():
    failures = []

    def work(value):
        for _ in range(50):
            y = relu_of(1, value)
            if not (y == value).all():
                failures.append(value)

    threads = [threading.Thread(target=work, args=(float(i + 1),)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_a_result_too_large_for_any_machine_is_a_memory_error():
    before = memory.stats()["in_use"]
    with pytest.raises(MemoryError):
        kernels("cpu").matmul(np.zeros((1 << 23, 0), np.float32), np.zeros((0, 1 << 23), np.float32))
    assert memory.stats()["in_use"] == before


def test_tracemalloc_does_not_see_a_leak():
    tracemalloc.start()
    relu_of(1)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(200):
        relu_of(1)
    assert tracemalloc.get_traced_memory()[0] - before < 100_000
    tracemalloc.stop()
