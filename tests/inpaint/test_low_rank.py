"""Method "nonlocal": grouping against a plain search, eigenvectors and groups against NumPy's, and what it is for."""

import numpy as np
import pytest

groups = pytest.importorskip("dlkit._native.groups", reason="the native kernels are not built")
from dlkit.inpaint import METHODS, Job, inpaint  # noqa: E402
from dlkit.inpaint.groups import LUMINANCE, Grouping  # noqa: E402
from dlkit.inpaint.mask import distance  # noqa: E402
from dlkit.inpaint.methods.low_rank import low_rank  # noqa: E402
from dlkit.inpaint.methods.patchmatch import patchmatch  # noqa: E402
from dlkit.threads import set_num_threads  # noqa: E402


def texture(rng, shape=(48, 56)):
    """Stripes that repeat, with a little noise: uint8 [H, W, 3]."""
    i, j = np.indices(shape)
    stripes = 0.5 + 0.4 * np.sign(np.sin(0.9 * i + 0.35 * j))
    return np.rint(255 * (stripes[..., None] * [1, 0.8, 0.6] + 0.01 * rng.random((*shape, 3))).clip(0, 1)).astype(
        np.uint8
    )


def behind(grey):
    """With the free columns that the search reads: NaN, as none may count."""
    return np.pad(grey, ((0, 0), (0, groups.BEHIND)), constant_values=np.nan)


def psnr(a, b, hole):
    return 10 * np.log10(255**2 / np.mean((a[hole].astype(float) - b[hole]) ** 2))


@pytest.mark.parametrize(("top", "left"), [(0, 0), (20, 17), (34, 24), (9, 0)])
def test_the_most_similar_patches(rng, top, left):
    grey, size = rng.random((40, 30)).astype(np.float32), 6
    places = groups.similar(behind(grey), top, left, size)
    found = {}
    for i in range(max(top - groups.SEARCH, 0), min(top + groups.SEARCH, 34) + 1):
        for j in range(max(left - groups.SEARCH, 0), min(left + groups.SEARCH, 24) + 1):
            step = grey[i : i + size, j : j + size].astype(float) - grey[top : top + size, left : left + size]
            found[i, j] = (step**2).sum()
    nearest = sorted(found, key=found.get)[: groups.SIMILAR]
    assert [tuple(p) for p in places] == nearest  # the leader itself, at distance 0, comes first


@pytest.mark.parametrize("n", [1, 2, 3, 11, groups.SIMILAR])
def test_leading_eigenvectors(rng, n):
    for decades in (0.5, 3):
        turned = np.linalg.qr(rng.standard_normal((n, n)))[0]
        values = 100 * np.geomspace(1, 0.1**decades, n)
        A = turned * values @ turned.T
        for floor in (values[0] * 2, *np.sqrt(values[1:] * values[:-1]), values[-1] / 2):  # between the eigenvalues
            vectors = groups.leading(A.astype(np.float32), floor)
            rank = int((values > floor).sum())
            assert vectors.shape == (rank, n)
            np.testing.assert_allclose(vectors @ vectors.T, np.eye(rank), atol=1e-5)
            expected = turned[:, :rank] @ turned[:, :rank].T
            np.testing.assert_allclose(vectors.T @ vectors, expected, atol=1e-3)


def test_leading_eigenvectors_of_zeros_and_of_a_diagonal():
    assert len(groups.leading(np.zeros((7, 7), np.float32), 1e-6)) == 0
    vectors = groups.leading(np.diag([3.0, 1, 5]).astype(np.float32), 2)
    np.testing.assert_allclose(np.abs(vectors), [[1, 0, 0], [0, 0, 1]], atol=1e-6)
    with pytest.raises(ValueError, match="floor 0"):
        groups.leading(np.eye(3, dtype=np.float32), 0)


def test_leading_eigenvectors_beside_next_to_nothing():
    """A column whose square is a denormal number counts as nothing: its inverse would be infinite."""
    A = np.diag(np.linspace(5, 6, groups.SIMILAR)).astype(np.float32)
    A[0, 1:] = A[1:, 0] = 1e-21
    vectors = groups.leading(A, 1)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(groups.SIMILAR), atol=1e-6)


def test_the_search_takes_a_grey_image_with_room_behind():
    with pytest.raises(ValueError, match="dimensions"):
        groups.similar(np.zeros(5, np.float32), 0, 0, 1)
    with pytest.raises(ValueError, match="no patch of 6 pixels"):
        groups.similar(np.zeros((9, 9), np.float32), 0, 0, 6)
    flat = groups.similar(behind(np.zeros((30, 30), np.float32)), 12, 12, 6)
    assert flat[0].tolist() == [12, 12]  # the leader first, then those found first
    assert flat[1:4].tolist() == [[2, 2], [2, 3], [2, 4]]


def one_group(image, leader, noise, size):
    """(sums, weights) of one group, for the whole image."""
    sums, weights = np.zeros((1, *image.shape), np.float32), np.zeros((1, *image.shape[:2]), np.float32)
    grey = behind(image @ LUMINANCE if image.shape[2] == 3 else image[..., 0])
    groups.approximate(image, grey, np.array([leader]), np.array([1]), np.array([0]), noise, size, sums, weights)
    return sums[0], weights[0]


@pytest.mark.parametrize(
    ("shape", "leader", "size"),
    [((24, 24), (9, 8), 5), ((7, 8), (1, 2), 5), ((5, 6), (0, 1), 5), ((21, 40), (7, 30), 8)],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_one_group_is_the_truncated_svd(rng, channels, shape, leader, size):
    """Also where there are fewer patches than a group has, and for the largest patches."""
    noise = 0.05
    image = np.tile(rng.random((8, 8, channels)), (3, 5, 1)).astype(np.float32)[: shape[0], : shape[1]].copy()
    image += (0.02 * rng.standard_normal(image.shape)).astype(np.float32)
    sums, weights = one_group(image, leader, noise, size)
    grey = behind(image @ LUMINANCE if channels == 3 else image[..., 0])

    places = groups.similar(grey, *leader, size)
    n = len(places)
    group = np.stack([image[i : i + size, j : j + size].ravel() for i, j in places]).astype(float)
    mean = group.mean(axis=0)
    u, s, v = np.linalg.svd(group - mean, full_matrices=False)
    rank = int((s > noise * (np.sqrt(n) + np.sqrt(group.shape[1]))).sum())
    assert 0 < rank < n
    kept = (u[:, :rank] * s[:rank]) @ v[:rank] + mean
    expected, counts = np.zeros(image.shape), np.zeros(shape)
    for (i, j), patch in zip(places, kept.reshape(n, size, size, channels)):
        expected[i : i + size, j : j + size] += patch / (1 + rank)
        counts[i : i + size, j : j + size] += 1 / (1 + rank)
    np.testing.assert_allclose(sums, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(weights, counts, rtol=1e-5)


def test_groups_must_fit_their_bands_and_the_noise_be_above_nothing():
    image, grey = np.zeros((24, 24, 1), np.float32), np.zeros((24, 24 + groups.BEHIND), np.float32)

    def approximate(leader=(9, 8), ends=1, top=0, noise=0.1, height=24):
        sums, weights = np.zeros((1, height, 24, 1), np.float32), np.zeros((1, height, 24), np.float32)
        groups.approximate(image, grey, np.array([leader]), np.array([ends]), np.array([top]), noise, 6, sums, weights)

    approximate()
    for wrong in ({"leader": (19, 8)}, {"leader": (3, -1)}, {"top": 1}, {"height": 20}):
        with pytest.raises(ValueError, match="do not fit their band"):
            approximate(**wrong)
    with pytest.raises(ValueError, match="do not rise"):
        approximate(ends=2)
    for noise in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="noise"):
            approximate(noise=noise)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_round_is_the_sum_of_its_groups(rng, threads):
    """Over several batches of bands, for any number of threads."""
    image = (texture(rng, (260, 24)) / 255).astype(np.float32)
    hole = rng.random(image.shape[:2]) < 0.02
    grouping = Grouping(hole)
    set_num_threads(threads)
    assert len(list(grouping.round(image, 0.05, 1))) >= 2
    set_num_threads(0)
    sums, weights = np.zeros(image.shape), np.zeros((*hole.shape, 1))
    size = groups.PATCH
    for i in (0, *range(1, 260 - size, 4), 260 - size):
        for j in (0, *range(1, 24 - size, 4), 24 - size):
            if hole[i : i + size, j : j + size].any():
                patches, weight = one_group(image, (i, j), 0.05, size)
                sums += patches
                weights += weight[..., None]
    np.testing.assert_allclose(grouping.weight, weights, rtol=1e-5)
    np.testing.assert_allclose(grouping.total, sums, rtol=1e-4, atol=1e-5)
    expected = np.where(weights > 0, sums / np.maximum(weights, 1e-9), image)
    np.testing.assert_allclose(grouping.mean(image), expected, atol=1e-4)


def test_every_instruction_set_finds_the_same(array_by_isa, rng):
    image = (texture(rng) / 255).astype(np.float32)
    code = (
        "from dlkit.inpaint.groups import Grouping; grouping = Grouping(np.ones(image.shape[:2], bool));"
        "list(grouping.round(image, 0.05, 0)); result = grouping.mean(image)"
    )
    grouping = Grouping(np.ones(image.shape[:2], bool))
    list(grouping.round(image, 0.05, 0))
    np.testing.assert_allclose(array_by_isa(code, image=image), grouping.mean(image), atol=1e-4)


def test_only_the_holes_surroundings_are_looked_at(rng):
    image = texture(rng, (150, 160)).astype(np.float32) / 255
    hole = np.zeros(image.shape[:2], bool)
    hole[70:73, 60:90] = True
    image[hole] = 0
    changed = image.copy()
    changed[:30], changed[:, 130:] = 0.5, 0.1
    np.testing.assert_array_equal(low_rank(image, hole, Job())[hole], low_rank(changed, hole, Job())[hole])


def test_every_pixel_of_the_hole_is_reached(rng):
    for shape in ((6, 6), (5, 40), (31, 23), (1, 9)):
        image = rng.random((*shape, 1)).astype(np.float32)
        for turn in range(4):
            grouping = Grouping(np.ones(shape, bool))
            assert list(grouping.round(image, 0.05, turn))[-1] == 1
            assert (grouping.weight > 0).all()
    hole = np.zeros((2, 60), bool)
    hole[0, 30] = True
    for turn in range(4):
        grouping = Grouping(hole)
        assert list(grouping.round(rng.random((2, 60, 1)).astype(np.float32), 0.05, turn))[-1] == 1
        assert grouping.weight[0, 30] > 0


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
