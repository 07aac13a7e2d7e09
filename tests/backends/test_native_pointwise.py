"""The native memory-bound kernels against NumPy in float64, written here from the formulas.

`BOUND` states the error of each kernel in float32: relative to the value for functions of one number, relative to the
largest value of the result elsewhere. float64 is held to BOUND64.
"""

import math

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

pytest.importorskip("dlkit._native.pointwise")

from dlkit.backends.contract import Decline
from dlkit.backends.native import activation, elementwise, loss, matrix, norm, optim, pool, reduce, resample, shape

DTYPES = [np.float32, np.float64]
SIZES = [0, 1, 7, 33, 1000, 100_003]
BOUND64 = 2e-15
BOUND = {
    "exp": 2e-7, "sigmoid": 2.5e-7, "tanh": 3e-7, "elu": 3e-7, "gelu": 4.5e-7, "silu": 3e-7, "softplus": 3e-7,
    "sigmoid_backward": 3e-7, "tanh_backward": 3e-7, "elu_backward": 3e-7, "gelu_backward": 4e-7,
    "silu_backward": 4e-7, "softplus_backward": 3e-7,
    "softmax": 5e-7, "cross_entropy": 5e-7, "sum": 3e-7, "pool": 3e-7, "batch_norm": 1e-6, "step": 5e-7,
    "upsample": 5e-7,
}  # fmt: skip


def rng(seed=0):
    return np.random.default_rng(seed)


def draw(shape, dtype, seed=0, scale=1.0):
    return (scale * rng(seed).standard_normal(shape)).astype(dtype)


def check(f, *args):
    """f(*args) with one thread; the same bits with all threads; no argument changed; nothing declined."""
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    with threadpool_limits(1, user_api="openmp"):
        one = f(*args)
    many = f(*args)
    assert not isinstance(one, Decline), one.why
    for a, b in zip(before, args):
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, strict=True)
    for a, b in zip(one if isinstance(one, tuple) else [one], many if isinstance(many, tuple) else [many]):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), "one thread and many differ"
    return one


def close(got, want, bound, dtype):
    """Largest error relative to the largest value."""
    want = np.asarray(want, np.float64)
    assert got.dtype == dtype
    assert got.shape == want.shape
    if want.size:
        error = np.abs(got.astype(np.float64) - want).max() / max(np.abs(want).max(), 1e-300)
        assert error <= (bound if dtype == np.float32 else BOUND64 * 8), f"error {error:.2e}"


def close_each(got, want, bound, dtype):
    """Largest error relative to each value; denormal values may be flushed."""
    want = np.asarray(want, np.float64)
    assert got.dtype == dtype
    assert got.shape == want.shape
    tiny = np.finfo(dtype).tiny
    over = np.abs(want) > np.finfo(dtype).max  # overflows in this dtype
    assert np.isinf(got[over]).all()
    got, want = got[~over], want[~over]
    if want.size:
        bound = bound if dtype == np.float32 else BOUND64
        error = (np.abs(got.astype(np.float64) - want) / np.maximum(np.abs(want), tiny * 4 / bound)).max()
        assert error <= bound, f"error {error:.2e}"


# -- element-wise ------------------------------------------------------------------------------------------------

BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "greater", "greater_equal", "equal"]


def specials(dtype):
    return np.array([0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan, 1e-40, -3.0], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("n", SIZES)
def test_binary_has_numpys_bits(name, n, dtype):
    f, numpy_f = getattr(elementwise, name), getattr(np, name)
    a, b = draw(n, dtype, 1), draw(n, dtype, 2)
    for args in [(a, b), (a, 0.1), (0.1, b), (a, 3), (2, b)]:
        np.testing.assert_array_equal(check(f, *args), numpy_f(*args), strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shape", [(5, 1), (7, 3, 6), (2, 9, 33), (3, 600), (70, 1000), (20_000, 3), (0, 4), (4, 0)])
def test_binary_broadcasts_a_trailing_row(name, shape, dtype):
    f, numpy_f = getattr(elementwise, name), getattr(np, name)
    a, row = draw(shape, dtype, 1), draw(shape[-1], dtype, 2)
    for args in [(a, row), (row, a), (a, row.reshape((1,) * (len(shape) - 1) + (-1,)))]:
        np.testing.assert_array_equal(check(f, *args), numpy_f(*args), strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_binary_specials(name, dtype):
    a, b = (np.ascontiguousarray(v.ravel()) for v in np.meshgrid(specials(dtype), specials(dtype)))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(check(getattr(elementwise, name), a, b), getattr(np, name)(a, b))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_where(n, dtype):
    a, b, mask = draw(n, dtype, 1), draw(n, dtype, 2), rng().random(n) < 0.5
    for args in [(a, b), (a, 0.1), (0, b)]:
        want = np.where(mask, *(v if isinstance(v, np.ndarray) else dtype(v) for v in args))
        np.testing.assert_array_equal(check(elementwise.where, mask, *args), want, strict=True)
    assert isinstance(elementwise.where(mask, 1.0, 2.0), Decline)
    assert isinstance(elementwise.where(mask.astype(np.uint8), a, b), Decline)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_simple_unary(n, dtype):
    x = draw(n, dtype)
    np.testing.assert_array_equal(check(elementwise.negative, x), -x, strict=True)
    np.testing.assert_array_equal(check(elementwise.abs, x), np.abs(x), strict=True)
    np.testing.assert_array_equal(check(elementwise.sqrt, np.abs(x)), np.sqrt(np.abs(x)), strict=True)
    np.testing.assert_array_equal(check(elementwise.clip, x, -0.5, 0.25), np.clip(x, -0.5, 0.25), strict=True)
    np.testing.assert_array_equal(check(activation.relu, x), np.maximum(x, 0), strict=True)
    np.testing.assert_array_equal(check(activation.leaky_relu, x, 0.1), np.where(x > 0, x, x * dtype(0.1)), strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_simple_unary_specials(dtype):
    x = specials(dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(check(elementwise.sqrt, x), np.sqrt(x))
    np.testing.assert_array_equal(check(elementwise.clip, x, -1, 1), np.clip(x, -1, 1))
    np.testing.assert_array_equal(check(activation.relu, x), np.maximum(x, 0))
    np.testing.assert_array_equal(np.signbit(check(elementwise.negative, x)), np.signbit(-x))


def erfc_half(x):
    """The normal distribution function, from the C library's erfc, corrected for the rounding of x / sqrt(2)."""
    z = -x / math.sqrt(2)
    off = (-np.asarray(x, np.longdouble) / np.sqrt(np.longdouble(2)) - z).astype(np.float64)
    value = np.array([math.erfc(v) for v in np.ravel(z)]).reshape(np.shape(x))
    return 0.5 * (value - 2 / math.sqrt(math.pi) * np.exp(-z * z) * off)


def logistic(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def phi(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


UNARY = {  # name: (formula, further arguments)
    "exp": (np.exp, ()),
    "sigmoid": (logistic, ()),
    "tanh": (np.tanh, ()),
    "elu": (lambda x: np.where(x > 0, x, 0.5 * np.expm1(np.minimum(x, 0))), (0.5,)),
    "gelu": (lambda x: x * erfc_half(x), ()),
    "silu": (lambda x: x * logistic(x), ()),
    "softplus": (lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), ()),
}
SLOPE = {
    "sigmoid_backward": (lambda y: y * (1 - y), ()),
    "tanh_backward": (lambda y: (1 - y) * (1 + y), ()),
    "relu_backward": (lambda y: 1.0 * (y > 0), ()),
    "leaky_relu_backward": (lambda x: np.where(x > 0, 1, np.float64(0.125)), (0.125,)),
    "elu_backward": (lambda x: np.where(x > 0, 1, 0.5 * np.exp(np.minimum(x, 0))), (0.5,)),
    "gelu_backward": (lambda x: erfc_half(x) + x * phi(x), ()),
    "silu_backward": (lambda x: logistic(x) + x * logistic(x) * logistic(-x), ()),
    "softplus_backward": (lambda x: logistic(x), ()),
}


def wide(n, dtype):
    """Small, medium, large and tiny arguments, both signs."""
    r = rng(3)
    x = r.standard_normal(n) * 10.0 ** r.uniform(-6, 1.5, n)
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("n", SIZES)
def test_function(name, n, dtype):
    formula, more = UNARY[name]
    f = elementwise.exp if name == "exp" else getattr(activation, name)
    x = wide(n, dtype)
    with np.errstate(all="ignore"):
        close_each(check(f, x, *more), formula(x.astype(np.float64)), BOUND[name], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SLOPE)
@pytest.mark.parametrize("n", SIZES)
def test_slope(name, n, dtype):
    formula, more = SLOPE[name]
    xy = wide(n, dtype)
    if name.startswith(("sigmoid", "tanh")):
        xy = np.clip(xy, 0, 1) if name.startswith("sig") else np.clip(xy, -1, 1)
    dy = draw(n, dtype, 1)
    got = check(getattr(activation, name), dy, xy, *more)
    want = dy.astype(np.float64) * formula(xy.astype(np.float64))
    # x phi(x) + Phi(x) and s + x s (1 - s) cross zero: there the error is relative to dy
    if name in ("gelu_backward", "silu_backward") and n:
        error = np.abs(got - want) / np.maximum(np.abs(dy), 1e-30)
        assert error.max() <= (BOUND[name] if dtype == np.float32 else BOUND64)
    else:
        close_each(got, want, BOUND.get(name, 1e-7), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_function_limits(dtype):
    big = dtype(1e30)
    x = np.array([np.inf, big, -big, -np.inf, np.nan, 0.0] + [0.0] * 30, dtype)  # vector and tail alike
    table = {
        elementwise.exp: [np.inf, np.inf, 0, 0, np.nan, 1],
        activation.sigmoid: [1, 1, 0, 0, np.nan, 0.5],
        activation.tanh: [1, 1, -1, -1, np.nan, 0],
        activation.gelu: [np.inf, big, 0, 0, np.nan, 0],
        activation.silu: [np.inf, big, 0, 0, np.nan, 0],
        activation.softplus: [np.inf, big, 0, 0, np.nan, dtype(math.log(2))],
        lambda x: activation.elu(x, 0.5): [np.inf, big, -0.5, -0.5, np.nan, 0],
        lambda x: activation.gelu_backward(np.ones_like(x), x): [1, 1, 0, 0, np.nan, 0.5],
        lambda x: activation.silu_backward(np.ones_like(x), x): [1, 1, 0, 0, np.nan, 0.5],
        lambda x: activation.softplus_backward(np.ones_like(x), x): [1, 1, 0, 0, np.nan, 0.5],
    }
    for f, want in table.items():
        np.testing.assert_allclose(f(x)[:6], np.array(want, dtype), rtol=1e-7)
        np.testing.assert_allclose(f(x[::-1].copy())[-6:], np.array(want, dtype)[::-1], rtol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log(dtype):
    info = np.finfo(dtype)
    spread = 2.0 ** rng().uniform(np.log2(info.smallest_subnormal), np.log2(info.max) * 0.999, 100_003)
    near_one = 1 + rng().uniform(-0.3, 0.3, 100_003) * 10.0 ** rng(1).uniform(-6, 0, 100_003)
    for x in (spread.astype(dtype), near_one.astype(dtype)):
        close_each(check(elementwise.log, x), np.log(x.astype(np.longdouble)), 2e-7, dtype)
    edges = np.array([0.0, -0.0, -1.0, -np.inf, np.inf, np.nan, 1.0, info.tiny, info.max] * 5, dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(elementwise.log(edges), np.log(edges), rtol=2e-7)


def test_exp_at_the_ends_of_float32():
    x = np.linspace(-104, 89, 100_001).astype(np.float32)
    with np.errstate(all="ignore"):
        want = np.exp(x.astype(np.float64)).astype(np.float32)
    got = elementwise.exp(x)
    assert np.array_equal(np.isinf(got), np.isinf(want))
    assert np.abs(got[np.isfinite(want)] - want[np.isfinite(want)]).max() / want[np.isfinite(want)].max() < 2e-7
    denormal = want < np.finfo(np.float32).tiny
    assert np.abs(got[denormal] - want[denormal]).max() <= np.finfo(np.float32).smallest_subnormal * 2


# -- softmax and cross entropy -----------------------------------------------------------------------------------------

MATRICES = [(1, 1), (1, 7), (7, 10), (33, 3), (1000, 10), (3, 1000), (2, 5000), (300, 333), (0, 5), (5, 0)]


def softmax64(x):
    if x.size == 0:
        return x.astype(np.float64)
    e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*MATRICES, (2, 3, 4, 5)])
def test_softmax(shape, dtype):
    x, dy = draw(shape, dtype, scale=4), draw(shape, dtype, 1)
    p = softmax64(x)
    close(check(activation.softmax, x, -1), p, BOUND["softmax"], dtype)
    with np.errstate(divide="ignore"):
        close(check(activation.log_softmax, x, len(shape) - 1), np.log(p), BOUND["softmax"], dtype)
    y = p.astype(dtype)
    p, d = y.astype(np.float64), dy.astype(np.float64)
    want = p * (d - (d * p).sum(-1, keepdims=True))
    close(check(activation.softmax_backward, dy, y, -1), want, BOUND["softmax"], dtype)
    y = np.log(np.maximum(p, 1e-30)).astype(dtype)
    want = d - np.exp(y.astype(np.float64)) * d.sum(-1, keepdims=True)
    close(check(activation.log_softmax_backward, dy, y, -1), want, BOUND["softmax"] * 4, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_specials(dtype):
    x = np.zeros((4, 40), dtype)
    x[0, 3], x[1, 5], x[2, :20], x[3] = np.nan, 1000, -np.inf, 1e30
    y = activation.softmax(x, -1)
    assert np.isnan(y[0]).all()
    assert y[1, 5] == 1
    assert y[1].sum() == 1
    np.testing.assert_allclose(y[2], [0] * 20 + [0.05] * 20, rtol=1e-6)
    np.testing.assert_allclose(y[3], 1 / 40, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [s for s in MATRICES if s[1]])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy(shape, weighted, smoothing, dtype):
    M, K = shape
    x, labels = draw(shape, dtype, scale=3), rng(1).integers(0, K, M)
    w = rng(2).uniform(0.5, 2, K).astype(dtype) if weighted else None
    value, p = check(loss.cross_entropy_forward, x, labels, w, smoothing)
    p64 = softmax64(x)
    q = np.full(shape, smoothing / K)
    q[np.arange(M), labels] += 1 - smoothing
    wq = q * (1.0 if w is None else w.astype(np.float64))
    close(p, p64, BOUND["softmax"], dtype)
    want = -(wq * np.log(np.maximum(p64, 1e-300))).sum(1)
    assert np.abs(value - want).max(initial=0) <= (3e-6 if dtype == np.float32 else 1e-13)
    dloss, p64 = draw(M, dtype, 3), p.astype(np.float64)
    got = check(loss.cross_entropy_backward, dloss, p, labels, w, smoothing)
    want = dloss.astype(np.float64)[:, None] * (wq.sum(1, keepdims=True) * p64 - wq)
    assert np.abs(got - want).max(initial=0) <= (2e-6 if dtype == np.float32 else 1e-13)


def test_cross_entropy_refuses_labels_out_of_range():
    x = np.zeros((2, 3), np.float32)
    for bad in (-1, 3, 2**40):
        assert isinstance(loss.cross_entropy_forward(x, np.array([0, bad]), None, 0.0), Decline)
        assert isinstance(loss.cross_entropy_backward(x[:, 0].copy(), x, np.array([bad, 0]), None, 0.0), Decline)
    assert isinstance(loss.cross_entropy_forward(x, np.array([0, 1], np.int32), None, 0.0), Decline)


# -- reductions ------------------------------------------------------------------------------------------------------------

SUMS = [
    ((1,), (0,)), ((1000,), (0,)), ((300_001,), (0,)), ((7, 33), (0, 1)), ((7, 33), (0,)), ((7, 33), (1,)), ((1000, 1), (0,)),
    ((70_001, 3), (0,)), ((5000, 16), (0,)), ((64, 8, 8, 6), (0, 1, 2)), ((3, 9, 9, 33), (1, 2)), ((40, 20, 20, 7), (1, 2)),
    ((3, 4, 5), ()), ((100, 1000), (-1,)), ((0, 3), (0,)), ((3, 0), (0,)), ((3, 0), (1,)), ((2, 500_000), (1,)), ((), ()),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axes"), SUMS)
def test_sum(shape, axes, dtype):
    x = np.asarray(draw(shape, dtype) + dtype(0.5))
    for keepdims in (False, True):
        got = check(reduce.sum, x, axes, keepdims)
        close(got, x.astype(np.float64).sum(axis=axes, keepdims=keepdims), BOUND["sum"], dtype)


def test_sum_is_no_less_accurate_than_numpys():
    x = rng().uniform(0, 1, (1 << 20, 16)).astype(np.float32)
    want = x.astype(np.float64).sum(0)
    assert np.abs(reduce.sum(x, (0,), False) - want).max() <= np.abs(x.sum(0) - want).max()
    assert abs(reduce.sum(x, (0, 1), False) - want.sum()) <= abs(x.sum() - want.sum())


def test_sum_declines_what_it_does_not_take():
    x = np.zeros((2, 3, 4), np.float32)
    assert isinstance(reduce.sum(x, (0, 2), False), Decline)
    assert isinstance(reduce.sum(x.T, (0,), False), Decline)
    assert isinstance(reduce.sum(x.astype(np.int64), (0,), False), Decline)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_sum_of_squares_and_all_finite(n, dtype):
    x = draw(n, dtype)
    assert check(reduce.sum_of_squares, x) == pytest.approx(math.fsum(float(v) ** 2 for v in x), rel=1e-14)
    assert check(reduce.all_finite, x) is True
    for bad in (np.nan, np.inf, -np.inf):
        for at in {0, n // 2, n - 1} if n else ():
            y = x.copy()
            y[at] = bad
            assert check(reduce.all_finite, y) is False


# -- pooling --------------------------------------------------------------------------------------------------------------------

POOLS = [  # shape, kernel, stride, padding
    ((2, 6, 8, 1), (2, 2), (2, 2), (0, 0, 0, 0)), ((3, 7, 9, 6), (2, 2), (2, 2), (0, 0, 0, 0)),
    ((2, 5, 5, 33), (2, 2), (2, 2), (0, 0, 0, 0)), ((9, 32, 32, 16), (2, 2), (2, 2), (0, 0, 0, 0)),
    ((2, 7, 8, 3), (3, 3), (2, 2), (1, 1, 1, 1)), ((1, 9, 7, 20), (3, 2), (1, 2), (1, 0, 0, 1)),
    ((2, 4, 4, 5), (2, 2), (1, 1), (0, 0, 0, 0)), ((1, 1, 1, 7), (1, 1), (1, 1), (0, 0, 0, 0)),
    ((2, 5, 6, 17), (2, 3), (3, 4), (0, 0, 0, 0)), ((5, 40, 40, 33), (3, 3), (2, 2), (1, 1, 1, 1)),
    ((1, 16, 16, 2), (16, 16), (1, 1), (0, 0, 0, 0)), ((2, 3, 3, 4), (2, 2), (2, 2), (1, 1, 1, 1)),
    ((0, 4, 4, 2), (2, 2), (2, 2), (0, 0, 0, 0)), ((2, 4, 4, 0), (2, 2), (2, 2), (0, 0, 0, 0)),
]  # fmt: skip


def windows(shape, kernel, stride, padding):
    """(oh, ow, the pixels (h, w, position) inside the image, in row-major order) of each window."""
    _, H, W, _ = shape
    (R, S), (sh, sw), (top, bottom, left, right) = kernel, stride, padding
    for oh in range((H + top + bottom - R) // sh + 1):
        for ow in range((W + left + right - S) // sw + 1):
            pixels = [(oh * sh - top + r, ow * sw - left + s, r * S + s) for r in range(R) for s in range(S)]
            yield oh, ow, [(h, w, i) for h, w, i in pixels if 0 <= h < H and 0 <= w < W]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), POOLS)
@pytest.mark.parametrize("ties", [False, True])
def test_max_pool2d(shape, kernel, stride, padding, ties, dtype):
    x = rng().integers(0, 3, shape).astype(dtype) if ties else draw(shape, dtype)
    if ties and x.size:
        x.reshape(-1)[:: max(1, x.size // 5)] = np.nan
    y, where = check(pool.max_pool2d_forward, x, kernel, stride, padding)
    dy = draw(y.shape, dtype, 1)
    dx = check(pool.max_pool2d_backward, dy, where, shape[1:3], kernel, stride, padding)
    assert where.dtype == np.uint8
    want_dx = np.zeros(shape)
    n, c = np.meshgrid(np.arange(shape[0]), np.arange(shape[3]), indexing="ij")
    for oh, ow, pixels in windows(shape, kernel, stride, padding):
        stack = np.stack([x[:, h, w] for h, w, _ in pixels])
        first = stack.argmax(0)  # numpy: the first maximum, or the first NaN
        at = np.array(pixels)[first]
        np.testing.assert_array_equal(y[:, oh, ow], stack.max(0))
        np.testing.assert_array_equal(where[:, oh, ow], at[..., 2])
        np.add.at(want_dx, (n, at[..., 0], at[..., 1], c), dy[:, oh, ow].astype(np.float64))
    close(dx, want_dx, BOUND["pool"], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), POOLS)
def test_avg_pool2d(shape, kernel, stride, padding, dtype):
    x = draw(shape, dtype)
    y = check(pool.avg_pool2d_forward, x, kernel, stride, padding)
    dy = draw(y.shape, dtype, 1)
    dx = check(pool.avg_pool2d_backward, dy, shape[1:3], kernel, stride, padding)
    want, want_dx = np.zeros(y.shape), np.zeros(shape)
    for oh, ow, pixels in windows(shape, kernel, stride, padding):
        for h, w, _ in pixels:
            want[:, oh, ow] += x[:, h, w].astype(np.float64) / len(pixels)
            want_dx[:, h, w] += dy[:, oh, ow].astype(np.float64) / len(pixels)
    close(y, want, BOUND["pool"], dtype)
    close(dx, want_dx, BOUND["pool"], dtype)


def test_max_pool2d_declines_windows_over_256():
    x = np.zeros((1, 20, 20, 1), np.float32)
    assert isinstance(pool.max_pool2d_forward(x, (17, 17), (1, 1), (0, 0, 0, 0)), Decline)
    assert isinstance(pool.max_pool2d_forward(x, (21, 1), (1, 1), (0, 0, 0, 0)), Decline)
    assert isinstance(pool.max_pool2d_forward(x[:, ::2], (2, 2), (2, 2), (0, 0, 0, 0)), Decline)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 7, 9, 3), (3, 8, 8, 64), (1, 56, 56, 33), (2, 1, 1, 5), (40, 7, 7, 40)])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 7), (11, 4)])
def test_adaptive_avg_pool2d(shape, size, dtype):
    (_, H, W, _), (OH, OW) = shape, size
    x = draw(shape, dtype)
    y = check(pool.adaptive_avg_pool2d_forward, x, size)
    dy = draw(y.shape, dtype, 1)
    dx = check(pool.adaptive_avg_pool2d_backward, dy, (H, W))
    want, want_dx = np.zeros(y.shape), np.zeros(shape)
    for i in range(OH):
        for j in range(OW):
            rows = slice(i * H // OH, -(-(i + 1) * H // OH))
            columns = slice(j * W // OW, -(-(j + 1) * W // OW))
            box = x[:, rows, columns].astype(np.float64)
            want[:, i, j] = box.mean((1, 2))
            want_dx[:, rows, columns] += dy[:, i, j].astype(np.float64)[:, None, None] / (box.shape[1] * box.shape[2])
    close(y, want, BOUND["pool"], dtype)
    close(dx, want_dx, BOUND["pool"], dtype)


# -- batch normalisation -----------------------------------------------------------------------------------------------------------

NORMS = [(1, 1), (1, 5), (7, 1), (33, 6), (1000, 16), (1000, 33), (65_536, 16), (40_001, 1), (20_000, 64), (300, 600)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", NORMS)
@pytest.mark.parametrize("act", [None, "relu", "relu6", "leaky_relu"])
@pytest.mark.parametrize("added", [False, True])
def test_batch_norm(shape, added, act, dtype):
    M, C = shape
    below = {None: 1.0, "relu": 0.0, "relu6": 0.0, "leaky_relu": dtype(0.2).item()}[act]
    raised, top = (4, 6.0) if act == "relu6" else (0, np.inf)
    residual = draw(shape, dtype, 7) if added else None
    x = (rng().standard_normal(shape) * rng(1).uniform(0.5, 2, C) + rng(2).standard_normal(C)).astype(dtype)
    gamma, beta, eps = rng(3).uniform(0.5, 1.5, C).astype(dtype), draw(C, dtype, 4) + dtype(raised), 1e-5
    y, mean, inv_std = check(norm.batch_norm_forward, x, gamma, beta, residual, eps, act, 0.2)
    x64, g64, b64 = x.astype(np.float64), gamma.astype(np.float64), beta.astype(np.float64)
    mean64, var64 = x64.mean(0), x64.var(0)
    inv64 = 1 / np.sqrt(var64 + eps)
    x_hat = (x64 - mean64) * inv64
    r64 = residual.astype(np.float64) if added else 0
    y64 = g64 * x_hat + b64 + r64
    slope = np.where(y > 0, 1.0, below) * (y < top)
    close(mean, mean64, BOUND["batch_norm"], dtype)
    close(inv_std, inv64, BOUND["batch_norm"], dtype)
    close(y, np.minimum(np.where(y64 > 0, y64, below * y64), top), BOUND["batch_norm"], dtype)

    dy = draw(shape, dtype, 5)
    args = (dy, x, y if added else None, gamma, beta, mean, inv_std, act, 0.2, added)
    dx, dgamma, dbeta, dz = check(norm.batch_norm_backward, *args)
    g = dy.astype(np.float64) * slope
    if added:
        close(dz, g, 1e-7, dtype)
    else:
        assert dz is None
    want = g64 * inv64 * (g - g.mean(0) - x_hat * (g * x_hat).mean(0))
    if M > 1:  # one row: its own mean, and the exact result is 0
        close(dx, want, BOUND["batch_norm"] * 2, dtype)
    else:
        assert np.abs(dx).max() <= 1e-3
    scale = np.sqrt(M) * 1e-6 if dtype == np.float32 else np.sqrt(M) * 1e-13
    assert np.abs(dgamma - (g * x_hat).sum(0)).max() <= scale
    assert np.abs(dbeta - g.sum(0)).max() <= scale

    var = rng(6).uniform(0.5, 2, C).astype(dtype)
    got = check(norm.batch_norm_inference, x, gamma, beta, mean, var, residual, eps, act, 0.2)
    want = g64 * (x64 - mean.astype(np.float64)) / np.sqrt(var.astype(np.float64) + eps) + b64 + r64
    close(got, np.minimum(np.where(want > 0, want, below * want), top), BOUND["batch_norm"], dtype)


def test_batch_norm_statistics_survive_a_large_mean():
    x = (rng().standard_normal((65_536, 16)) + 1000).astype(np.float32)
    x[:64] = 0  # and a beginning that misleads
    _, mean, inv_std = norm.batch_norm_forward(
        x, np.ones(16, np.float32), np.zeros(16, np.float32), None, 1e-5, None, 0.0
    )
    x64 = x.astype(np.float64)
    np.testing.assert_allclose(mean, x64.mean(0), rtol=2e-7)
    np.testing.assert_allclose(inv_std, 1 / np.sqrt(x64.var(0) + 1e-5), rtol=1e-6)


def test_batch_norm_nan_stays_in_its_channel():
    x = draw((1000, 6), np.float32)
    x[17, 2] = np.nan
    one = np.ones(6, np.float32)
    y, mean, _ = norm.batch_norm_forward(x, one, one, None, 1e-5, "relu", 0.0)
    assert np.isnan(mean).tolist() == [False, False, True, False, False, False]
    assert np.isnan(y).any(0).tolist() == np.isnan(mean).tolist()


def test_batch_norm_declines():
    x, c = np.zeros((4, 3), np.float32), np.ones(3, np.float32)
    assert isinstance(norm.batch_norm_forward(x, c, c, None, 1e-5, "tanh", 0.0), Decline)
    assert isinstance(norm.batch_norm_forward(x[:0], c, c, None, 1e-5, None, 0.0), Decline)
    assert isinstance(norm.batch_norm_forward(x, c.astype(np.float64), c, None, 1e-5, None, 0.0), Decline)
    assert isinstance(norm.batch_norm_forward(x, c[:2], c, None, 1e-5, None, 0.0), Decline)
    assert isinstance(norm.batch_norm_forward(x, c, c, x[:2].copy(), 1e-5, None, 0.0), Decline)


# -- optimiser steps ------------------------------------------------------------------------------------------------------------------


def in_place(f, arrays, *more):
    """What f does to copies of `arrays`: the same with one thread and with many, and to nothing but them."""
    results = []
    for limit in (1, None):
        copies = [None if a is None else a.copy() for a in arrays]
        with threadpool_limits(limit, user_api="openmp"):
            result = f(*copies, *more)
        assert result is None, getattr(result, "why", result)
        results.append(copies)
    for a, b in zip(*results):
        assert a is None or a.tobytes() == b.tobytes()
    return results[0]


def alone(step):
    """A step of one parameter beside others: arrays in, one of each list is looked at."""

    def run(*args):
        arrays = [a for a in args if a is None or isinstance(a, np.ndarray)]
        others = [[None if a is None else np.full(5, 0.25, a.dtype) for a in arrays] for _ in range(2)]
        lists = [None if a is None else [x, a, y] for x, a, y in zip(others[0], arrays, others[1])]
        rest = [[0.5, a, 0.5] if isinstance(a, Decay) else a for a in args[len(arrays) :]]
        return step(*lists, *rest)

    return run


class Decay(float):
    """Weight decay, of which a step takes a list."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("momentum", "nesterov"), [(None, False), (0.0, False), (0.9, False), (0.9, True)])
def test_sgd_step(n, momentum, nesterov, dtype):
    p, g, v = (draw(n, dtype, i) for i in range(3))
    v = None if momentum is None else v
    momentum = momentum or 0.0
    q, h, u = in_place(alone(optim.sgd_step), (p, g, v), 0.1, momentum, nesterov, Decay(0.01))
    np.testing.assert_array_equal(h, g)
    slope = g.astype(np.float64) + 0.01 * p.astype(np.float64)
    want_v = momentum * (0 if v is None else v.astype(np.float64)) + slope
    close(q, p - 0.1 * (slope + momentum * want_v if nesterov else want_v), BOUND["step"], dtype)
    if v is not None:
        close(u, want_v, BOUND["step"], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_rmsprop_step(n, momentum, dtype):
    p, g, v = (draw(n, dtype, i) for i in range(3))
    s = np.abs(draw(n, dtype, 4))
    v = None if momentum is None else v
    q, h, t, u = in_place(alone(optim.rmsprop_step), (p, g, s, v), 0.01, 0.99, 1e-8, momentum or 0.0, Decay(0.01))
    np.testing.assert_array_equal(h, g)
    slope = g.astype(np.float64) + 0.01 * p.astype(np.float64)
    want_s = 0.99 * s.astype(np.float64) + 0.01 * slope**2
    step = slope / (np.sqrt(want_s) + 1e-8) + (0 if v is None else momentum * v.astype(np.float64))
    close(q, p - 0.01 * step, BOUND["step"], dtype)
    close(t, want_s, BOUND["step"], dtype)
    if v is not None:
        close(u, step, BOUND["step"], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("decay", "decoupled"), [(0.0, False), (0.01, False), (0.01, True)])
@pytest.mark.parametrize("t", [1, 1000])
def test_adam_step(n, decay, decoupled, t, dtype):
    p, g, m = (draw(n, dtype, i) for i in range(3))
    v = np.abs(draw(n, dtype, 4))
    q, h, a, b = in_place(alone(optim.adam_step), (p, g, m, v), 1e-3, 0.9, 0.999, 1e-8, Decay(decay), decoupled, t)
    np.testing.assert_array_equal(h, g)
    p64 = p.astype(np.float64)
    slope = g.astype(np.float64) + (0 if decoupled else decay * p64)
    want_m = 0.9 * m.astype(np.float64) + 0.1 * slope
    want_v = 0.999 * v.astype(np.float64) + 0.001 * slope**2
    step = 1e-3 * (want_m / (1 - 0.9**t)) / (np.sqrt(want_v / (1 - 0.999**t)) + 1e-8)
    close(q, p64 - step - (1e-3 * decay * p64 if decoupled else 0), BOUND["step"], dtype)
    close(a, want_m, BOUND["step"], dtype)
    close(b, want_v, BOUND["step"], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_into(n, dtype):
    x, y = draw(n, dtype), draw(n, dtype, 1)
    a, b = in_place(optim.add_into, (x, y))
    np.testing.assert_array_equal(a, x + y, strict=True)
    np.testing.assert_array_equal(b, y)
    np.testing.assert_array_equal(in_place(optim.scale_into, (x,), 0.3)[0], x * dtype(0.3), strict=True)
    x2 = x.copy()
    assert optim.add_into(x2, x2) is None
    np.testing.assert_array_equal(x2, x + x)


def test_in_place_declines():
    x = np.zeros(10, np.float32)
    fixed = x.copy()
    fixed.flags.writeable = False
    assert isinstance(optim.add_into(fixed, x), Decline)
    assert isinstance(optim.add_into(x[1:], x[:-1]), Decline)
    assert isinstance(optim.add_into(x[::2], x[::2]), Decline)
    assert isinstance(optim.sgd_step([x], [x[:5].copy()], None, 0.1, 0, False, [0]), Decline)
    assert isinstance(
        optim.adam_step([x], [x.astype(np.float64)], [x], [x], 0.1, 0.9, 0.99, 1e-8, [0], False, 1), Decline
    )


def test_a_group_of_steps_is_all_or_nothing():
    p, q, g = np.ones(10, np.float32), np.ones(10, np.float32), np.ones((10, 2), np.float32)[:, 0]
    assert optim.sgd_step([p, q], [g, g], None, 0.5, 0, False, [0.0, 0.0]) is None  # a gradient may be a view
    assert p.tolist() == q.tolist() == [0.5] * 10
    assert isinstance(optim.sgd_step([p, q[::2]], [g, g[::2]], None, 0.5, 0, False, [0.0, 0.0]), Decline)
    assert p.tolist() == [0.5] * 10


# -- denormals --------------------------------------------------------------------------------------------------------------------------------


def denormals_live():
    return np.multiply(np.float32(1e-20), np.float32(1e-20)) > 0


@pytest.mark.parametrize("n", [10, 200_000])
def test_products_and_steps_flush_denormals_and_only_they(n):
    tiny = np.full(n, 1e-40, np.float32)
    v = tiny.copy()
    optim.sgd_step([np.ones(n, np.float32)], [np.zeros(n, np.float32)], [v], 0.1, 0.9, False, [0.0])
    assert not v.any()  # a moment that has died away
    assert denormals_live()
    assert elementwise.multiply(tiny, 0.5).all()
    product = matrix.matmul(np.full((n, 1), 1e-20, np.float32), np.full((1, 3), 1e-20, np.float32))
    assert not product.any()
    assert denormals_live()
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    y, _, _ = norm.batch_norm_forward(tiny[:, None], one, zero, None, 1e-5, None, 0.0)
    assert not y.any()
    assert denormals_live()


# -- shape ------------------------------------------------------------------------------------------------------------------------------------

BOXES = [
    ((64, 40, 10), (slice(None), slice(None, None, 2))),
    ((64, 40, 10), (slice(None, None, -1), slice(3, 39, 3), slice(2, 9))),
    ((40, 40, 12), (slice(None), slice(None), slice(8, 12))),
    ((3, 20_000), (1,)),
    ((5, 7, 900), (slice(1, 4), None, 2)),
    ((2, 9, 1, 1000), (slice(None), slice(None, None, 3))),
    ((300, 100), (slice(None), 5)),
    ((300, 100), (np.array([3, 3, 1]),)),
]


@pytest.fixture
def any_size(monkeypatch):
    monkeypatch.setattr(shape, "MANY", 0)


def unless_declined(f, *args):
    return None if isinstance(f(*args), Decline) else check(f, *args)


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "index"), BOXES)
def test_take(size, index, dtype):
    x = draw(size, dtype)
    taken = unless_declined(shape.take, x, index)
    if taken is None:  # strides along the last axis, an array
        assert isinstance(index[-1], (int, np.ndarray))
        return
    np.testing.assert_array_equal(taken, x[index], strict=True)
    assert taken.flags.c_contiguous
    assert not np.shares_memory(taken, x)
    dx = np.zeros_like(x)
    dx[index] = taken
    np.testing.assert_array_equal(check(shape.take_backward, taken, index, size), dx, strict=True)


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_concat_and_copy(axis, dtype):
    xs = [draw([n if i == axis else size for i, size in enumerate((30, 40, 50))], dtype, n) for n in (1, 64, 0, 3)]
    joined = unless_declined(shape.concat, xs, axis)
    if joined is not None:
        np.testing.assert_array_equal(joined, np.concatenate(xs, axis), strict=True)
    x = draw((20, 30, 40), dtype)
    for y in (x, x.transpose(1, 0, 2), x[::2, ::-1], np.broadcast_to(x[:1], x.shape), x[:, :, 3:30]):
        np.testing.assert_array_equal(shape.copy(y), y, strict=True)
        assert shape.copy(y).flags.c_contiguous


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("widths", [((0, 0), (1, 2), (3, 0), (0, 0)), ((0, 0), (0, 0), (0, 0), (0, 7)), ((0, 0),) * 4])
def test_pad(widths, dtype):
    x = draw((3, 20, 10, 8), dtype)
    y = check(shape.pad, x, widths, "constant", 1.5)
    np.testing.assert_array_equal(y, np.pad(x, widths, constant_values=1.5), strict=True)
    np.testing.assert_array_equal(check(shape.pad_backward, y, widths, "constant"), x, strict=True)
    assert isinstance(shape.pad(x, widths, "reflect", 0.0), Decline)


# -- resampling ---------------------------------------------------------------------------------------------------------------------------

IMAGES = [(1, 1, 1, 1), (2, 3, 5, 1), (2, 5, 4, 7), (1, 33, 7, 33), (3, 16, 16, 64), (0, 2, 2, 3)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize("scale", [(1, 1), (2, 2), (3, 2), (1, 4)])
def test_upsample_nearest(shape, scale, dtype):
    x = draw(shape, dtype)
    y = check(resample.upsample_nearest_forward, x, scale)
    np.testing.assert_array_equal(y, x.repeat(scale[0], 1).repeat(scale[1], 2), strict=True)
    dy = draw(y.shape, dtype, 1)
    N, H, W, C = shape
    want = dy.astype(np.float64).reshape(N, H, scale[0], W, scale[1], C).sum((2, 4))
    close(check(resample.upsample_nearest_backward, dy, scale), want, BOUND["upsample"], dtype)


def bilinear_matrix(size, out, align_corners):
    """[out, size]: each output is a weighted sum of two inputs."""
    matrix = np.zeros((out, size))
    for i in range(out):
        if align_corners:
            at = i * (size - 1) / (out - 1) if out > 1 else 0.0
        else:
            at = max((i + 0.5) * size / out - 0.5, 0.0)
        low = min(int(at), size - 1)
        matrix[i, low] += 1 - (at - low)
        matrix[i, min(low + 1, size - 1)] += at - low
    return matrix


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize("size", [(1, 1), (6, 10), (5, 3), (64, 33)])
@pytest.mark.parametrize("align_corners", [False, True])
def test_upsample_bilinear(shape, size, align_corners, dtype):
    x = draw(shape, dtype)
    y = check(resample.upsample_bilinear_forward, x, size, align_corners)
    down, across = (bilinear_matrix(shape[1 + i], size[i], align_corners) for i in range(2))
    close(y, np.einsum("ph,qw,nhwc->npqc", down, across, x.astype(np.float64)), BOUND["upsample"], dtype)
    dy = draw(y.shape, dtype, 1)
    dx = check(resample.upsample_bilinear_backward, dy, shape[1:3], align_corners)
    close(dx, np.einsum("ph,qw,npqc->nhwc", down, across, dy.astype(np.float64)), BOUND["upsample"], dtype)


# -- hygiene ------------------------------------------------------------------------------------------------------------------------------


def test_declines_say_why():
    x = np.zeros((4, 6), np.float32)
    for bad, word in [
        (x.astype(np.float16), "float16"),
        (x.T, "contiguous"),
        ([1.0], "list"),
        (x.view(">f4"), "contig"),
    ]:
        answer = activation.relu(bad)
        assert isinstance(answer, Decline)
        assert word in answer.why or word == "contig"
    assert "dtype" in elementwise.add(x, x.astype(np.float64)).why
    assert "shapes" in elementwise.add(x, np.zeros((4, 1), np.float32)).why
    assert isinstance(elementwise.add(x, np.float64(1)), Decline)  # would promote: NumPy's business


def test_read_only_inputs_are_fine():
    x = draw((8, 16), np.float32)
    x.flags.writeable = False
    assert not isinstance(activation.relu(x), Decline)
    assert not isinstance(activation.softmax(x, -1), Decline)
