import gc
import threading
import time

import numpy as np
import pytest

from dlkit.data.augment import Augment
from dlkit.data.loader import Loader
from dlkit.data.normalize import Normalizer
from dlkit.errors import ConfigError


class Fake:
    """Picture i is filled with the value i, so that a batch tells which examples are in it."""

    is_image = True
    shape = (6, 6, 1)

    def __init__(self, n=50, fail_at=None, wait=0.0):
        self.x = np.repeat(np.arange(n, dtype=np.uint8), 36).reshape(n, 6, 6, 1)
        self.labels = (np.arange(n) * 10).astype(np.int32)
        self.reads, self.fail_at, self.wait = 0, fail_at, wait

    def __len__(self):
        return len(self.x)

    def read(self, indices):
        self.reads += 1
        time.sleep(self.wait)
        if self.fail_at in indices:
            raise OSError("picture 33 is broken")
        return self.x[indices]


RAW = Normalizer("none", np.zeros(1), np.ones(1), True)
MODES = [{"prefetch": 0}, {"prefetch": 1}, {"prefetch": 3}, {"prefetch": 4, "workers": 3}]


def loader(source=None, batch_size=8, **options):
    options = {"normalizer": RAW, "seed": 5, **options}
    return Loader(Fake() if source is None else source, batch_size, **options)


def ours():
    return [t for t in threading.enumerate() if t.name.startswith("dlkit-loader")]


def settled(source):
    """Reads made once the background threads have come to rest."""
    while True:
        before = source.reads
        time.sleep(0.05)
        if source.reads == before:
            return before


@pytest.fixture(autouse=True)
def _no_thread_left():
    yield
    assert ours() == []


def collect(batches):
    return [(x.tobytes(), y.tobytes()) for x, y in batches]


@pytest.mark.parametrize("options", MODES)
def test_an_epoch_is_every_example_once_with_its_label(options):
    data = loader(**options)
    batches = list(data.epoch(0))
    assert len(batches) == len(data) == 7
    assert [len(y) for _, y in batches] == [8] * 6 + [2]
    for x, y in batches:
        assert x.dtype == np.float32
        assert x.flags.c_contiguous
        assert x.shape == (len(y), 6, 6, 1)
        assert y.dtype == np.int64
        assert np.array_equal(x[:, 0, 0, 0] * 10, y)
    assert sorted(np.concatenate([y for _, y in batches]) // 10) == list(range(50))


def order(data, epoch):
    return tuple(np.concatenate([y for _, y in data.epoch(epoch)]) // 10)


def test_order_varies_by_epoch_and_seed_only():
    orders = [order(loader(seed=s), e) for s in range(4) for e in range(4)]
    assert len(set(orders)) == 16
    data = loader()
    third = order(data, 3)
    order(data, 7)
    assert order(data, 3) == third  # whatever came between
    expected = np.random.default_rng(np.random.SeedSequence((5, 1, 3))).permutation(50)
    assert third == tuple(expected)
    assert order(loader(shuffle=False), 3) == tuple(range(50))
    # Every example comes first, in the middle and last sometimes: the shuffle reaches all places.
    places = np.array([np.argsort(order(data, e)) for e in range(200)])
    assert places.mean(0).min() > 20
    assert places.mean(0).max() < 29
    assert places.std(0).min() > 12  # uniform on 0..49: 14.4


@pytest.mark.parametrize("augment", [None, Augment.parse("flip,crop=2,rotate=20,shift=0.2,cutout=2")])
def test_resumed_epoch_and_every_prefetch_give_the_same_bytes(augment):
    whole = collect(loader(augment=augment, prefetch=0).epoch(2))
    assert len(set(whole)) == 7
    for options in MODES:
        data = loader(augment=augment, **options)
        for start in range(8):
            assert collect(data.epoch(2, start)) == whole[start:], (options, start)


def test_augmentation_is_applied_and_varies_by_epoch_batch_and_seed():
    same = Fake(64)
    same.x[:] = np.random.default_rng(0).integers(0, 256, (1, 6, 6, 1))
    augment = Augment.parse("rotate=40,shift=0.3")

    def seen(seed, epoch):
        return {x.tobytes() for x, _ in loader(same, augment=augment, seed=seed).epoch(epoch)}

    assert len(seen(0, 0) | seen(0, 1) | seen(1, 0)) == 24
    x, _ = next(iter(loader(same, augment=augment, shuffle=False, prefetch=0).epoch(4, 3)))
    rng = np.random.default_rng(np.random.SeedSequence((5, 2, 4, 3)))
    assert np.array_equal(x, augment(same.x[24:32], rng))


def test_drop_last_and_lengths():
    assert len(loader(drop_last=True)) == 6
    assert [len(y) for _, y in loader(drop_last=True).epoch(0)] == [8] * 6
    assert len(loader(Fake(48))) == len(loader(Fake(48), drop_last=True)) == 6
    assert [len(y) for _, y in loader(batch_size=99).epoch(0)] == [50]


@pytest.mark.parametrize("options", MODES)
def test_an_error_is_raised_at_its_batch(options):
    source = Fake(fail_at=33)
    data = loader(source, shuffle=False, **options)
    got = []
    with pytest.raises(OSError, match="picture 33 is broken"):
        got.extend(y[0] // 10 for _, y in data.epoch(0))
    assert got == [0, 8, 16, 24]
    assert ours() == []
    source.fail_at = None
    assert len(list(data.epoch(0))) == 7  # usable again


@pytest.mark.parametrize("options", MODES[1:])
@pytest.mark.parametrize("way", ["break", "error", "close", "collect", "cycle", "never begun"])
def test_abandoning_stops_the_threads(options, way, request):
    source = Fake(200, wait=0.002)
    data = loader(source, batch_size=2, **options)
    gc.freeze()  # a collection has only this test's objects to look at, not those of every module imported so far
    request.addfinalizer(gc.unfreeze)
    begun = time.perf_counter()
    if way == "break":
        for _ in data.epoch(0):
            assert ours()
            break
    elif way == "error":

        def fail():
            for y, _ in data.epoch(0):
                y.this_is_no_attribute  # noqa: B018

        with pytest.raises(AttributeError):
            fail()
    else:
        batches = data.epoch(0)
        if way != "never begun":
            next(batches)
            assert ours()
        if way == "close":
            batches.close()
        elif way == "cycle":
            loop = [batches]
            loop.append(loop)
            del loop, batches
            gc.collect()
        else:
            del batches
    assert ours() == []
    assert time.perf_counter() - begun < 1
    assert settled(source) <= 1 + data.prefetch


@pytest.mark.parametrize("options", MODES[1:])
def test_prefetch_fills_up_and_is_bounded(options):
    source = Fake()
    data = loader(source, batch_size=1, **options)
    batches = data.epoch(0)
    for taken in range(1, 6):
        next(batches)
        assert settled(source) == taken + data.prefetch
    batches.close()


def test_order_is_kept_when_workers_finish_out_of_order():
    class Uneven(Fake):
        def read(self, indices):
            time.sleep(0.003 if indices[0] % 3 == 0 else 0)
            return super().read(indices)

    batches = loader(Uneven(), batch_size=1, shuffle=False, prefetch=6, workers=4).epoch(0)
    assert [y[0] // 10 for _, y in batches] == list(range(50))


def test_two_epochs_at_once_do_not_mix():
    data = loader()
    for (_, a), (_, b) in zip(data.epoch(0), data.epoch(1)):
        assert not np.array_equal(a, b)
    assert order(data, 0) == order(loader(prefetch=0), 0)


def test_work_is_done_ahead_of_the_consumer():
    source = Fake(wait=0.01)
    begun = time.perf_counter()
    for _ in loader(source, batch_size=5).epoch(0):
        time.sleep(0.01)
    together = time.perf_counter() - begun
    begun = time.perf_counter()
    for _ in loader(source, batch_size=5, prefetch=0).epoch(0):
        time.sleep(0.01)
    assert together < 0.85 * (time.perf_counter() - begun)


def test_batches_are_the_consumers_own():
    source = Fake()
    for x, y in loader(source).epoch(0):
        x[:], y[:] = -1, -1
    assert source.x[7].min() == 7
    assert order(loader(source), 0) == order(loader(), 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size 0: expected a whole number, 1 or more"),
        ({"batch_size": 2.5}, "batch_size 2.5"),
        ({"prefetch": -1}, "prefetch -1"),
        ({"workers": 0}, "workers 0"),
        ({"seed": -3}, "seed -3"),
        ({"batch_size": 51, "drop_last": True}, "50 examples make no batch of 51"),
        ({"source": Fake(0)}, "0 examples"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(ConfigError, match=message):
        loader(**options)


def test_other_errors():
    with pytest.raises(ConfigError, match="start 8: expected 0 to 7"):
        loader().epoch(0, 8)
    with pytest.raises(ConfigError, match="epoch -1"):
        loader().epoch(-1)
    source = Fake()
    source.is_image = False
    with pytest.raises(ConfigError, match="expected pictures"):
        loader(source, augment=Augment(flip=True))
    loader(source, augment=Augment())  # changes nothing, so it is no mistake
    source.labels = source.labels[:-1]
    with pytest.raises(ConfigError, match="one label each"):
        loader(source)
