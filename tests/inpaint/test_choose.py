"""auto: the shape of a hole decides, then the time."""

import time
from dataclasses import replace

import numpy as np
import pytest

from dlkit.errors import ConfigError
from dlkit.inpaint import METHODS, Job, Method, inpaint
from dlkit.inpaint.choose import BEST, choose, has_known_square, shape_of, touched


def strokes(width, shape=(256, 256)):
    hole = np.zeros(shape, bool)
    for at in range(20, shape[0] - width, 90):
        hole[at : at + width, 10:-10] = True
    return hole


def disc(radius, shape=(256, 256)):
    i, j = np.indices(shape)
    return (i - shape[0] // 2) ** 2 + (j - shape[1] // 2) ** 2 < radius**2


@pytest.mark.parametrize(
    ("hole", "shape"),
    [
        (np.random.default_rng(0).random((256, 256)) < 0.5, "scattered"),
        (np.random.default_rng(0).random((256, 256)) < 0.02, "scattered"),
        (strokes(1), "scattered"),
        (strokes(7), "thin"),
        (strokes(18), "wide"),
        (disc(45), "deep"),
        (disc(12, (1024, 1024)), "deep"),  # small, but no stroke
        (strokes(60), "deep"),  # too wide for its length
        (disc(45) | (np.random.default_rng(0).random((256, 256)) < 0.1), "deep"),
    ],
)
def test_shape(hole, shape):
    assert shape_of(hole)[0] == shape
    assert choose(hole, Job())[0] == next(name for name in BEST[shape] if name in METHODS)


def test_a_slow_method_is_passed_over_when_time_is_short(monkeypatch):
    slow = Method("slow", METHODS["harmonic"].fill, "none", None, pace=1000.0)
    monkeypatch.setitem(METHODS, "slow", slow)
    monkeypatch.setitem(BEST, "deep", ("slow", "navier-stokes"))
    assert choose(disc(45), Job())[0] == "slow"
    name, reason = choose(disc(45), Job(deadline=time.monotonic() + 2))
    assert name == "navier-stokes"
    assert "no time for slow" in reason
    monkeypatch.setitem(METHODS, "slow", replace(slow, pace=0.1))
    assert choose(disc(45), Job(deadline=time.monotonic() + 2))[0] == "slow"
    assert choose(disc(45), Job(deadline=time.monotonic() - 1))[0] == "navier-stokes"


def test_weights_mean_the_network(monkeypatch):
    monkeypatch.setitem(METHODS, "net", replace(METHODS["harmonic"], name="net"))
    assert choose(disc(45), Job(weights="runs/inpaint-001"))[0] == "net"


def test_every_shape_ends_with_a_method_that_is_always_there():
    for names in BEST.values():
        assert (METHODS[names[-1]].pace, METHODS[names[-1]].square) == (0, 0)


@pytest.mark.parametrize(
    ("shape", "frame"), [((8, 8), 1), ((12, 12), 1), ((2000, 1), 700), ((1000, 2), 300), ((60, 60), 6)]
)
def test_where_no_square_is_known_auto_does_without_patches(shape, frame):
    image, hole = np.random.default_rng(0).random((*shape, 3)).astype(np.float32), np.zeros(shape, bool)
    hole[frame : shape[0] - frame, min(frame, shape[1] // 2) : max(shape[1] - frame, 1)] = True
    assert not has_known_square(hole, METHODS["patchmatch"].square)
    result = inpaint(image, hole)
    assert result.method != "patchmatch"
    assert np.isfinite(result.image).all()


def test_known_squares():
    from dlkit.inpaint.exemplar.loops import RADIUS

    assert METHODS["patchmatch"].square == 2 * RADIUS + 1
    rng = np.random.default_rng(0)
    for shape in ((20, 15), (7, 30), (6, 30), (30, 7)):
        for _ in range(20):
            hole = rng.random(shape) < 0.04
            windows = [hole[i : i + 7, j : j + 7] for i in range(shape[0] - 6) for j in range(shape[1] - 6)]
            assert has_known_square(hole, 7) == any(not w.any() for w in windows)
    assert has_known_square(np.zeros((7, 7), bool), 7)


@pytest.mark.parametrize(("option", "value"), [("quality", "good"), ("iterations", 0), ("seed", -1)])
def test_a_job_refuses(option, value):
    with pytest.raises(ConfigError, match=option):
        Job(**{option: value})


def test_short_of_time_auto_takes_what_can_be_done_and_says_so():
    hole = np.random.default_rng(0).random((1500, 1500)) < 0.5
    assert choose(hole, Job(threads=2))[0] == "nonlocal"
    for threads, seconds, expected in (
        (2, 300, "nonlocal"),
        (1, 200, "biharmonic"),
        (2, 5, "biharmonic"),
        (2, -1, "harmonic"),
    ):
        name, reason = choose(hole, Job(threads=threads, deadline=time.monotonic() + seconds))
        assert name == expected
        assert ("no time for nonlocal" in reason) == (name != "nonlocal")


def test_squares_that_a_hole_touches():
    hole = np.zeros((20, 17), bool)
    assert touched(hole) == 0
    hole[3, 3] = hole[7, 7] = hole[8, 7] = hole[19, 16] = True
    assert touched(hole) == 3 * 64
