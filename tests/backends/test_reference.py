"""The reference kernels against hand-computed numbers and against loops written from the formulas.

The oracles here import NumPy only and share nothing with what they judge.
"""

import inspect
import itertools
import math

import numpy as np
import pytest

from dlkit.backends import reference as ref
from dlkit.backends.contract import NAMES, Kernels

RNG_SEED = 0


@pytest.fixture
def rng():
    return np.random.default_rng(RNG_SEED)


def frozen(*arrays):
    """The arrays, read-only: a kernel that writes into an input raises."""
    for a in arrays:
        a.flags.writeable = False
    return arrays if len(arrays) > 1 else arrays[0]


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def slope(f, x, dy, step=1e-6):
    """Σ dy f(x) differentiated by central differences, element by element."""
    dx = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        above, below = x.copy(), x.copy()
        above[i] += step
        below[i] -= step
        dx[i] = np.sum(dy * (f(above) - f(below))) / (2 * step)
    return dx


# -- the contract ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_signature_is_the_contract(name):
    def parameters(f):
        found = inspect.signature(f).parameters.values()
        return [(p.name, p.kind, p.default) for p in found if p.name != "self"]

    kernel = getattr(ref, name)
    assert inspect.isfunction(inspect.unwrap(kernel))
    assert parameters(kernel) == parameters(getattr(Kernels, name))
    assert kernel.__doc__


UNARY = ["negative", "exp", "log", "sqrt", "abs", "sign"]
BINARY = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"]
SLOPE_FROM_Y = ["sigmoid", "tanh", "relu"]
SLOPE_FROM_X = ["gelu", "silu", "softplus"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_dtype_shape_and_layout_are_kept(rng, dtype, shape):
    x = frozen(np.asarray(rng.uniform(0.5, 2, shape[::-1]), dtype).T)  # Fortran order
    calls = [getattr(ref, name)(x) for name in UNARY + SLOPE_FROM_Y + SLOPE_FROM_X]
    for name in BINARY:
        f = getattr(ref, name)
        calls += [f(x, x), f(x, 2.0), f(2, x)]
    calls += [getattr(ref, name + "_backward")(x, x) for name in SLOPE_FROM_Y + SLOPE_FROM_X]
    calls += [ref.leaky_relu(x, 0.1), ref.leaky_relu_backward(x, x, 0.1), ref.elu(x, 1.5)]
    calls += [ref.elu_backward(x, x, 1.5), ref.clip(x, 0.7, 1.0), ref.copy(x), ref.cast(x, dtype)]
    calls += [ref.where(x > 1, x, 0.0), ref.sum(x, (), False), ref.max(x, (), True)]
    calls += [ref.full(shape, 1.5, dtype), ref.cast(x.astype(int), dtype)]
    for y in calls:
        assert type(y) is np.ndarray
        assert (y.dtype, y.shape) == (dtype, shape)
        assert y.flags.c_contiguous
        assert not np.shares_memory(x, y)
    for name in ("greater", "greater_equal", "equal"):
        assert getattr(ref, name)(x, 1.0).dtype == bool


def test_float32_through_the_larger_kernels(rng):
    def f32(*shape):
        return rng.uniform(0.1, 1, shape).astype(np.float32)

    x, w, b = f32(2, 6, 6, 4), f32(3, 3, 2, 4), f32(4)
    square, pad = (1, 1), (1, 0, 0, 1)
    y = ref.conv2d_forward(x, w, b, square, pad, square, 2, "tanh")
    pooled, where = ref.max_pool2d_forward(x, (2, 2), (2, 2), pad)
    rows = f32(5, 4)
    labels = np.array([0, 1, 2, 3, 0])
    results = [
        y,
        ref.conv2d_backward_input(y, w, (6, 6), square, pad, square, 2),
        ref.conv2d_backward_weight(x, y, (3, 3), square, pad, square, 2),
        pooled,
        ref.max_pool2d_backward(pooled, where, (6, 6), (2, 2), (2, 2), pad),
        ref.avg_pool2d_forward(x, (2, 2), (2, 2), pad),
        ref.avg_pool2d_backward(pooled, (6, 6), (2, 2), (2, 2), pad),
        ref.adaptive_avg_pool2d_forward(x, (4, 3)),
        ref.adaptive_avg_pool2d_backward(x, (7, 7)),
        *ref.batch_norm_forward(rows, b, b, rows, 1e-5, "relu", 0.0),
        *ref.batch_norm_backward(rows, rows, rows, b, b, b, b, "leaky_relu", 0.1, True),
        ref.batch_norm_inference(rows, b, b, b, b, rows, 1e-5, None, 0.0),
        *ref.standardize_forward(rows, (1,), 1e-5),
        ref.standardize_backward(rows, rows, rows[:, :1], (1,)),
        ref.upsample_bilinear_forward(x, (9, 5), False),
        ref.upsample_bilinear_backward(x, (3, 4), True),
        ref.upsample_nearest_backward(x, (2, 3)),
        *ref.cross_entropy_forward(rows, labels, b, 0.1),
        ref.cross_entropy_backward(rows[:, 0].copy(), rows, labels, b, 0.1),
        ref.linear_forward(rows, f32(4, 3), None, "sigmoid"),
        ref.pad_backward(x, ((0, 0), (1, 1), (2, 1), (0, 0)), "reflect"),
        ref.softmax(rows, 1),
        ref.log_softmax(rows, 0),
    ]
    for r in results:
        assert type(r) is np.ndarray
        assert r.dtype == np.float32
        assert r.flags.c_contiguous


def test_empty_batch():
    x, w = np.zeros((0, 5, 5, 2)), np.ones((3, 3, 2, 4))
    one, none = (1, 1), (0, 0, 0, 0)
    y = ref.conv2d_forward(x, w, None, one, none, one, 1, None)
    assert y.shape == (0, 3, 3, 4)
    assert ref.conv2d_backward_input(y, w, (5, 5), one, none, one, 1).shape == x.shape
    assert not ref.conv2d_backward_weight(x, y, (3, 3), one, none, one, 1).any()
    assert ref.max_pool2d_forward(x, (2, 2), one, none)[0].shape == (0, 4, 4, 2)
    assert ref.avg_pool2d_forward(x, (2, 2), one, none).shape == (0, 4, 4, 2)
    assert ref.adaptive_avg_pool2d_forward(x, (1, 1)).shape == (0, 1, 1, 2)
    assert ref.batch_norm_forward(np.zeros((0, 2)), np.ones(2), np.ones(2), None, 1e-5, None, 0.0)[0].shape == (0, 2)
    assert ref.softmax(np.zeros((0, 3)), 1).shape == (0, 3)
    assert ref.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect", 0).shape == (0, 7, 7, 2)
    assert ref.pad_backward(np.zeros((0, 7)), ((0, 0), (1, 1)), "reflect").shape == (0, 5)
    assert ref.upsample_bilinear_forward(x, (10, 10), False).shape == (0, 10, 10, 2)
    assert ref.cross_entropy_forward(np.zeros((0, 3)), np.zeros(0, np.int64), None, 0.0)[0].shape == (0,)
    assert ref.all_finite(x)
    assert ref.sum_of_squares(x) == 0.0


# -- transfer, element-wise, reductions --------------------------------------------------------------------


def test_transfer():
    x = np.arange(6.0).reshape(2, 3)
    assert ref.to_host(ref.from_host(x)) is x
    assert (ref.full((2,), 3, np.float32) == 3).all()
    assert ref.cast(frozen(np.array([1.7, -1.7])), np.int64).tolist() == [1, -1]


def test_elementwise_numbers():
    nan, inf = math.nan, math.inf
    x = frozen(np.array([-1.0, 0.0, 4.0]))
    assert ref.divide(1, x).tolist() == [-1, inf, 0.25]
    assert ref.subtract(1.0, x).tolist() == [2, 1, -3]
    assert ref.power(x, 2).tolist() == [1, 0, 16]
    assert ref.power(2, x).tolist() == [0.5, 1, 16]
    assert ref.sign(x).tolist() == [-1, 0, 1]
    assert ref.abs(x).tolist() == [1, 0, 4]
    assert ref.clip(x, -0.5, 2).tolist() == [-0.5, 0, 2]
    assert ref.greater(x, 0).tolist() == [False, False, True]
    assert ref.greater_equal(0, x).tolist() == [True, True, False]
    assert ref.equal(x, 4).tolist() == [False, False, True]
    assert ref.where(x > 0, x, -1).tolist() == [-1, -1, 4]
    np.testing.assert_array_equal(ref.sqrt(x), [nan, 0, 2])
    np.testing.assert_array_equal(ref.log(x), [nan, -inf, math.log(4)])
    np.testing.assert_array_equal(ref.maximum(x, nan), [nan] * 3)
    column, row = x[:, None], frozen(np.array([0.0, 1.0]))
    assert ref.minimum(column, row).tolist() == [[-1, -1], [0, 0], [0, 1]]


def test_reductions():
    x = frozen(np.array([[1.0, 5.0, 5.0], [2.0, -1.0, 0.0]]))
    assert ref.sum(x, (0, 1), False) == 12
    assert ref.sum(x, (1,), True).tolist() == [[11], [1]]
    assert ref.max(x, (0,), False).tolist() == [2, 5, 5]
    assert ref.argmax(x, 1).tolist() == [1, 0]
    assert ref.argmax(x, 1).dtype == np.int64
    assert ref.all_finite(x) is True
    assert ref.all_finite(np.array([1, math.nan])) is False
    total = ref.sum_of_squares(np.full(1000, 1e30, np.float32))  # overflows float32
    assert type(total) is float
    assert total == pytest.approx(1e63, rel=1e-6)


# -- activations -------------------------------------------------------------------------------------------

SCALAR = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "relu": lambda x: x if x > 0 else 0,
    "gelu": lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "softplus": lambda x: math.log(1 + math.exp(x)),
    "leaky_relu": lambda x: x if x > 0 else 0.1 * x,
    "elu": lambda x: x if x > 0 else 1.5 * (math.exp(x) - 1),
}
EXTRA = {"leaky_relu": (0.1,), "elu": (1.5,)}


@pytest.mark.parametrize("name", SCALAR)
def test_activation(rng, name):
    x = frozen(rng.choice([-1, 1], (3, 5)) * rng.uniform(0.1, 3, (3, 5)))
    dy = frozen(rng.standard_normal((3, 5)))
    y = getattr(ref, name)(x, *EXTRA.get(name, ()))
    close(y, [[SCALAR[name](v) for v in row] for row in x])
    dx = getattr(ref, name + "_backward")(dy, y if name in SLOPE_FROM_Y else x, *EXTRA.get(name, ()))
    close(dx, slope(np.vectorize(SCALAR[name]), x, dy), 1e-8)


def test_activations_far_out():
    x = np.array([-1000.0, 0.0, 1000.0])
    assert ref.sigmoid(x).tolist() == [0, 0.5, 1]
    assert ref.softplus(x).tolist() == [0, math.log(2), 1000]
    assert ref.elu(x, 1.0).tolist() == [-1, 0, 1000]
    assert ref.elu_backward(np.ones(3), x, 1.0).tolist() == [0, 1, 1]
    assert ref.silu(x).tolist() == [0, 0, 1000]
    assert ref.gelu_backward(np.ones(3), x).tolist() == [0, 0.5, 1]
    assert ref.softmax(x, 0).tolist() == [0, 0, 1]
    assert ref.log_softmax(x, 0).tolist() == [-2000, -1000, 0]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(rng, axis):
    x, dy = frozen(rng.standard_normal((3, 4)), rng.standard_normal((3, 4)))

    def softmax(x):
        return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)

    y, log_y = ref.softmax(x, axis), ref.log_softmax(x, axis)
    close(y, softmax(x))
    close(log_y, np.log(softmax(x)))
    close(ref.softmax_backward(dy, y, axis), slope(softmax, x, dy), 1e-8)
    close(ref.log_softmax_backward(dy, log_y, axis), slope(lambda x: np.log(softmax(x)), x, dy), 1e-8)


# -- shape -------------------------------------------------------------------------------------------------


def test_views():
    x = np.arange(6.0).reshape(2, 3)
    for view in (ref.reshape(x, (3, 2)), ref.transpose(x, (1, 0)), ref.broadcast_to(x, (4, 2, 3))):
        assert np.shares_memory(x, view)
    assert ref.concat([x, x[:1]], 0).tolist() == [[0, 1, 2], [3, 4, 5], [0, 1, 2]]


TAKES = [
    (1,),
    (1, 2),
    (slice(None, None, 2), None, slice(1, 3)),
    (np.array([0, 2, 0]),),
    (slice(None), np.array([[1, 1], [3, 0]])),
    (np.array([0, 0, 2]), np.array([1, 1, 3])),
]


@pytest.mark.parametrize("index", TAKES, ids=str)
def test_take(rng, index):
    x = frozen(rng.standard_normal((3, 4)))
    y = ref.take(x, index)
    assert type(y) is np.ndarray
    assert not np.shares_memory(x, y)
    np.testing.assert_array_equal(y, x[index])
    dy = frozen(rng.standard_normal(y.shape))
    origin = np.arange(12).reshape(3, 4)[index]  # which x each y is
    dx = np.zeros(12)
    for position in np.ndindex(*y.shape):
        dx[origin[position]] += dy[position]
    close(ref.take_backward(dy, index, (3, 4)), dx.reshape(3, 4))


@pytest.mark.parametrize("axis", [0, 1])
def test_gather(rng, axis):
    x = frozen(rng.standard_normal((3, 4)))
    index = frozen(rng.integers(0, 3, (2, 4) if axis == 0 else (3, 5)))
    dy = frozen(rng.standard_normal(index.shape))
    y, dx = np.zeros(index.shape), np.zeros((3, 4))
    for i, j in np.ndindex(*index.shape):
        source = (index[i, j], j) if axis == 0 else (i, index[i, j])
        y[i, j] = x[source]
        dx[source] += dy[i, j]
    close(ref.gather(x, index, axis), y)
    close(ref.gather(x, index, axis - 2), y)
    close(ref.gather_backward(dy, index, axis, (3, 4)), dx)


def pad_source(i, before, size, mode):
    """Which pixel padded position i shows, or None: the mirror walked step by step."""
    i -= before
    if mode == "constant":
        return i if 0 <= i < size else None
    if mode == "replicate":
        return min(max(i, 0), size - 1)
    while not 0 <= i < size:
        i = -i if i < 0 else 2 * (size - 1) - i
    return i


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate"])
def test_pad(rng, mode):
    x = frozen(rng.standard_normal((2, 4, 3)))
    widths = ((0, 0), (3, 1), (1, 2))
    dy = frozen(rng.standard_normal((2, 8, 6)))
    y, dx = np.full((2, 8, 6), 7.0), np.zeros((2, 4, 3))
    for n, i, j in np.ndindex(2, 8, 6):
        h, w = pad_source(i, 3, 4, mode), pad_source(j, 1, 3, mode)
        if h is not None and w is not None:
            y[n, i, j] = x[n, h, w]
            dx[n, h, w] += dy[n, i, j]
    np.testing.assert_array_equal(ref.pad(x, widths, mode, 7.0), y)
    close(ref.pad_backward(dy, widths, mode), dx)


def test_pad_by_hand():
    x = np.array([1.0, 2.0, 3.0])
    assert ref.pad(x, ((2, 1),), "reflect", 0).tolist() == [3, 2, 1, 2, 3, 2]
    assert ref.pad(x, ((2, 1),), "replicate", 0).tolist() == [1, 1, 1, 2, 3, 3]
    dy = np.array([1.0, 10.0, 100.0, 1000.0, 10000.0, 100000.0])
    assert ref.pad_backward(dy, ((2, 1),), "reflect").tolist() == [100, 101010, 10001]
    assert ref.pad_backward(dy, ((2, 1),), "replicate").tolist() == [111, 1000, 110000]


# -- products ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize(("batch_a", "batch_b"), [((), ()), ((2, 3), (2, 3)), ((2, 1), (3,))])
def test_matmul(rng, transpose_a, transpose_b, batch_a, batch_b):
    a, b = rng.standard_normal((*batch_a, 4, 5)), rng.standard_normal((*batch_b, 5, 6))
    expected = (a[..., :, :, None] * b[..., None, :, :]).sum(axis=-2)
    a = a.swapaxes(-1, -2) if transpose_a else a
    b = b.swapaxes(-1, -2) if transpose_b else b
    close(ref.matmul(*frozen(a, b), transpose_a, transpose_b), expected)


def test_linear():
    x, w, b = np.array([[1.0, 2.0]]), np.array([[1.0, -1.0], [3.0, -2.0]]), np.array([10.0, 1.0])
    assert ref.linear_forward(x, w, b, None).tolist() == [[17, -4]]
    assert ref.linear_forward(x, w, b, "relu").tolist() == [[17, 0]]
    assert ref.linear_forward(x, w, None, None).tolist() == [[7, -5]]


def conv_terms(H, W, C, K, kernel, stride, padding, dilation, groups):
    """Every product in a convolution's sum: (i, j, k), (h, w, c), (r, s, c within the group)."""
    (R, S), (top, bottom, left, right) = kernel, padding
    OH = (H + top + bottom - dilation[0] * (R - 1) - 1) // stride[0] + 1
    OW = (W + left + right - dilation[1] * (S - 1) - 1) // stride[1] + 1
    for i, j, k, r, s, c in np.ndindex(OH, OW, K, R, S, C // groups):
        h = i * stride[0] + r * dilation[0] - top
        w = j * stride[1] + s * dilation[1] - left
        if 0 <= h < H and 0 <= w < W:
            group = k // (K // groups)
            yield (i, j, k), (h, w, group * (C // groups) + c), (r, s, c)


CONVS = [  # size, C, K, kernel, stride, padding, dilation, groups
    ((5, 5), 2, 3, (3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    ((5, 6), 2, 3, (3, 2), (2, 3), (1, 0, 0, 2), (1, 1), 1),
    ((7, 6), 2, 2, (3, 2), (1, 2), (2, 1, 0, 1), (2, 3), 1),
    ((5, 4), 4, 6, (2, 3), (1, 1), (1, 1, 1, 1), (1, 1), 2),
    ((6, 6), 3, 6, (3, 3), (2, 2), (1, 2, 2, 1), (1, 2), 3),
    ((4, 4), 3, 2, (1, 1), (3, 3), (0, 0, 0, 0), (1, 1), 1),
    ((2, 2), 1, 2, (4, 4), (1, 1), (2, 2, 3, 1), (1, 1), 1),
]


@pytest.mark.parametrize("case", CONVS, ids=str)
def test_conv2d(rng, case):
    (H, W), C, K, (R, S), stride, padding, dilation, groups = case
    x, w, b = frozen(
        rng.standard_normal((2, H, W, C)), rng.standard_normal((R, S, C // groups, K)), rng.standard_normal(K)
    )
    y = ref.conv2d_forward(x, w, b, stride, padding, dilation, groups, None)
    dy = frozen(rng.standard_normal(y.shape))
    expected_y, dx, dw = np.tile(b, (*y.shape[:3], 1)), np.zeros(x.shape), np.zeros(w.shape)
    terms = conv_terms(H, W, C, K, (R, S), stride, padding, dilation, groups)
    for (i, j, k), (h, v, c), (r, s, c_group) in terms:
        for n in range(2):
            expected_y[n, i, j, k] += x[n, h, v, c] * w[r, s, c_group, k]
            dx[n, h, v, c] += dy[n, i, j, k] * w[r, s, c_group, k]
            dw[r, s, c_group, k] += x[n, h, v, c] * dy[n, i, j, k]
    close(y, expected_y)
    close(ref.conv2d_backward_input(dy, w, (H, W), stride, padding, dilation, groups), dx)
    close(ref.conv2d_backward_weight(x, dy, (R, S), stride, padding, dilation, groups), dw)
    activated = ref.conv2d_forward(x, w, b, stride, padding, dilation, groups, "relu")
    close(activated, np.maximum(expected_y, 0))


def test_conv2d_by_hand():
    x = np.arange(1.0, 10.0).reshape(1, 3, 3, 1)
    w = np.array([[1.0, 0.0], [0.0, -1.0]]).reshape(2, 2, 1, 1)
    y = ref.conv2d_forward(x, w, np.array([0.5]), (1, 1), (0, 0, 0, 0), (1, 1), 1, None)
    assert y.ravel().tolist() == [-3.5, -3.5, -3.5, -3.5]  # pixel - pixel below right + ½


# -- pooling -----------------------------------------------------------------------------------------------


def pool_windows(H, W, kernel, stride, padding):
    """Every output position (i, j) with its window's pixels inside, [(r*S + s, h, w), ...], row by row."""
    (R, S), (top, bottom, left, right) = kernel, padding
    OH, OW = (H + top + bottom - R) // stride[0] + 1, (W + left + right - S) // stride[1] + 1
    for i, j in np.ndindex(OH, OW):
        corner_h, corner_w = i * stride[0] - top, j * stride[1] - left
        pixels = [(r * S + s, corner_h + r, corner_w + s) for r in range(R) for s in range(S)]
        yield (i, j), [(p, h, w) for p, h, w in pixels if 0 <= h < H and 0 <= w < W]


POOLS = [  # size, kernel, stride, padding
    ((4, 4), (2, 2), (2, 2), (0, 0, 0, 0)),
    ((5, 7), (3, 2), (2, 1), (1, 1, 0, 1)),
    ((5, 5), (3, 3), (1, 1), (2, 0, 1, 2)),
    ((6, 5), (2, 2), (3, 3), (0, 1, 1, 0)),
]


@pytest.mark.parametrize("case", POOLS, ids=str)
def test_pooling(rng, case):
    (H, W), kernel, stride, padding = case
    x = frozen(rng.integers(-3, 1, (2, H, W, 3)).astype(float))  # many ties; none above the padding's 0
    y, where = ref.max_pool2d_forward(x, kernel, stride, padding)
    mean = ref.avg_pool2d_forward(x, kernel, stride, padding)
    dy = frozen(rng.standard_normal(y.shape))
    max_dx, mean_dx = np.zeros(x.shape), np.zeros(x.shape)
    for (i, j), pixels in pool_windows(H, W, kernel, stride, padding):
        for n, c in np.ndindex(2, 3):
            values = [x[n, h, w, c] for _, h, w in pixels]
            first, h, w = pixels[values.index(max(values))]
            assert y[n, i, j, c] == max(values)
            assert where[n, i, j, c] == first
            close(mean[n, i, j, c], sum(values) / len(values))
            max_dx[n, h, w, c] += dy[n, i, j, c]
            for _, h, w in pixels:
                mean_dx[n, h, w, c] += dy[n, i, j, c] / len(pixels)
    frozen(where)
    close(ref.max_pool2d_backward(dy, where, (H, W), kernel, stride, padding), max_dx)
    close(ref.avg_pool2d_backward(dy, (H, W), kernel, stride, padding), mean_dx)


def test_max_pool_of_nan_and_infinity():
    x = np.array([[1.0, math.nan], [9.0, math.nan]]).reshape(1, 2, 2, 1)
    y, where = ref.max_pool2d_forward(x, (2, 2), (1, 1), (0, 0, 0, 0))
    assert np.isnan(y).all()
    assert where.item() == 1
    assert where.dtype == np.uint8
    y, where = ref.max_pool2d_forward(np.full((1, 1, 1, 1), -math.inf), (2, 2), (1, 1), (1, 0, 1, 0))
    assert y.item() == -math.inf
    assert where.item() == 3  # the only pixel inside


def test_max_pool_of_a_large_window(rng):
    x = rng.standard_normal((1, 17, 17, 2))
    y, where = ref.max_pool2d_forward(x, (17, 17), (1, 1), (0, 0, 0, 0))
    assert where.dtype == np.uint16
    assert where.ravel().tolist() == [x[..., c].argmax() for c in range(2)]
    assert y.ravel().tolist() == x.max(axis=(0, 1, 2)).tolist()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 5), (5, 7), (7, 9)])
def test_adaptive_avg_pool(rng, size):
    x, dy = frozen(rng.standard_normal((2, 5, 7, 2)), rng.standard_normal((2, *size, 2)))
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for i, j in np.ndindex(*size):
        rows = range(math.floor(i * 5 / size[0]), math.ceil((i + 1) * 5 / size[0]))
        cols = range(math.floor(j * 7 / size[1]), math.ceil((j + 1) * 7 / size[1]))
        for h, w in itertools.product(rows, cols):
            y[:, i, j] += x[:, h, w] / (len(rows) * len(cols))
            dx[:, h, w] += dy[:, i, j] / (len(rows) * len(cols))
    close(ref.adaptive_avg_pool2d_forward(x, size), y)
    close(ref.adaptive_avg_pool2d_backward(dy, (5, 7)), dx)


# -- normalisation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "leaky_relu"])
@pytest.mark.parametrize("added", [False, True])
def test_batch_norm(rng, activation, added):
    x, dy, residual = frozen(*rng.standard_normal((3, 6, 3)))
    shift, top = (4.0, 6.0) if activation == "relu6" else (0.0, np.inf)
    gamma, beta = frozen(rng.uniform(0.5, 2, 3), rng.standard_normal(3) + shift)
    eps = 0.1

    def formula(x, gamma, beta, residual=residual):
        y = np.zeros(x.shape)
        for c in range(3):
            mu = sum(x[:, c]) / 6
            var = sum((v - mu) ** 2 for v in x[:, c]) / 6
            for m in range(6):
                y[m, c] = gamma[c] * (x[m, c] - mu) / math.sqrt(var + eps) + beta[c]
        y = y + residual if added else y
        below = {None: 1.0, "relu": 0.0, "relu6": 0.0, "leaky_relu": 0.2}[activation]
        return np.minimum(np.where(y > 0, y, below * y), top)

    more = residual if added else None
    y, mean, inv_std = frozen(*ref.batch_norm_forward(x, gamma, beta, more, eps, activation, 0.2))
    close(y, formula(x, gamma, beta))
    close(mean, np.average(x, axis=0))
    close(inv_std, (x.var(axis=0) + eps) ** -0.5)
    dx, dgamma, dbeta, dz = ref.batch_norm_backward(dy, x, y, gamma, beta, mean, inv_std, activation, 0.2, added)
    close(dx, slope(lambda x: formula(x, gamma, beta), x, dy), 1e-8)
    close(dgamma, slope(lambda gamma: formula(x, gamma, beta), gamma, dy), 1e-8)
    close(dbeta, slope(lambda beta: formula(x, gamma, beta), beta, dy), 1e-8)
    if added:
        close(dz, slope(lambda residual: formula(x, gamma, beta, residual), residual, dy), 1e-8)
    else:
        assert dz is None
    close(ref.batch_norm_inference(x, gamma, beta, mean, frozen(x.var(axis=0)), more, eps, activation, 0.2), y)


def test_batch_norm_by_hand():
    x = np.array([[1.0], [3.0]])  # mean 2, variance 1
    y, mean, inv_std = ref.batch_norm_forward(x, np.array([2.0]), np.array([5.0]), None, 3.0, None, 0.0)
    assert (y.ravel().tolist(), mean.tolist(), inv_std.tolist()) == ([4, 6], [2], [0.5])


@pytest.mark.parametrize("axes", [(1,), (1, 2), (-1,), (0, 2)])
def test_standardize(rng, axes):
    x, dy = frozen(rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4)))

    def formula(x):
        centred = x - np.average(x, axis=axes, keepdims=True)
        return centred / np.sqrt(np.average(centred * centred, axis=axes, keepdims=True) + 0.1)

    x_hat, inv_std = frozen(*ref.standardize_forward(x, axes, 0.1))
    close(x_hat, formula(x))
    close(inv_std, 1 / np.sqrt(x.var(axis=axes, keepdims=True) + 0.1))
    close(ref.standardize_backward(dy, x_hat, inv_std, axes), slope(formula, x, dy), 1e-8)


# -- resampling --------------------------------------------------------------------------------------------


def test_upsample_nearest(rng):
    x, dy = frozen(rng.standard_normal((2, 2, 3, 2)), rng.standard_normal((2, 4, 9, 2)))
    y, dx = ref.upsample_nearest_forward(x, (2, 3)), np.zeros(x.shape)
    for i, j in np.ndindex(4, 9):
        np.testing.assert_array_equal(y[:, i, j], x[:, i // 2, j // 3])
        dx[:, i // 2, j // 3] += dy[:, i, j]
    close(ref.upsample_nearest_backward(dy, (2, 3)), dx)


def neighbours(i, output, size, align_corners):
    """The two (pixel, weight) that output pixel i mixes."""
    if align_corners:
        position = i * (size - 1) / (output - 1) if output > 1 else 0.0
    else:
        position = (i + 0.5) * size / output - 0.5
    low = math.floor(position)
    t = position - low
    return [(min(max(low, 0), size - 1), 1 - t), (min(max(low + 1, 0), size - 1), t)]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(6, 8), (5, 4), (1, 1), (2, 9), (3, 4)])
def test_upsample_bilinear(rng, size, align_corners):
    x, dy = frozen(rng.standard_normal((2, 3, 4, 2)), rng.standard_normal((2, *size, 2)))
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for i, j in np.ndindex(*size):
        for h, a in neighbours(i, size[0], 3, align_corners):
            for w, b in neighbours(j, size[1], 4, align_corners):
                y[:, i, j] += a * b * x[:, h, w]
                dx[:, h, w] += a * b * dy[:, i, j]
    close(ref.upsample_bilinear_forward(x, size, align_corners), y)
    close(ref.upsample_bilinear_backward(dy, (3, 4), align_corners), dx)


def test_upsample_bilinear_by_hand():
    x = np.array([0.0, 4.0]).reshape(1, 1, 2, 1)
    assert ref.upsample_bilinear_forward(x, (1, 4), False).ravel().tolist() == [0, 1, 3, 4]
    close(ref.upsample_bilinear_forward(x, (1, 4), True).ravel(), [0, 4 / 3, 8 / 3, 4])
    assert ref.upsample_bilinear_forward(x, (1, 1), True).ravel().tolist() == [0]


# -- loss --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy(rng, smoothing, weighted):
    logits, dloss = frozen(rng.standard_normal((4, 3)), rng.standard_normal(4))
    labels = frozen(np.array([2, 0, 1, 2]))
    weights = frozen(rng.uniform(0.5, 2, 3)) if weighted else None

    def formula(logits):
        loss = np.zeros(4)
        for m, k in np.ndindex(4, 3):
            q = (1 - smoothing) * (k == labels[m]) + smoothing / 3
            p = math.exp(logits[m, k]) / sum(math.exp(v) for v in logits[m])
            loss[m] -= (weights[k] if weighted else 1) * q * math.log(p)
        return loss

    loss, p = frozen(*ref.cross_entropy_forward(logits, labels, weights, smoothing))
    close(loss, formula(logits))
    close(p, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    dlogits = ref.cross_entropy_backward(dloss, p, labels, weights, smoothing)
    close(dlogits, slope(formula, logits, dloss), 1e-8)


def test_cross_entropy_far_out():
    logits = np.array([[1000.0, 0.0], [0.0, -math.inf]])
    loss, p = ref.cross_entropy_forward(logits, np.array([1, 0]), None, 0.0)
    assert loss.tolist() == [1000, 0]
    assert p.tolist() == [[1, 0], [1, 0]]


# -- optimisers --------------------------------------------------------------------------------------------


def test_sgd():
    p, g, v = np.array([1.0]), frozen(np.array([2.0])), np.array([4.0])
    ref.sgd_step([p], [g], None, 0.5, 0.0, False, [0.0])
    assert p == 0
    p[:] = 1
    ref.sgd_step([p], [g], [v], 0.5, 0.25, False, [1.0])  # g = 3, v = 1 + 3, p = 1 - 2
    assert (v, p) == (4, -1)
    p[:] = 1
    ref.sgd_step([p], [g], [v], 0.5, 0.25, True, [1.0])  # g = 3, v = 4, p = 1 - ½ (3 + 1)
    assert (v, p) == (4, -1)
    v[:] = 8
    ref.sgd_step([p], [g], [v], 0.5, 0.5, True, [0.0])  # g = 2, v = 6, p = -1 - ½ (2 + 3)
    assert (v, p) == (6, -3.5)


def test_rmsprop():
    p, g, s, v = np.array([1.0]), frozen(np.array([3.0])), np.array([28.0]), np.array([2.0])
    ref.rmsprop_step([p], [g], [s], None, 0.5, 0.75, 1.0, 0.0, [1.0])  # g = 4, s = 21 + 4, step = 4/6
    assert s == 25
    close(p, 1 - 0.5 * 4 / 6)
    p[:], s[:] = 1, 28
    ref.rmsprop_step([p], [g], [s], [v], 0.5, 0.75, 1.0, 0.5, [1.0])  # v = 1 + 4/6
    close(v, 5 / 3)
    close(p, 1 - 5 / 6)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(rng, decoupled):
    p, gs = rng.standard_normal(3), frozen(rng.standard_normal((4, 3)))
    m, v, expected = np.zeros(3), np.zeros(3), p.copy()
    lr, beta1, beta2, eps, decay = 0.1, 0.9, 0.99, 1e-3, 0.2
    for i in range(3):
        first = second = 0.0
        for t in range(1, 5):
            g, before = gs[t - 1, i], expected[i]
            if not decoupled:
                g += decay * before
            first, second = beta1 * first + (1 - beta1) * g, beta2 * second + (1 - beta2) * g**2
            expected[i] -= lr * (first / (1 - beta1**t)) / (math.sqrt(second / (1 - beta2**t)) + eps)
            if decoupled:
                expected[i] -= lr * decay * before
    for t in range(1, 5):
        ref.adam_step([p], [gs[t - 1]], [m], [v], lr, beta1, beta2, eps, [decay], decoupled, t)
    close(p, expected)


def test_steps_keep_float32_and_zero_dimensions():
    p, m, v = (np.array(1, np.float32) for _ in range(3))
    g = frozen(np.array(0.5, np.float32))
    ref.adam_step([p], [g], [m], [v], 0.1, 0.9, 0.999, 1e-8, [0.1], True, 1)
    ref.sgd_step([p], [g], [m], 0.1, 0.9, True, [0.1])
    ref.add_into(p, g)
    before = p.copy()
    ref.scale_into(p, 2.0)
    assert p == 2 * before != 2
    assert p.dtype == np.float32
