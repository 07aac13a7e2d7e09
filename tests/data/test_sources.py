"""Sources and the stratified split."""

from __future__ import annotations

import io
import threading
from collections import Counter

import making
import numpy as np
import pytest
from PIL import Image

from dlkit.data import ArraySource, Dataset, ImageFilesSource, Subset, stratified_split
from dlkit.errors import ConfigError, DataError, UsageError


def test_array_source():
    source = ArraySource(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), [0, 1])
    assert source.is_image
    assert source.shape == (3, 4, 1)
    batch = source.read([1, 0, 1])
    assert batch.shape == (3, 3, 4, 1)
    batch[:] = 0
    assert source.read([1]).max() == 23
    assert source.read([]).shape == (0, 3, 4, 1)
    features = ArraySource(np.ones((3, 2)), [0, 1, 0], names=["a", "b", "c"])
    assert features.read([0]).dtype == np.float32
    assert not features.is_image
    assert features.name(2) == "c"


@pytest.mark.parametrize("index", [[2], [-1], [0.5], [[0]], ["a"]], ids=str)
def test_bad_indices(index):
    with pytest.raises(UsageError):
        ArraySource(np.ones((2, 2)), [0, 1]).read(index)


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [
        (np.ones((2, 2)), [0]),
        (np.ones((2, 2)), [0.5, 1]),
        (np.ones((2, 2, 2)), [0, 1]),
        (np.array([["a"]]), [0]),
        (np.ones((2, 2)), [[0, 1]]),
    ],
)
def test_bad_arrays(inputs, labels):
    with pytest.raises(DataError):
        ArraySource(inputs, labels)


class Counting:
    """An opener over a dict that counts how often each file is read."""

    def __init__(self, files):
        self.files, self.reads = files, Counter()

    def __call__(self, name):
        self.reads[name] += 1
        return self.files[name]


def image_source(files, shape):
    opener = Counting(files)
    return ImageFilesSource(list(files), np.zeros(len(files), int), shape, opener), opener


def test_each_image_is_decoded_once_by_many_threads():
    source, opener = image_source({f"{i}.png": making.grey(i) for i in range(100)}, (4, 5, 1))
    wrong = []

    def reader(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            index = rng.integers(0, 100, 17)
            if not np.array_equal(source.read(index)[:, 0, 0, 0], index):
                wrong.append(seed)

    threads = [threading.Thread(target=reader, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
    assert set(opener.reads.values()) == {1}
    assert source.decoded.all()


def test_a_broken_image_is_named_and_the_others_stay_readable():
    source, _ = image_source({"good.png": making.grey(3), "bad.png": b"\x89PNG nonsense"}, (4, 5, 1))
    for _ in range(2):
        with pytest.raises(DataError, match=r"bad\.png: not a readable image"):
            source.read([0, 1])
    assert source.read([0]).max() == 3


def test_other_sizes_and_modes_are_converted():
    files = {
        "same": making.rgb(10),
        "big": making.rgb(10, (40, 50)),
        "grey": making.grey(10),
        "palette": making.image_bytes(np.full((4, 5, 3), 10, np.uint8), "GIF"),
        "alpha": making.image_bytes(np.full((4, 5, 4), 10, np.uint8)),
        "sixteen": making.image_bytes(np.full((4, 5), 10 * 256 + 9, np.uint16)),
        "bits": making.image_bytes(np.zeros((4, 5), bool)),
        "jpeg": making.image_bytes(np.full((800, 1000, 3), 10, np.uint8), "JPEG"),
    }
    source, _ = image_source(files, (4, 5, 3))
    pixels = source.read(np.arange(len(files)))
    np.testing.assert_array_equal(pixels[[0, 1, 2, 3, 4, 5, 7]], 10)
    assert (source.resized, source.converted) == (2, 5)
    assert source.remarks() == ["2 images were resized to 4×5", "5 images were converted to RGB"]
    grey, _ = image_source(files, (4, 5, 1))
    np.testing.assert_array_equal(grey.read([0, 2, 5]), 10)


def test_exif_rotation_is_applied():
    pixels = np.zeros((4, 6), np.uint8)
    pixels[:, 0] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise: the left column becomes the top row
    source, _ = image_source({"a": making.image_bytes(pixels, "PNG", exif=exif)}, (6, 4, 1))
    out = source.read([0])[0, ..., 0]
    assert (out[0] == 200).all()
    assert out[1:].max() == 0
    assert source.resized == 0


def test_decompression_bombs_are_refused():
    out = io.BytesIO()
    Image.new("1", (10_001, 10_001)).save(out, "PNG")
    source, _ = image_source({"bomb.png": out.getvalue()}, (4, 5, 1))
    with pytest.raises(DataError, match=r"bomb\.png.*more than \d+ megapixels"):
        source.read([0])


def test_a_cache_beyond_this_machine_is_refused():
    with pytest.raises(DataError, match="smaller image_size"):
        ImageFilesSource(["a"] * 10_000, np.zeros(10_000, int), (20_000, 20_000, 3), bytes)


def test_subset():
    source = ArraySource(np.arange(10.0)[:, None], np.arange(10))
    part = Subset(Subset(source, [9, 3, 5, 1]), [2, 0])
    np.testing.assert_array_equal(part.read([0, 1]), [[5], [9]])
    np.testing.assert_array_equal(part.labels, [5, 9])
    assert part.name(1) == "example 9"


def test_dataset_checks_its_labels():
    source = ArraySource(np.ones((2, 3)), [0, 2])
    with pytest.raises(DataError, match=r"label 2, outside 0\.\.1"):
        Dataset("d", ["a", "b"], source)
    with pytest.raises(DataError, match="no training examples"):
        Dataset("d", ["a"], ArraySource(np.ones((0, 3)), []))


def test_stratified_split():
    labels = np.repeat([0, 1, 2, 3], [100, 10, 2, 1])
    np.random.default_rng(0).shuffle(labels)
    keep, held = stratified_split(labels, 0.2, 5)
    assert keep.dtype == held.dtype == np.int64
    np.testing.assert_array_equal(np.sort(np.concatenate([keep, held])), np.arange(113))
    assert (np.diff(keep) > 0).all()
    assert (np.diff(held) > 0).all()
    np.testing.assert_array_equal(np.bincount(labels[held], minlength=4), [20, 2, 1, 0])
    again = stratified_split(labels, 0.2, 5)
    np.testing.assert_array_equal(held, again[1])
    assert not np.array_equal(held, stratified_split(labels, 0.2, 6)[1])


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2, "x", float("nan")])
def test_split_fraction_must_lie_between(fraction):
    with pytest.raises(ConfigError):
        stratified_split(np.zeros(4, int), fraction, 0)
