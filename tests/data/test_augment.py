import math
import subprocess
import sys

import numpy as np
import pytest

from dlkit.data.augment import Augment, _compiled, _warp
from dlkit.errors import ConfigError

EVERYTHING = "flip,crop=2,shift=0.1,rotate=15.5,scale=0.2,cutout=3"


def rng(n=0):
    return np.random.default_rng(n)


def pictures(B=6, H=9, W=7, C=3):
    return rng(9).integers(0, 256, (B, H, W, C), dtype=np.uint8)


def read_bilinear(picture, fy, fx):
    """The definition: every pixel of the picture weighed by a tent about (fy, fx)."""
    H, W, C = picture.shape
    total = np.zeros(C)
    for y in range(H):
        for x in range(W):
            total += max(0.0, 1 - abs(fy - y)) * max(0.0, 1 - abs(fx - x)) * picture[y, x]
    return total


def test_warp_against_the_definition():
    x = pictures(5)
    maps = rng(1).normal(size=(5, 2, 3)) + np.eye(2, 3)
    out = np.empty_like(x)
    _compiled(_warp)(x, maps, out)
    pure = np.empty_like(x)
    _warp(x, maps, pure)
    assert np.array_equal(out, pure)
    for b in range(5):
        for i in range(9):
            for j in range(7):
                fx, fy = maps[b] @ [j, i, 1]
                want = read_bilinear(x[b], fy, fx)
                assert np.abs(out[b, i, j] - want).max() <= 0.5 + 1e-9
    assert (out == 0).any()
    assert (out > 0).any()


def test_affine_composes_rotation_scale_and_shift_about_the_centre():
    x = pictures(8)
    a = Augment(shift=0.2, rotate=30, scale=0.3)
    out = a(x, rng(5))
    draw = rng(5).uniform(-1, 1, (8, 4))
    H, W = 9, 7
    for b in range(8):
        turn, grow = math.radians(30 * draw[b, 0]), 1 + 0.3 * draw[b, 1]
        to_origin = np.array([[1, 0, -(W - 1) / 2], [0, 1, -(H - 1) / 2], [0, 0, 1]])
        cos, sin = math.cos(turn), math.sin(turn)
        rotate = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])  # y down
        move = np.array([[1, 0, 0.2 * W * draw[b, 3]], [0, 1, 0.2 * H * draw[b, 2]], [0, 0, 1]])
        forward = move @ np.linalg.inv(to_origin) @ np.diag([grow, grow, 1]) @ rotate @ to_origin
        back = np.linalg.inv(forward)
        for i in range(H):
            for j in range(W):
                fx, fy, _ = back @ [j, i, 1]
                assert np.abs(out[b, i, j] - read_bilinear(x[b], fy, fx)).max() <= 0.5 + 1e-6


class _Fixed:
    """Every uniform draw at one end of its range."""

    def uniform(self, low, high, shape):
        return np.full(shape, float(high))


def test_a_quarter_turn_is_anticlockwise_and_whole_shifts_are_exact():
    x = pictures(2, 8, 8, 1)
    assert np.array_equal(Augment(rotate=90)(x, _Fixed()), np.rot90(x, 1, (1, 2)))
    shifted = Augment(shift=0.25)(x, _Fixed())
    assert np.array_equal(shifted[:, 2:, 2:], x[:, :-2, :-2])
    assert not shifted[:, :2].any()
    assert not shifted[:, :, :2].any()


def test_crop_is_a_window_of_the_padded_picture_at_every_place():
    x = pictures(400, 5, 6, 2)
    out = Augment(crop=2)(x, rng(3))
    seen = set()
    for b in range(400):
        padded = np.pad(x[b], ((2, 2), (2, 2), (0, 0)), mode="reflect")
        places = [(i, j) for i in range(5) for j in range(5) if np.array_equal(padded[i : i + 5, j : j + 6], out[b])]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 25


def test_flip_is_half_of_them():
    x = pictures(1000, 3, 4, 2)
    out = Augment(flip=True)(x, rng())
    same = (out == x).all((1, 2, 3))
    mirrored = (out == x[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert 430 < mirrored.sum() < 570


def test_flip_and_crop_together():
    x = pictures(60, 5, 6, 1)
    out = Augment(flip=True, crop=1)(x, rng(4))

    def window(picture, i, j):
        return np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="reflect")[i : i + 5, j : j + 6]

    kinds = set()
    for b in range(60):
        found = [
            (flip, i, j)
            for flip in (False, True)
            for i in range(3)
            for j in range(3)
            if np.array_equal(window(x[b, :, ::-1] if flip else x[b], i, j), out[b])
        ]
        assert len(found) == 1
        kinds.add(found[0])
    assert len(kinds) > 12


def test_cutout_is_one_square_of_the_batch_mean():
    x = pictures(300, 8, 6, 2) // 2
    x[..., 1] += 100
    mean = np.floor(x.mean((0, 1, 2)) + 0.5).astype(np.uint8)
    out = Augment(cutout=3)(x, rng(2))
    centres = set()
    for b in range(300):
        found = []
        for i in range(8):
            for j in range(6):
                want = x[b].copy()
                for y in range(8):
                    for z in range(6):
                        if abs(y - i) <= 1 and abs(z - j) <= 1:
                            want[y, z] = mean
                if np.array_equal(want, out[b]):
                    found.append((i, j))
        assert len(found) == 1
        centres.add(found[0])
    assert len(centres) > 40  # of 48


def test_even_cutout_has_its_full_side():
    x = np.zeros((50, 20, 20, 1), np.uint8)
    x[:, :, 10:] = 200
    changed = (Augment(cutout=4)(x, rng()) == 100).sum((1, 2, 3))
    assert changed.max() == 16
    assert changed.min() >= 4


def test_whole_batch_varies_and_is_reproducible_and_input_untouched():
    x = np.repeat(pictures(1, 12, 12, 3), 64, 0)
    x.flags.writeable = False
    before = x.copy()
    for text in (EVERYTHING, "rotate=20", "scale=0.3", "shift=0.3", "crop=3", "cutout=4"):
        a = Augment.parse(text)
        out = a(x, rng(1))
        assert out.shape == x.shape
        assert out.dtype == np.uint8
        assert len({p.tobytes() for p in out}) > 25, text  # each picture its own draw
        assert np.array_equal(out, a(x, rng(1)))
        assert not np.array_equal(out, a(x, rng(2)))
        assert np.array_equal(x, before)
        assert not np.shares_memory(out, x)


@pytest.mark.parametrize(("text", "axis"), [("rotate=40", 0), ("scale=0.4", 1), ("shift=0.3", 2)])
def test_draws_stay_in_range_on_both_sides(text, axis):
    maps = Augment.parse(text)._maps(500, 20, 10, rng())
    if axis == 0:
        values, limit = np.rad2deg(np.arctan2(maps[:, 1, 0], maps[:, 0, 0])), 40
    elif axis == 1:
        values, limit = 1 / maps[:, 0, 0] - 1, 0.4
    else:
        values, limit = -maps[:, 1, 2], 0.3 * 20
        assert -3 <= maps[:, 0, 2].min() < -2.7 < 2.7 < maps[:, 0, 2].max() <= 3
    assert -limit <= values.min() < -0.9 * limit < 0.9 * limit < values.max() <= limit


def test_strided_and_empty_batches():
    x = pictures(4, 10, 10, 3)
    a = Augment.parse(EVERYTHING)
    view = x[::2, ::-1, 1:]
    assert np.array_equal(a(view, rng()), a(np.ascontiguousarray(view), rng()))
    assert a(x[:0], rng()).shape == (0, 10, 10, 3)


def test_identity():
    x = pictures()
    out = Augment()(x, rng())
    assert np.array_equal(out, x)
    assert not np.shares_memory(out, x)
    assert not Augment()
    assert Augment.parse("none") == Augment.parse(" ") == Augment()
    assert str(Augment()) == "none"
    for text in EVERYTHING.split(","):
        assert Augment.parse(text)


def test_text_round_trip():
    a = Augment.parse(" flip, crop=4 ,rotate=10,shift=0.1,cutout=8 ")
    assert a == Augment(flip=True, crop=4, rotate=10.0, shift=0.1, cutout=8)
    assert str(a) == "flip,crop=4,shift=0.1,rotate=10,cutout=8"
    fine, typed = Augment(shift=1 / 3, rotate=1e-7), Augment(rotate=np.float32(10))
    for b in (a, Augment.parse(EVERYTHING), fine, typed):
        assert Augment.parse(str(b)) == b
    assert Augment.parse(str(Augment())) == Augment()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rotat=3", "did you mean 'rotate'"),
        ("cutuot=3", "did you mean 'cutout'"),
        ("flip,xyzzy", "expected one of flip, crop"),
        ("flip,", "expected one of flip, crop"),
        ("none,flip", "'none'"),
        ("crop", "expected a whole number; write 'crop=4'"),
        ("crop=2.5", "expected a whole number"),
        ("rotate=fast", "expected a number; write 'rotate=0.1'"),
        ("flip=2", "expected no value; write 'flip'"),
        ("flip,flip", "given twice"),
        ("crop=-1", "crop=-1: expected a whole number from 0"),
        ("shift=1.5", "from 0 to 1;"),
        ("rotate=nan", "from 0 to 180"),
        ("scale=1", "from 0 to 0.9"),
    ],
)
def test_parse_errors(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Augment.parse(text)
    assert "\n" not in str(caught.value)


def test_call_errors():
    for bad in (np.zeros((2, 4, 4, 1), np.float32), np.zeros((2, 4), np.uint8)):
        with pytest.raises(ConfigError, match="expected pictures uint8"):
            Augment(flip=True)(bad, rng())
    with pytest.raises(ConfigError, match="crop=4: expected less than"):
        Augment(crop=4)(np.zeros((2, 4, 9, 1), np.uint8), rng())
    with pytest.raises(ConfigError, match="crop=True"):
        Augment(crop=True)


def test_numba_is_imported_only_when_used():
    code = """
import sys, dlkit.data
before = "numba" in sys.modules
from dlkit.data.augment import Augment
Augment.parse("flip")
assert ("numba" in sys.modules) == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
