"""The measures of benchmarks/inpaint.py, on fillings whose figures are known."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from inpainting.masks import MASKS, mask_of
from inpainting.measures import gradient_ratio, psnr, sliced_wasserstein

sys.path.pop(0)


@pytest.fixture
def hole():
    i, j = np.indices((96, 96))
    return (i - 48) ** 2 + (j - 48) ** 2 < 25**2


def test_psnr_counts_the_hole_alone(hole, rng):
    truth = rng.integers(0, 200, (96, 96, 3)).astype(np.uint8)
    filled = truth + 5
    filled[~hole] = 0
    assert psnr(filled, truth, hole) == pytest.approx(20 * np.log10(255 / 5))
    assert psnr(truth, truth, hole) == float("inf")


def test_gradient_ratio_is_one_for_the_photos_own_texture_and_none_for_a_flat_hole(hole, rng):
    texture = rng.integers(0, 256, (96, 96)).astype(np.uint8)
    assert gradient_ratio(texture, hole) == pytest.approx(1, abs=0.05)
    assert gradient_ratio(np.where(hole, 128, texture), hole) < 0.15
    assert gradient_ratio(np.where(hole, texture // 2, texture), hole) == pytest.approx(0.5, abs=0.1)


def test_wasserstein_asks_for_the_same_texture_not_the_same_pixels(hole, rng):
    texture, other = (rng.integers(0, 256, (96, 96)).astype(np.uint8) for _ in range(2))
    same = sliced_wasserstein(np.where(hole, other, texture), texture, hole)
    flat = sliced_wasserstein(np.where(hole, 128, texture), texture, hole)
    assert sliced_wasserstein(texture, texture, hole) == 0
    assert same < 5 < 40 < flat
    # all grey levels moved by d: each projection moves by d times the direction's sum, on average √(2/π) · 7 · d / 7
    grey = np.full((96, 96), 100, np.uint8)
    assert sliced_wasserstein(grey + 10, grey, np.ones((96, 96), bool)) == pytest.approx(
        10 * np.sqrt(2 / np.pi), rel=0.15
    )


@pytest.mark.parametrize("kind", MASKS)
def test_masks_follow_from_the_seed_and_cover_what_they_say(kind):
    one, again, other = (mask_of(kind, (256, 200), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    least, most = {"text": (0.08, 0.25), "scratches": (0.02, 0.2), "random": (0.48, 0.52), "brush": (0.2, 0.35)}.get(
        kind, (0.095, 0.105)
    )
    assert least <= one.mean() <= most
