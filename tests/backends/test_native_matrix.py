"""The matrix kernels against loops written from the formulas in float64; threads, instruction sets, borders."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

native = pytest.importorskip("dlkit._native.matrix", reason="the native kernels are not built")
from dlkit.backends import reference  # noqa: E402
from dlkit.backends.contract import Decline  # noqa: E402
from dlkit.backends.native import matrix  # noqa: E402

DTYPES = [np.float32, np.float64]
ACTIVATIONS = {
    None: lambda y: y,
    "relu": lambda y: np.where(y > 0, y, 0),
    "tanh": np.tanh,
    "sigmoid": lambda y: 1 / (1 + np.exp(-y)),
}


# -- the formulas ---------------------------------------------------------------------------------------------
def taps(size, kernel, stride, padding, dilation):
    """For each filter tap the output pixels it serves and the input pixels it reads there, inside the image."""
    (H, W), (R, S), (sh, sw), (top, bottom, left, right), (dh, dw) = size, kernel, stride, padding, dilation
    OH = (H + top + bottom - dh * (R - 1) - 1) // sh + 1
    OW = (W + left + right - dw * (S - 1) - 1) // sw + 1
    for r, s in itertools.product(range(R), range(S)):
        rows = [(i, i * sh - top + r * dh) for i in range(OH) if 0 <= i * sh - top + r * dh < H]
        cols = [(j, j * sw - left + s * dw) for j in range(OW) if 0 <= j * sw - left + s * dw < W]
        if rows and cols:
            yield r, s, rows, cols


def output_size(size, kernel, stride, padding, dilation):
    return tuple(
        (n + p + q - d * (k - 1) - 1) // s + 1
        for n, k, s, p, q, d in zip(size, kernel, stride, padding[::2], padding[1::2], dilation)
    )


def each_tap(size, kernel, stride, padding, dilation, C, K, groups):
    """(filter index, output index, input index) for each tap and group, as indices into w, y and x."""
    for r, s, rows, cols in taps(size, kernel, stride, padding, dilation):
        oi, ii = np.array(rows).T
        oj, ij = np.array(cols).T
        for g in range(groups):
            c, k = slice(g * C // groups, (g + 1) * C // groups), slice(g * K // groups, (g + 1) * K // groups)
            yield (r, s, slice(None), k), (slice(None), oi[:, None], oj, k), (slice(None), ii[:, None], ij, c)


def oracle(x, w, b, dy, stride, padding, dilation, groups):
    """y, dx, dw in float64."""
    x, w, dy = (a.astype(np.float64) for a in (x, w, dy))
    y, dx, dw = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(w.shape)
    for at_w, at_y, at_x in each_tap(
        x.shape[1:3], w.shape[:2], stride, padding, dilation, x.shape[3], w.shape[3], groups
    ):
        y[at_y] += x[at_x] @ w[at_w]
        dx[at_x] += dy[at_y] @ w[at_w].T
        dw[at_w] += np.einsum("nijc,nijk->ck", x[at_x], dy[at_y])
    return y if b is None else y + b.astype(np.float64), dx, dw


def close(got, want, dtype, terms, sums=None):
    """Equal but for the rounding of `terms` products; `sums`: the numbers before the activation, whose size counts."""
    assert got.dtype == dtype
    assert got.shape == want.shape
    assert got.flags.c_contiguous
    scale = max(1.0, float(np.abs(want if sums is None else sums).max(initial=0)))
    assert np.abs(got - want).max(initial=0) <= scale * np.finfo(dtype).eps * (4 + 2 * np.sqrt(terms))


# -- cases: N, H, W, C, K, (R, S), stride, padding, dilation, groups ----------------------------------------------
def sweep():
    rng = np.random.default_rng(5)
    pick = lambda *options: options[rng.integers(len(options))]  # noqa: E731
    for C, K in itertools.product([1, 2, 3, 6, 16, 17, 32, 33], [1, 5, 6, 16, 31, 64]):
        kernel = int(rng.integers(1, 8)), int(rng.integers(1, 8))
        dilation = pick((1, 1), (1, 1), (1, 1), (2, 1), (1, 2), (3, 2))
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
        padding = tuple(int(v) for v in rng.integers(0, max(kernel), 4))
        size = tuple(max(1, int(rng.integers(1, 15)), n - p - q) for n, p, q in zip(reach, padding[::2], padding[1::2]))
        stride = pick((1, 1), (1, 1), (2, 2), (3, 3), (2, 1), (1, 3))
        yield int(rng.integers(1, 4)), *size, C, K, kernel, stride, padding, dilation, 1


CASES = [
    *sweep(),
    (1, 1, 1, 3, 5, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (2, 1, 1, 4, 4, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    (1, 1, 1, 3, 9, (2, 2), (3, 3), (4, 5, 6, 3), (1, 1), 1),  # padding larger than the filter
    (1, 5, 5, 3, 8, (1, 1), (1, 1), (2, 1, 3, 0), (1, 1), 1),
    (1, 5, 6, 3, 8, (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),  # most pixels have no tap
    (2, 11, 10, 5, 7, (2, 2), (3, 3), (0, 0, 0, 0), (1, 1), 1),  # the last rows and columns neither
    (1, 13, 13, 4, 6, (3, 3), (5, 4), (1, 0, 2, 1), (1, 1), 1),  # more phases than the stack keeps
    (1, 12, 12, 4, 6, (3, 3), (2, 2), (2, 2, 2, 2), (2, 2), 1),  # half of the phases without taps
    (1, 19, 19, 4, 6, (3, 3), (4, 2), (3, 3, 3, 3), (6, 3), 1),
    (3, 8, 8, 64, 64, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    (2, 7, 7, 96, 40, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    (5, 9, 9, 16, 24, (3, 3), (2, 2), (0, 1, 0, 1), (1, 1), 1),
    (2, 28, 28, 1, 6, (5, 5), (1, 1), (2, 2, 2, 2), (1, 1), 1),
    (1, 40, 37, 3, 64, (7, 7), (2, 2), (3, 3, 3, 3), (1, 1), 1),
    (2, 9, 8, 8, 12, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 2),
    (2, 9, 8, 12, 8, (3, 2), (2, 1), (1, 0, 1, 1), (2, 1), 4),
    (1, 9, 8, 66, 34, (3, 3), (1, 2), (1, 1, 1, 1), (1, 2), 2),
    (1, 6, 6, 4, 10, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 2),
    (2, 9, 8, 7, 7, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 7),  # depthwise
    (2, 9, 8, 16, 16, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 16),
    (2, 9, 12, 33, 33, (5, 3), (2, 2), (2, 1, 0, 2), (1, 1), 33),
    (1, 9, 12, 40, 40, (3, 7), (1, 1), (2, 2, 6, 6), (2, 2), 40),
    (1, 5, 5, 3, 3, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 3),
    (2, 9, 8, 5, 10, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 5),  # with a multiplier
    (2, 10, 8, 6, 18, (3, 2), (2, 3), (1, 0, 2, 1), (1, 2), 6),
    (1, 8, 8, 20, 40, (3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 20),
]


def name(case):
    N, H, W, C, K, (R, S), (sh, sw), (t, b, left, right), (dh, dw), groups = case
    return f"N{N}H{H}W{W}C{C}K{K}-k{R}x{S}s{sh}x{sw}p{t}.{b}.{left}.{right}d{dh}x{dw}g{groups}"


def operands(case, dtype, seed=0):
    N, H, W, C, K, kernel, stride, padding, dilation, groups = case
    rng = np.random.default_rng(seed)
    OH, OW = output_size((H, W), kernel, stride, padding, dilation)
    shapes = (N, H, W, C), (*kernel, C // groups, K), (K,), (N, OH, OW, K)
    return [rng.standard_normal(s).astype(dtype) for s in shapes], (stride, padding, dilation, groups)


def three(case, dtype, b=None, activation=None):
    (x, w, _, dy), rest = operands(case, dtype)
    return (
        matrix.conv2d_forward(x, w, b, *rest, activation),
        matrix.conv2d_backward_input(dy, w, x.shape[1:3], *rest),
        matrix.conv2d_backward_weight(x, dy, w.shape[:2], *rest),
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@pytest.mark.parametrize("case", CASES, ids=name)
def test_conv2d(case, dtype):
    (x, w, b, dy), rest = operands(case, dtype)
    want = oracle(x, w, None, dy, *rest)
    reach = w.shape[0] * w.shape[1] * w.shape[2], w.shape[0] * w.shape[1] * w.shape[3], dy[..., 0].size
    for got, expected, terms in zip(three(case, dtype), want, reach):
        close(got, expected, dtype, terms)
    for activation, f in ACTIVATIONS.items():
        close(matrix.conv2d_forward(x, w, b, *rest, activation), f(want[0] + b), dtype, reach[0], want[0])


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@pytest.mark.parametrize("case", [case for case in CASES if case[-1] == 1], ids=name)
def test_columns(case, dtype, threads):
    """im2col(x) w is the convolution; col2im(dy wᵀ) its input gradient; both as the reference makes them."""
    (x, w, _, dy), (*rest, _) = operands(case, dtype)
    kernel, flat = w.shape[:2], w.reshape(-1, w.shape[3])
    y, dx, _dw = oracle(x, w, None, dy, *rest, 1)
    columns = matrix.im2col(x, kernel, *rest)
    dcolumns = dy @ flat.T
    assert columns.tobytes() == reference.im2col(x, kernel, *rest).tobytes()
    close(columns @ flat, y, dtype, flat.shape[0])
    gradient = matrix.col2im(dcolumns, x.shape[1:3], kernel, *rest)
    close(gradient, dx, dtype, dy.shape[3] * kernel[0] * kernel[1])
    close(reference.col2im(dcolumns, x.shape[1:3], kernel, *rest), dx, dtype, dy.shape[3] * kernel[0] * kernel[1])
    for n in 1, 3:
        threads(n)
        assert matrix.im2col(x, kernel, *rest).tobytes() == columns.tobytes()
        assert matrix.col2im(dcolumns, x.shape[1:3], kernel, *rest).tobytes() == gradient.tobytes()
    for call, arguments in (
        (native.im2col, (x, kernel, *rest)),
        (native.col2im, (dcolumns, x.shape[1:3], kernel, *rest)),
    ):
        want = call(*arguments)
        room = np.full(want.size + 128, 77, dtype)
        call(*arguments, out=room[64:-64].reshape(want.shape))
        assert (room[:64] == 77).all()
        assert (room[-64:] == 77).all()
        assert (room[64:-64] == want.ravel()).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@pytest.mark.parametrize("case", CASES, ids=name)
def test_conv2d_threads_agree_to_the_bit(case, dtype, threads):
    big = (case[0] * 5, *case[1:])
    one, many = [], []
    for n, results in (1, one), (2, many), (3, many):
        threads(n)
        results.append(three(big, dtype, activation="tanh"))
    for results in many:
        for a, b in zip(one[0], results):
            assert a.tobytes() == b.tobytes()


@pytest.fixture
def threads():
    before = native.max_threads()
    yield native.set_num_threads
    native.set_num_threads(before)


SIZES = [
    (1, 1, 1),
    (2, 3, 5),
    (7, 1, 9),
    (1, 300, 33),
    (6, 16, 16),
    (13, 17, 31),
    (64, 784, 10),
    (100, 257, 64),
    (193, 70, 129),
    (65, 600, 200),
    (400, 40, 300),
    (5, 1000, 1),
    (230, 1100, 2100),  # strips, slices, blocks of rows
]


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize(("M", "I", "O"), SIZES)
def test_matmul(M, I, O, ta, tb, dtype, threads):
    rng = np.random.default_rng(M + I + O)
    a, b = rng.standard_normal((M, I)).astype(dtype), rng.standard_normal((I, O)).astype(dtype)
    want = np.einsum("mi,io->mo", a.astype(np.float64), b.astype(np.float64))
    given = np.ascontiguousarray(a.T) if ta else a, np.ascontiguousarray(b.T) if tb else b
    got = matrix.matmul(*given, ta, tb)
    close(got, want, dtype, I)
    close(matrix.matmul(given[0].T, given[1].T, not ta, not tb), want, dtype, I)  # views, taken as they lie
    for n in 1, 2, 3:
        threads(n)
        assert matrix.matmul(*given, ta, tb).tobytes() == got.tobytes()


@pytest.mark.parametrize(
    "shapes",
    [
        ((3, 4, 5), (3, 5, 6)),
        ((3, 4, 5), (5, 6)),
        ((4, 5), (3, 5, 6)),
        ((2, 1, 4, 5), (3, 5, 6)),
        ((2, 3, 4, 5), (2, 1, 5, 6)),
        ((1, 4, 5), (7, 5, 6)),
        ((3, 0, 5), (3, 5, 6)),
        ((0, 4, 5), (5, 6)),
        ((3, 4, 0), (3, 0, 6)),
        ((3, 4, 0), (0, 6)),
        ((40, 30, 20), (40, 20, 30)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
def test_matmul_broadcasts(shapes, dtype):
    rng = np.random.default_rng(3)
    a, b = (rng.standard_normal(s).astype(dtype) for s in shapes)
    want = np.einsum("...mi,...io->...mo", a.astype(np.float64), b.astype(np.float64))
    swap = lambda x: np.ascontiguousarray(np.swapaxes(x, -1, -2))  # noqa: E731
    for ta, tb in itertools.product([False, True], repeat=2):
        close(matrix.matmul(swap(a) if ta else a, swap(b) if tb else b, ta, tb), want, dtype, 20)


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("M", "I", "O"), [(1, 2, 8), (4, 8, 1), (64, 784, 256), (33, 300, 50), (3, 0, 5), (0, 4, 5), (3, 4, 0)]
)
def test_linear(M, I, O, activation, dtype):
    rng = np.random.default_rng(1)
    x, w, b = (rng.standard_normal(s).astype(dtype) for s in ((M, I), (I, O), (O,)))
    want = np.einsum("mi,io->mo", x.astype(np.float64), w.astype(np.float64))
    close(matrix.linear_forward(x, w, b, activation), ACTIVATIONS[activation](want + b), dtype, I, want)
    close(matrix.linear_forward(x, w, None, activation), ACTIVATIONS[activation](want), dtype, I, want)


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 3e-7), (np.float64, 1e-13)])
def test_activations_are_accurate(dtype, error):
    x = np.concatenate([np.linspace(-100, 100, 20001), np.linspace(-1, 1, 20001), np.geomspace(1e-30, 10, 999)]).astype(
        dtype
    )
    one, wide = np.ones((1, 1), dtype), x.astype(np.longdouble)
    for activation, want in ("tanh", np.tanh(wide)), ("sigmoid", 1 / (1 + np.exp(-wide))):
        got = matrix.linear_forward(one, x[None], None, activation)[0]
        ordinary = np.abs(want) > 1e-36
        assert (np.abs(got - want)[ordinary] <= error * np.abs(want)[ordinary]).all()
        assert (np.abs(got - want)[~ordinary] < 1e-36).all()
    special = np.array([[np.nan, np.inf, -np.inf, 0.0]], dtype)
    for activation, want in (
        ("tanh", [np.nan, 1, -1, 0]),
        ("sigmoid", [np.nan, 1, 0, 0.5]),
        ("relu", [np.nan, np.inf, 0, 0]),
    ):
        got = matrix.linear_forward(one, special[:, :1], None, activation)
        got = np.concatenate([matrix.linear_forward(one, special[:, i : i + 1], None, activation)[0] for i in range(4)])
        np.testing.assert_allclose(got, want, atol=1e-37)


def test_no_images():
    x, w = np.zeros((0, 5, 5, 3), np.float32), np.ones((3, 3, 3, 4), np.float32)
    rest = (1, 1), (1, 1, 1, 1), (1, 1), 1
    assert matrix.conv2d_forward(x, w, None, *rest, None).shape == (0, 5, 5, 4)
    dy = np.zeros((0, 5, 5, 4), np.float32)
    assert matrix.conv2d_backward_input(dy, w, (5, 5), *rest).shape == x.shape
    assert not matrix.conv2d_backward_weight(x, dy, (3, 3), *rest).any()


def test_inputs_lie_as_they_like():
    (x, w, b, _dy), rest = operands((2, 9, 8, 6, 12, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1), np.float32)
    odd = np.empty(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    odd[...] = x
    strided = np.repeat(x, 2, axis=2)[:, :, ::2]
    frozen = x.copy()
    frozen.setflags(write=False)
    want = matrix.conv2d_forward(x, w, b, *rest, None)
    for other in odd, strided, frozen, np.asfortranarray(x):
        assert (matrix.conv2d_forward(other, w, b, *rest, None) == want).all()


def test_declines_and_refuses():
    x, w = np.ones((1, 5, 5, 3), np.float32), np.ones((3, 3, 3, 4), np.float32)
    rest = (1, 1), (1, 1, 1, 1), (1, 1), 1
    assert isinstance(matrix.conv2d_forward(x.astype(np.float16), w, None, *rest, None), Decline)
    assert isinstance(matrix.conv2d_forward(x, w.astype(np.float64), None, *rest, None), Decline)
    assert isinstance(matrix.im2col(x.astype(int), (3, 3), *rest[:3]), Decline)
    assert isinstance(matrix.col2im(x.astype(int), (7, 7), (3, 1), *rest[:3]), Decline)
    assert isinstance(matrix.matmul(x[0, 0].astype(">f4"), w[0, 0]), Decline)
    assert isinstance(matrix.matmul(np.ones((2, 2), int), np.ones((2, 2), int)), Decline)
    for wrong in (
        lambda: matrix.conv2d_forward(x, w[:, :, :2], None, *rest, None),
        lambda: matrix.conv2d_forward(x, w, np.ones(3, np.float32), *rest, None),
        lambda: matrix.conv2d_forward(x, w, None, (0, 1), *rest[1:], None),
        lambda: matrix.conv2d_forward(x, w, None, (1, 1), (0, 0, -1, 0), (1, 1), 1, None),
        lambda: matrix.conv2d_forward(x, w, None, *rest, "gelu"),
        lambda: matrix.conv2d_forward(x[:, :1, :1], w, None, (1, 1), (0, 0, 0, 0), (1, 1), 1, None),
        lambda: matrix.conv2d_backward_input(np.ones((1, 4, 5, 4), np.float32), w, (5, 5), *rest),
        lambda: matrix.conv2d_backward_weight(x, np.ones((1, 4, 5, 4), np.float32), (3, 3), *rest),
        lambda: matrix.im2col(x[0], (3, 3), *rest[:3]),
        lambda: matrix.col2im(x, (5, 5), (2, 2), *rest[:3]),
        lambda: matrix.matmul(x[0, 0], x[0, 0]),
        lambda: matrix.matmul(x[0, 0], x[0, 0, 0]),
        lambda: matrix.linear_forward(x[0, 0], w[0, 0], np.ones(3, np.float32), None),
        lambda: matrix.matmul(np.ones((2, 3, 4), np.float32), np.ones((3, 4, 5), np.float32)),
    ):
        with pytest.raises(ValueError, match=r"shape|must|larger|activation|axes"):
            wrong()


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@pytest.mark.parametrize("case", CASES, ids=name)
def test_nothing_outside_the_arrays(case, dtype):
    """Inputs lie between NaNs, which must not reach a result; outputs between canaries, which must survive."""
    (x, w, b, dy), rest = operands(case, dtype)

    def guard(a):
        room = np.full(a.size + 128, np.nan, dtype)
        room[64:-64] = a.ravel()
        return room[64:-64].reshape(a.shape)

    x, w, b, dy = map(guard, (x, w, b, dy))
    calls = [
        (native.conv2d_forward, (x, w, b, *rest, "tanh")),
        (native.conv2d_backward_input, (dy, w, x.shape[1:3], *rest)),
        (native.conv2d_backward_weight, (x, dy, w.shape[:2], *rest)),
    ]
    for call, arguments in calls:
        want = call(*arguments)
        room = np.full(want.size + 128, 77, dtype)
        call(*arguments, out=room[64:-64].reshape(want.shape))
        assert (room[:64] == 77).all()
        assert (room[-64:] == 77).all()
        assert np.isfinite(want).all()
        assert (room[64:-64] == want.ravel()).all()


@pytest.mark.parametrize("isa", ["baseline", "avx2"])
def test_other_instruction_sets(isa):
    order = ["baseline", "avx2", "avx512"]
    if order.index(isa) >= order.index(native.isa_cpu()):
        pytest.skip(f"{isa} is this CPU's best set or beyond it")
    code = (
        f"import dlkit._native.matrix as m, pytest, sys; assert m.isa_name() == {isa!r} and m.isa_request_error() is None;"
        f"sys.exit(pytest.main(['-q', '-x', '-p', 'no:cacheprovider', {__file__!r}, '-k', 'not instruction_sets and not threads']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "DLKIT_ISA": isa}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
