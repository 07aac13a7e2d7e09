"""Method "nonlocal": grouping against a plain search, one group against NumPy's SVD, and what it is for."""

import numpy as np
import pytest

from dlkit.inpaint import METHODS, Job, inpaint
from dlkit.inpaint.groups import SIMILAR, WINDOW, Grouping, approximate, similar
from dlkit.inpaint.mask import distance
from dlkit.inpaint.methods.low_rank import low_rank
from dlkit.inpaint.methods.patchmatch import patchmatch


def texture(rng, shape=(48, 56)):
    """Stripes that repeat, with a little noise: uint8 [H, W, 3]."""
    i, j = np.indices(shape)
    stripes = 0.5 + 0.4 * np.sign(np.sin(0.9 * i + 0.35 * j))
    return np.rint(255 * (stripes[..., None] * [1, 0.8, 0.6] + 0.01 * rng.random((*shape, 3))).clip(0, 1)).astype(
        np.uint8
    )


def psnr(a, b, hole):
    return 10 * np.log10(255**2 / np.mean((a[hole].astype(float) - b[hole]) ** 2))


@pytest.mark.parametrize(("top", "left"), [(0, 0), (20, 17), (34, 24), (9, 0)])
def test_the_most_similar_patches(rng, top, left):
    grey, size = rng.random((40, 30)).astype(np.float32), 6
    places, distances = np.empty((SIMILAR, 2), np.int64), np.empty(SIMILAR, np.float32)
    n = similar(grey, top, left, size, places, distances)
    found = {}
    for i in range(max(top - WINDOW, 0), min(top + WINDOW, 34) + 1):
        for j in range(max(left - WINDOW, 0), min(left + WINDOW, 24) + 1):
            step = grey[i : i + size, j : j + size].astype(float) - grey[top : top + size, left : left + size]
            found[i, j] = (step**2).sum()
    nearest = sorted(found, key=found.get)[:SIMILAR]
    assert n == min(SIMILAR, len(found))
    assert [tuple(p) for p in places[:n]] == nearest  # the leader itself, at distance 0, comes first


@pytest.mark.parametrize("channels", [1, 3])
def test_one_group_is_the_truncated_svd(rng, channels):
    size, noise = 5, np.float32(0.05)
    image = np.tile(rng.random((8, 8, channels)), (3, 3, 1)).astype(np.float32)
    image += (0.02 * rng.standard_normal(image.shape)).astype(np.float32)
    hole = rng.random(image.shape[:2]) < 0.5
    grey = np.ascontiguousarray(image.mean(axis=2))
    sums = np.zeros((1, 24, 24, channels + 1), np.float32)
    approximate(image, grey, hole, np.array([[9, 8]]), np.array([1]), np.array([0]), noise, size, sums)

    places = np.empty((SIMILAR, 2), np.int64)
    n = similar(grey, 9, 8, size, places, np.empty(SIMILAR, np.float32))
    group = np.stack([image[i : i + size, j : j + size].ravel() for i, j in places[:n]]).astype(float)
    mean = group.mean(axis=0)
    u, s, v = np.linalg.svd(group - mean, full_matrices=False)
    rank = int((s > noise * (np.sqrt(n) + np.sqrt(group.shape[1]))).sum())
    assert 0 < rank < n
    kept = (u[:, :rank] * s[:rank]) @ v[:rank] + mean
    expected = np.zeros(sums.shape[1:])
    for (i, j), patch in zip(places[:n], kept.reshape(n, size, size, channels)):
        expected[i : i + size, j : j + size, :channels] += patch / (1 + rank)
        expected[i : i + size, j : j + size, channels] += 1 / (1 + rank)
    expected[~hole] = 0
    np.testing.assert_allclose(sums[0], expected, rtol=1e-4, atol=1e-4)


def test_every_pixel_of_the_hole_is_reached(rng):
    for shape in ((6, 6), (5, 40), (31, 23), (1, 9)):
        image = rng.random((*shape, 1)).astype(np.float32)
        for turn in range(4):
            groups = Grouping(np.ones(shape, bool))
            assert list(groups.round(image, 0.05, turn))[-1] == 1
            assert (groups.total[..., 1] > 0).all()


@pytest.mark.parametrize(("damage", "gain"), [("scattered", 5), ("scratch", 2.5)])
def test_repeating_texture_comes_back(rng, damage, gain):
    truth = texture(rng)
    hole = rng.random(truth.shape[:2]) < 0.5
    if damage == "scratch":
        hole[:] = False
        hole[:, 26:29] = True
    image = truth.copy()
    image[hole] = 0
    smooth, alike = (inpaint(image, hole, name).image for name in ("biharmonic", "nonlocal"))
    assert psnr(alike, truth, hole) > psnr(smooth, truth, hole) + gain
    assert (alike[~hole] == truth[~hole]).all()


def test_same_bytes_for_any_number_of_threads(rng):
    image = texture(rng)
    hole = rng.random(image.shape[:2]) < 0.5
    one, two = (inpaint(image, hole, "nonlocal", iterations=3, threads=n).image for n in (1, 2))
    assert (one == two).all()


def test_a_deadline_gives_the_best_so_far(rng):
    image = texture(rng)
    hole = rng.random(image.shape[:2]) < 0.5
    result = inpaint(image, hole, "nonlocal", timeout=1e-6)
    assert not result.finished
    assert psnr(result.image, image, hole) > 8


def test_wide_holes_are_half_of_what_patches_say(rng):
    """Deep inside the mean of both fillings, at the edge the one of low rank alone."""
    image = texture(rng, (80, 90))
    hole = np.zeros(image.shape[:2], bool)
    hole[30:50, 20:70] = True
    job = Job(seed=3)
    known = np.where(hole[..., None], 0, image).astype(np.float32) / 255
    simple, found = low_rank(known, hole, job), patchmatch(known, hole, Job(seed=3))
    both = METHODS["nonlocal"].fill(known, hole, Job(seed=3))
    depth = distance(hole)
    inner, edge = depth >= 4, hole & (depth <= 2)
    assert np.allclose(both[inner], (simple[inner] + found[inner]) / 2, atol=1e-6)
    assert np.allclose(both[edge], simple[edge], atol=1e-6)


def test_a_wide_hole_where_no_patch_is_whole(rng):
    """Every second pixel is missing beside the wide hole: there is nothing to copy, but still a filling."""
    image = texture(rng, (60, 60))
    hole = rng.random(image.shape[:2]) < 0.5
    hole[20:40, 20:40] = True
    result = inpaint(image, hole, "nonlocal", quality="fast").image
    assert np.array_equal(result[~hole], image[~hole])
    assert result[hole].std() > 0
