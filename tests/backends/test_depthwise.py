"""Depthwise 3×3 convolution: heights that leave part of a tile, pictures smaller than the filter, odd channel counts."""

import numpy as np
import pytest

from dlkit.backends import BACKENDS, kernels, use_backend


def plain_sum(x, w, padding, stride_w):
    """y[n,i,j,c] = Σ x[n, i+u-top, j·stride+v-left, c] w[u,v,0,c], from the formula."""
    top, bottom, left, right = padding
    x = np.pad(x.astype(np.float64), ((0, 0), (top, bottom), (left, right), (0, 0)))
    out_h, out_w = x.shape[1] - 2, (x.shape[2] - 3) // stride_w + 1
    y = np.zeros((len(x), out_h, out_w, x.shape[3]))
    for u in range(3):
        for v in range(3):
            y += x[:, u : u + out_h, v : v + stride_w * (out_w - 1) + 1 : stride_w] * w[u, v, 0].astype(np.float64)
    return y


@pytest.fixture(params=["reference", "native", "numba"])
def k(request):
    if why := BACKENDS[request.param].available():
        pytest.skip(why)
    with use_backend(request.param):
        yield kernels("cpu")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("padding", [(1, 1, 1, 1), (0, 0, 0, 0), (2, 2, 2, 2), (0, 2, 1, 0)])
@pytest.mark.parametrize(
    "shape", [(1, 3, 3, 2), (2, 4, 5, 8), (1, 7, 3, 19), (3, 9, 4, 33), (2, 14, 14, 96), (1, 29, 6, 5)]
)
def test_forward_and_input_gradient(k, shape, padding, dtype):
    rng = np.random.default_rng(sum(shape))
    C, tolerance = shape[3], 1e-5 if dtype == np.float32 else 1e-13
    x, w = rng.standard_normal(shape).astype(dtype), rng.standard_normal((3, 3, 1, C)).astype(dtype)
    b = rng.standard_normal(C).astype(dtype)
    for stride_w in (1, 2):
        attributes = ((1, stride_w), padding, (1, 1), C)
        y = plain_sum(x, w, padding, stride_w) + b
        for activation, f in {None: lambda z: z, "relu": lambda z: z.clip(0), "tanh": np.tanh}.items():
            np.testing.assert_allclose(
                k.conv2d_forward(x, w, b, *attributes, activation), f(y), rtol=tolerance, atol=tolerance
            )
        dy = rng.standard_normal(y.shape).astype(dtype)
        dx = k.conv2d_backward_input(dy, w, shape[1:3], *attributes)
        expected = np.zeros(shape)
        for u in range(3):
            for v in range(3):
                for i in range(y.shape[1]):
                    for j in range(y.shape[2]):
                        h, l = i + u - padding[0], j * stride_w + v - padding[2]
                        if 0 <= h < shape[1] and 0 <= l < shape[2]:
                            expected[:, h, l] += dy[:, i, j].astype(np.float64) * w[u, v, 0]
        np.testing.assert_allclose(dx, expected, rtol=tolerance, atol=tolerance)
