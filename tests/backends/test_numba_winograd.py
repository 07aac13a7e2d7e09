"""The numba backend's Winograd convolution against the reference in float64."""

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from dlkit.backends import numba as nb  # noqa: E402
from dlkit.backends import reference as ref  # noqa: E402
from dlkit.backends.numba import winograd  # noqa: E402

BOUND = 1e-5  # of the largest element
NAMES = "conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight"
SHAPES = [  # N, H, W, C, K, padding
    ((2, 8, 8, 16, 16), (1, 1, 1, 1)),
    ((3, 7, 7, 32, 24), (1, 1, 1, 1)),
    ((2, 14, 9, 24, 40), (0, 0, 0, 0)),
    ((1, 11, 13, 16, 32), (2, 1, 0, 2)),
    ((4, 40, 40, 16, 24), (1, 1, 1, 1)),  # more than one group of tiles
]


def arguments(shape, padding):
    """kernel -> its arguments, float32 numbers as float64"""
    rng = np.random.default_rng(0)
    N, H, W, C, K = shape

    def normal(*shape):
        return rng.standard_normal(shape, np.float32).astype(np.float64)

    x, w, b = normal(N, H, W, C), normal(3, 3, C, K), normal(K)
    top, bottom, left, right = padding
    dy = normal(N, H + top + bottom - 2, W + left + right - 2, K)
    attrs = (1, 1), padding, (1, 1), 1
    return {
        NAMES[0]: (x, w, b, *attrs, "relu"),
        NAMES[1]: (dy, w, (H, W), *attrs),
        NAMES[2]: (x, dy, (3, 3), *attrs),
    }


def single(arguments):
    return [a.astype(np.float32) if isinstance(a, np.ndarray) else a for a in arguments]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "padding"), SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_is_close_to_the_exact_result(name, shape, padding):
    double = arguments(shape, padding)[name]
    expected = getattr(ref, name)(*double)
    actual = getattr(nb, name)(*single(double))
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= BOUND * np.abs(expected).max()


def test_those_were_winograds_convolutions():
    for (_, H, W, C, K), (top, bottom, left, right) in SHAPES:
        size = H + top + bottom - 2, W + left + right - 2
        assert winograd.suits(np.float32, (3, 3), (1, 1), (1, 1), 1, (C, K), size)


@pytest.mark.parametrize("name", NAMES)
def test_same_bits_for_any_number_of_threads(name):
    call = single(arguments(*SHAPES[-1])[name])
    threads = numba.get_num_threads()
    results = []
    try:
        for n in {1, threads}:
            numba.set_num_threads(n)
            results.append(getattr(nb, name)(*call))
    finally:
        numba.set_num_threads(threads)
    for result in results:
        np.testing.assert_array_equal(result, results[0])


def test_infinity_and_nan_reach_the_result():
    x, w, _, *attrs = single(arguments(*SHAPES[0])["conv2d_forward"])
    x[0, 3, 3, 5] = np.nan
    y = nb.conv2d_forward(x, w, None, *attrs)
    assert np.isnan(y[0, 2:5, 2:5]).all()
    assert np.isfinite(y[1]).all()
