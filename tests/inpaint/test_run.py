"""inpaint() on arrays, and masks."""

import subprocess
import sys

import numpy as np
import pytest

from dlkit.errors import ConfigError, DataError, DlkitError, DTypeError, ShapeError
from dlkit.inpaint import METHODS, inpaint
from dlkit.inpaint import mask as masks
from dlkit.inpaint.method import Method

DTYPES = {np.uint8: 255, np.uint16: 65535, np.float32: 1}


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_every_kind_of_array(dtype, channels, rng):
    shape = (20, 24) if channels is None else (20, 24, channels)
    image = (rng.random(shape) * DTYPES[dtype]).astype(dtype)
    original, hole = image.copy(), np.zeros((20, 24), bool)
    hole[5:12, 6:15] = True
    result = inpaint(image, hole, "harmonic")
    assert result.image.dtype == image.dtype
    assert result.image.shape == image.shape
    np.testing.assert_array_equal(image, original)
    np.testing.assert_array_equal(result.image[~hole], image[~hole])
    if channels in (2, 4):
        np.testing.assert_array_equal(result.image[..., -1], image[..., -1])
        assert (result.image[hole][:, :-1] != image[hole][:, :-1]).mean() > 0.9
    else:
        assert (result.image[hole] != image[hole]).mean() > 0.9


def test_views_and_read_only_arrays(rng):
    image = (rng.random((40, 48, 4)) * 255).astype(np.uint8)[::2, ::2, 2::-1]
    image.flags.writeable = False
    hole = (rng.random((48, 40)) < 0.3)[:24:1, ::2].T
    np.testing.assert_array_equal(
        inpaint(image, hole, "telea").image, inpaint(np.ascontiguousarray(image), hole.copy(), "telea").image
    )


@pytest.mark.parametrize(
    ("image", "hole", "error", "says"),
    [
        (np.zeros((4, 4), np.int32), np.zeros((4, 4), bool), DTypeError, "image is int32; give uint8"),
        (np.zeros((4, 4, 5), np.uint8), np.zeros((4, 4), bool), ShapeError, "1 to 4 channels"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 5), bool), ShapeError, r"give bool\[4, 4\]"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), ShapeError, r"hole is uint8\[4, 4\]"),
        (np.zeros((0, 4), np.uint8), np.zeros((0, 4), bool), ShapeError, "no pixels"),
        (np.zeros((4, 4), np.uint8), np.ones((4, 4), bool), DataError, "covers the whole image"),
        (np.full((4, 4), np.nan, np.float32), np.eye(4, dtype=bool), DataError, "NaN or infinite"),
    ],
)
def test_refuses(image, hole, error, says):
    with pytest.raises(error, match=says):
        inpaint(image, hole)


def test_refuses_unknown_methods_and_negative_feathers():
    image, hole = np.zeros((4, 4), np.uint8), np.eye(4, dtype=bool)
    with pytest.raises(ConfigError, match="did you mean 'telea'"):
        inpaint(image, hole, "tela")
    with pytest.raises(ConfigError, match="feather -1"):
        inpaint(image, hole, feather=-1)


def test_nothing_to_fill_copies():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    result = inpaint(image, np.zeros((3, 4), bool))
    assert result.method == "none"
    assert result.image is not image
    np.testing.assert_array_equal(result.image, image)


def test_a_method_sees_the_hole_zeroed_and_its_margin_only(monkeypatch, rng):
    seen = []

    def spy(image, hole, job):
        seen.append((image.copy(), hole.copy(), job))
        return np.full_like(image, 2.0)  # clipped

    image, hole = (rng.random((30, 40, 4)) * 255).astype(np.uint8), np.zeros((30, 40), bool)
    hole[10:13, 20:24] = True
    for margin, shape in ((3, (9, 10)), (None, (30, 40))):
        monkeypatch.setitem(METHODS, "spy", Method("spy", spy, "here", margin))
        filled = inpaint(image, hole, "spy", seed=5, quality="best", threads=1).image
        part, inside, job = seen.pop()
        assert part.shape == (*shape, 3)
        assert (part.dtype, inside.dtype) == (np.float32, bool)
        assert inside.sum() == 12
        assert not part[inside].any()
        assert (job.seed, job.quality, job.threads) == (5, "best", 1)
        assert (filled[hole][:, :3] == 255).all()
        np.testing.assert_array_equal(filled[~hole], image[~hole])


def test_the_seed_gives_the_random_numbers():
    from dlkit.inpaint import Job

    first, again, other = (Job(seed=s).rng.random(4).tolist() for s in (3, 3, 4))
    assert first == again != other


def test_mask_threshold_and_inversion():
    values = np.array([[0, 127, 128, 255]], np.uint8)
    assert masks.hole_of(values).tolist() == [[False, False, True, True]]
    assert masks.hole_of(values, invert=True).tolist() == [[True, True, False, False]]


@pytest.mark.parametrize("shape", [(3, 4), (12, 16), (5, 9), (1, 1), (6, 4)])
def test_resizing_takes_the_nearest(shape, rng):
    values = rng.integers(0, 256, (6, 8)).astype(np.uint8)
    resized = masks.resize(values, shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            assert resized[i, j] == values[int((i + 0.5) * 6 / shape[0]), int((j + 0.5) * 8 / shape[1])]


def test_growing_and_distance_by_brute_force(rng):
    hole = rng.random((15, 18)) < 0.05
    inside = np.argwhere(hole)
    for radius in (0, 1, 2.5, 4):
        grown = masks.grow(hole, radius)
        for i, j in np.ndindex(hole.shape):
            near = ((inside - (i, j)) ** 2).sum(axis=1).min() <= radius**2
            assert grown[i, j] == near
    assert np.isinf(masks.distance(np.ones((2, 2), bool))).all()
    assert not masks.grow(np.zeros((4, 4), bool), 3).any()


def test_box():
    hole = np.zeros((20, 30), bool)
    hole[4, 7], hole[9, 28] = True, True
    assert masks.box_of(hole, 0) == (slice(4, 10), slice(7, 29))
    assert masks.box_of(hole, 3) == (slice(1, 13), slice(4, 30))
    assert masks.box_of(hole, None) == (slice(0, 20), slice(0, 30))


def test_who_fills_smoothly_does_not_wait_for_numba():
    code = """
import sys
import subprocess
import sys

import numpy as np
from dlkit.inpaint import inpaint
image, hole = np.zeros((9, 9), np.uint8), np.eye(9, dtype=bool)
inpaint(image, hole, "biharmonic")
print([m for m in ("numba", "scipy") if m in sys.modules])
inpaint(image, hole, "telea")
print("numba" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "True"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "harmonic", "weights": "runs/a"},
            r"weights was given, but method 'harmonic' does not use it.*net would",
        ),
        ({"method": "telea", "iterations": 5}, "iterations was given.*patchmatch"),
        ({"timeout": float("nan")}, "timeout nan"),
        ({"timeout": 0.0}, "timeout 0.0"),
        ({"threads": 257}, "threads"),
        ({"threads": -1}, "threads"),
    ],
)
def test_options_without_a_meaning(options, message):
    with pytest.raises(ConfigError, match=message):
        inpaint(np.zeros((9, 9), np.uint8), np.eye(9, dtype=bool), **{"method": "harmonic", **options})


@pytest.mark.parametrize(
    "options",
    [
        {"method": "nope"},
        {"quality": "nope"},
        {"timeout": -1.0},
        {"feather": -1},
        {"feather": 1.5},
        {"device": "xx"},
        {"threads": -3},
        {"iterations": 0},
        {"iterations": 3.7, "method": "nonlocal"},
    ],
)
@pytest.mark.parametrize("empty", [True, False])
def test_wrong_options_are_refused_whatever_the_mask(options, empty):
    hole = np.zeros((9, 9), bool) if empty else np.eye(9, dtype=bool)
    with pytest.raises(DlkitError):
        inpaint(np.zeros((9, 9), np.uint8), hole, **options)


def test_numpy_numbers_are_numbers():
    image, hole = np.full((9, 9), 7, np.uint8), np.eye(9, dtype=bool)
    inpaint(image, hole, "harmonic", feather=np.int64(2))
    inpaint(image, hole, "nonlocal", iterations=np.int64(2))


def test_nothing_to_fill_is_done_at_once():
    told = []
    result = inpaint(np.zeros((9, 9), np.uint8), np.zeros((9, 9), bool), progress=told.append)
    assert (result.method, told) == ("none", [1.0])


def test_values_that_are_no_brightness():
    image, hole = np.full((20, 20), 0.5, np.float32), np.zeros((20, 20), bool)
    hole[5:12, 5:12] = True
    image[hole] = np.nan
    np.testing.assert_allclose(inpaint(image, hole, "harmonic").image, 0.5, atol=1e-6)
    with pytest.raises(DataError, match="NaN"):
        inpaint(image, hole, "harmonic", feather=1)
    with pytest.raises(DataError, match=r"from 0 to 127; float32 is 0..1"):
        inpaint(image * 254, hole, "harmonic")


def test_growing_by_less_than_nothing():
    with pytest.raises(ConfigError, match="grow -1"):
        masks.grow(np.eye(5, dtype=bool), -1)
