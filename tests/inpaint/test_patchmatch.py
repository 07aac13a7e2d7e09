"""Method "patchmatch": matches against a full search, votes against the formula, and what it is for."""

import numpy as np
import pytest

from dlkit.errors import DataError
from dlkit.inpaint import METHODS, Job, inpaint
from dlkit.inpaint.exemplar import filling
from dlkit.inpaint.exemplar.filling import peeled
from dlkit.inpaint.exemplar.levels import Level, half, pyramid, texture
from dlkit.inpaint.exemplar.loops import FAR, RADIUS, vote
from dlkit.inpaint.exemplar.matches import Matches


def bricks(rng, shape=(72, 80)):
    """A wall: courses of bricks with joints, uint8 [H, W, 3]."""
    i, j = np.indices(shape)
    joint = (i % 8 == 0) | ((j + 6 * (i // 8 % 2)) % 12 == 0)
    wall = np.where(joint, 0.8, 0.35)[..., None] * [1.0, 0.7, 0.6] + 0.02 * rng.random((*shape, 3))
    return np.rint(255 * wall).astype(np.uint8)


def disc(shape, radius):
    i, j = np.indices(shape)
    return (i - shape[0] // 2) ** 2 + (j - shape[1] // 2) ** 2 < radius**2


def psnr(a, b, hole):
    return 10 * np.log10(255**2 / np.mean((a[hole].astype(float) - b[hole]) ** 2))


def patch(layers, i, j):
    return layers[i - RADIUS : i + RADIUS + 1, j - RADIUS : j + RADIUS + 1].astype(np.float64)


def test_matches_come_near_the_best_of_all(rng):
    layers = rng.random((40, 36, 2)).astype(np.float32)
    layers += np.sin(np.indices((40, 36))[0] / 3)[..., None].astype(np.float32)
    level = Level(layers, disc((40, 36), 8))
    matches = Matches.anywhere(level, rng)
    at_random = matches.cost.mean()
    for _ in range(6):
        matches.improve(Job())
    assert level.whole[tuple(matches.found.T)].all()
    best = []
    for k, (i, j) in enumerate(level.centres):
        mine = patch(layers, i, j)
        costs = [((mine - patch(layers, y, x)) ** 2).sum() for y, x in np.argwhere(level.whole)]
        best.append(min(costs))
        np.testing.assert_allclose(matches.cost[k], ((mine - patch(layers, *matches.found[k])) ** 2).sum(), rtol=1e-4)
    assert matches.cost.mean() < np.mean(best) + 0.05 * (at_random - np.mean(best))


def test_known_patches_have_no_pixel_of_the_hole(rng):
    hole = rng.random((30, 28)) < 0.01
    level = Level(np.zeros((30, 28, 3), np.float32), hole)
    for y, x in np.ndindex(hole.shape):
        inside = RADIUS <= y < 30 - RADIUS and RADIUS <= x < 28 - RADIUS
        clean = inside and not hole[y - RADIUS : y + RADIUS + 1, x - RADIUS : x + RADIUS + 1].any()
        assert level.whole[y, x] == clean
        assert (level.index[y, x] >= 0) == (inside and not clean)


@pytest.mark.parametrize("sharp", [False, True])
def test_a_vote_is_the_weighted_mean(rng, sharp):
    layers = rng.random((24, 26, 3)).astype(np.float32)
    level = Level(layers, disc((24, 26), 3))
    matches = Matches.anywhere(level, rng)
    scale = 2.0
    out = np.empty((len(level.pixels), 3), np.float32)
    vote(layers, level.pixels, level.index, matches.found, matches.cost, level.depth, scale, sharp, out)
    for p, (i, j) in enumerate(level.pixels):
        says, weights = [], []
        for n, (r, s) in enumerate(level.centres):
            if max(abs(r - i), abs(s - j)) <= RADIUS:
                y, x = matches.found[n]
                says.append(layers[y + i - r, x + j - s])
                weights.append(np.exp(-float(matches.cost[n]) / (2 * scale)) * FAR ** -float(level.depth[r, s]))
        expected = says[int(np.argmax(weights))] if sharp else np.average(says, axis=0, weights=weights)
        np.testing.assert_allclose(out[p], expected, rtol=1e-5)


def test_a_wall_is_continued(rng):
    truth = bricks(rng)
    hole = disc(truth.shape[:2], 13)
    image = truth.copy()
    image[hole] = 0
    smooth, filled = (inpaint(image, hole, name).image for name in ("navier-stokes", "patchmatch"))
    assert psnr(filled, truth, hole) > 25
    assert psnr(filled, truth, hole) > psnr(smooth, truth, hole) + 8
    assert (filled[~hole] == truth[~hole]).all()


def test_same_bytes_for_any_number_of_threads_and_by_seed(rng):
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    hole = disc((64, 64), 14)
    one, two, other = (inpaint(image, hole, "patchmatch", threads=n, seed=s).image for n, s in ((1, 7), (2, 7), (1, 8)))
    assert (one == two).all()
    assert (one != other).any()


@pytest.mark.parametrize("shape", [(40, 61), (33, 48)])
def test_half_takes_known_pixels_only(rng, shape):
    image = rng.random((*shape, 1)).astype(np.float32)
    hole = rng.random(shape) < 0.4
    damaged = np.where(hole[..., None], 99, image).astype(np.float32)
    small = half(Level(damaged, hole))
    assert small.hole.shape == tuple(-(-n // 2) for n in shape)
    for y, x in np.ndindex(small.hole.shape):
        block = np.s_[2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        known = image[block][~hole[block]]
        assert small.hole[y, x] == (len(known) < 2)
        if len(known) >= 2:
            np.testing.assert_allclose(small.layers[y, x, 0], known.mean(), rtol=1e-5)


def test_texture_does_not_see_into_the_hole(rng):
    image = rng.random((30, 30, 3)).astype(np.float32)
    hole = disc((30, 30), 6)
    other = image.copy()
    other[hole] = 5
    np.testing.assert_array_equal(texture(image, hole), texture(other, hole))
    assert texture(image, hole)[2, 2].min() > 0


def test_coarsest_hole_is_shallow(rng):
    image = rng.random((256, 200, 3)).astype(np.float32)
    hole = disc((256, 200), 40)
    levels = pyramid(np.where(hole[..., None], 0, image), hole, Job())
    assert [level.hole.shape for level in levels] == [(32, 25), (64, 50), (128, 100), (256, 200)]
    assert levels[0].depth.max() < 6


def test_the_first_filling_goes_inwards_from_what_is_known(rng):
    """Against a full search with loops, ring by ring; every candidate there."""
    image, hole = rng.random((20, 24, 2)).astype(np.float32), disc((20, 24), 3)
    hole[0:2, 0:3] = True  # at the image's edge patches are cut
    level = Level(np.where(hole[..., None], np.float32(0), image), hole)
    layers, known = level.layers.astype(np.float64), ~hole
    matches = peeled(level, Job())
    places = [tuple(p) for p in np.argwhere(level.whole)]
    while not known.all():
        ring = [(i, j) for i, j in np.argwhere(~known) if known[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].any()]
        found = []
        for i, j in ring:
            around = [(r, s) for r in range(-3, 4) for s in range(-3, 4) if 0 <= i + r < 20 and 0 <= j + s < 24]
            around = [(r, s) for r, s in around if known[i + r, j + s]]
            costs = [
                sum(((layers[i + r, j + s] - layers[y + r, x + s]) ** 2).sum() for r, s in around) for y, x in places
            ]
            found.append(places[int(np.argmin(costs))])
        for (i, j), place in zip(ring, found):
            layers[i, j] = layers[place]
            known[i, j] = True
            if level.index[i, j] >= 0:
                assert tuple(matches.found[level.index[i, j]]) == place
    np.testing.assert_allclose(level.layers, layers, atol=1e-6)


def test_the_first_filling_of_a_vast_hole_compares_with_one_patch_at_least(rng, monkeypatch):
    monkeypatch.setattr(filling, "COMPARISONS", 3)
    image, hole = rng.random((30, 30, 2)).astype(np.float32), disc((30, 30), 4)
    level = Level(np.where(hole[..., None], np.float32(0), image), hole)
    matches = peeled(level, Job())
    assert level.whole[tuple(matches.found.T)].all()
    assert (level.layers[hole] == level.layers[hole][0]).all()  # all from that one


def test_of_two_beginnings_the_coarser_stays_where_it_fits_clearly_better(rng, monkeypatch):
    wall, noise = bricks(rng), (picture := rng.random((72, 80, 3)) * 255).astype(np.uint8)
    hole = disc(picture.shape[:2], 13)
    filled = {}
    for name, image in (("wall", wall), ("noise", noise)):
        for factor in (0.0, 0.6, np.inf):  # never, as it is, always the coarser
            monkeypatch.setattr(filling, "CLEARLY", factor)
            filled[name, factor] = inpaint(image, hole, "patchmatch").image
    assert psnr(filled["wall", np.inf], wall, hole) > psnr(filled["wall", 0.0], wall, hole) + 5
    np.testing.assert_array_equal(filled["wall", 0.6], filled["wall", np.inf])
    np.testing.assert_array_equal(filled["noise", 0.6], filled["noise", 0.0])


def test_no_known_square_to_copy(rng):
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    with pytest.raises(DataError, match="no known square"):
        inpaint(image, rng.random((40, 40)) < 0.5, "patchmatch")


def test_time_runs_out_at_any_point_without_a_hole(rng, time_for):
    """However often the clock is looked at before, every pixel is filled with something of the photo."""
    image = bricks(rng)
    hole = disc(image.shape[:2], 13)
    damaged = np.where(hole[..., None], 0, image / 255).astype(np.float32)
    looks = 0
    while True:
        job = time_for(looks)
        filled = METHODS["patchmatch"].fill(damaged, hole, job)
        assert filled[hole].min() > 0.5 * damaged[~hole].min() > 0.01, looks
        if job.looks > 0:
            break
        looks += 3
    assert looks > 20


def test_a_deadline_gives_the_best_so_far(rng):
    image = bricks(rng)
    hole = disc(image.shape[:2], 13)
    result = inpaint(image, hole, "patchmatch", timeout=1e-6)
    assert not result.finished
    assert psnr(result.image, image, hole) > 8


@pytest.mark.parametrize("looks", [0, 1, 5, 12, 40])
def test_cut_short_it_gives_what_there_is(looks, rng, time_for):
    image = bricks(rng, (150, 160)).astype(np.float32) / 255
    hole = disc(image.shape[:2], 50)
    damaged = np.where(hole[..., None], np.float32(0), image)
    filled = METHODS["patchmatch"].fill(damaged, hole, time_for(looks))
    assert filled.shape == image.shape
    assert np.isfinite(filled[hole]).all()
    assert filled[hole].min() >= 0
    if looks > 1:  # colours of the wall, not black
        assert filled[hole].mean() > 0.2
