"""Winograd convolution: the matrices exactly, the kernels against a float64 sum written from the formula.

Errors are relative to the largest value of the result, operands standard normal. Measured with 128 channels: forward
4e-6, input gradient 4e-6, weight gradient 2e-6 for F(4×4, 3×3), a fifth of it for F(2×2, 3×3); the bounds are 2.5 times that.
"""

from fractions import Fraction as Q

import numpy as np
import pytest

import dlkit
from dlkit import nn
from dlkit.backends import kernels, use_backend
from dlkit.errors import ConfigError

native = pytest.importorskip("dlkit._native.matrix")

# The matrices of F(4×4, 3×3) at the points 0, 1, -1, 1/2, -2, infinity and of F(2×2, 3×3) at 0, 1, -1, infinity.
MATRICES = {
    4: {
        "input": [
            [1, Q(-3, 2), -2, Q(3, 2), 1, 0],
            [0, -1, Q(1, 2), Q(5, 2), 1, 0],
            [0, 1, Q(-5, 2), Q(1, 2), 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, Q(1, 2), -1, Q(-1, 2), 1, 0],
            [0, 1, Q(-3, 2), -2, Q(3, 2), 1],
        ],
        "weight": [
            [1, 0, 0],
            [Q(1, 3), Q(1, 3), Q(1, 3)],
            [Q(-1, 3), Q(1, 3), Q(-1, 3)],
            [Q(-16, 15), Q(-8, 15), Q(-4, 15)],
            [Q(1, 15), Q(-2, 15), Q(4, 15)],
            [0, 0, 1],
        ],
        "output": [
            [1, 1, 1, 1, 1, 0],
            [0, 1, -1, Q(1, 2), -2, 0],
            [0, 1, 1, Q(1, 4), 4, 0],
            [0, 1, -1, Q(1, 8), -8, 1],
        ],
    },
    2: {
        "input": [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]],
        "weight": [[1, 0, 0], [Q(1, 2), Q(1, 2), Q(1, 2)], [Q(1, 2), Q(-1, 2), Q(1, 2)], [0, 0, 1]],
        "output": [[1, 1, 1, 0], [0, 1, -1, 1]],
    },
}
for matrices in MATRICES.values():
    matrices["gradient"] = [list(column) for column in zip(*matrices["output"])]
    matrices["weight_gradient"] = [list(column) for column in zip(*matrices["weight"])]

BOUND = {"winograd": (1e-5, 1e-5, 5e-6), "winograd2": (2e-6, 2e-6, 1.5e-6)}
ALGORITHMS = list(BOUND)

SHAPES = [  # N, H, W, C, K, padding
    (2, 9, 8, 16, 16, (1, 1, 1, 1)),
    (1, 3, 3, 16, 16, (0, 0, 0, 0)),  # smaller than a tile
    (1, 1, 2, 20, 24, (1, 1, 1, 1)),
    (2, 1, 1, 3, 5, (2, 2, 2, 2)),
    (3, 4, 4, 32, 16, (1, 1, 1, 1)),  # one tile exactly
    (2, 14, 14, 17, 35, (1, 1, 1, 1)),
    (5, 13, 30, 33, 40, (0, 2, 1, 0)),
    (2, 7, 7, 40, 24, (2, 0, 3, 1)),
    (1, 8, 8, 1, 2, (4, 5, 5, 4)),  # whole tiles outside the image
    (1, 6, 70, 8, 9, (0, 0, 0, 0)),
    (2, 28, 28, 128, 128, (1, 1, 1, 1)),
    (1, 7, 7, 300, 290, (1, 1, 1, 1)),  # sums in parts
    (1, 5, 6, 520, 520, (1, 1, 1, 1)),  # large weights: by columns, slabs of dU
    (9, 64, 64, 16, 16, (1, 1, 1, 1)),  # shares of tiles in several blocks
    (1, 150, 150, 48, 40, (1, 1, 1, 1)),  # chunks of tiles in the weight gradient
    (1, 80, 80, 240, 260, (1, 1, 1, 1)),  # and in the others
]


def is_winograd(matrices):
    """Aᵀ [(G g) ⊙ (Bᵀ d)] is the correlation of d with g, for every unit g and d: exactly."""
    b, g, a = matrices["input"], matrices["weight"], matrices["output"]
    return all(
        sum(a[i][p] * g[p][r] * b[p][j] for p in range(len(b))) == (j == i + r)
        for i in range(len(a))
        for r in range(3)
        for j in range(len(b))
    )


@pytest.mark.parametrize("m", [4, 2])
def test_the_matrices_compute_a_correlation(m):
    assert is_winograd(MATRICES[m])


@pytest.mark.parametrize("m", [4, 2])
def test_a_wrong_entry_is_noticed(m):
    for name in ("input", "weight", "output"):
        for row in MATRICES[m][name]:
            for j in range(len(row)):
                row[j] += Q(1, 64)
                assert not is_winograd(MATRICES[m])
                row[j] -= Q(1, 64)


@pytest.mark.parametrize("name", ["input", "weight", "output", "gradient", "weight_gradient"])
@pytest.mark.parametrize("m", [4, 2])
def test_the_kernels_have_these_matrices(m, name):
    """Unit pixels, each in a channel of its own, give the products of two columns of the matrix."""
    matrix = np.array([[float(v) for v in row] for row in MATRICES[m][name]])
    n = matrix.shape[1]
    units = np.zeros((n, n, 48), np.float32)
    units.reshape(n * n, 48)[np.arange(n * n), np.arange(n * n)] = 1
    got = native.winograd_transform(name, m, units)[..., : n * n]
    want = np.einsum("pi,qj->pqij", matrix, matrix).reshape(*got.shape)
    np.testing.assert_allclose(got, want, rtol=3e-7, atol=1e-9)


def oracle(x, w, dy, padding):
    """y, dx, dw in float64, tap by tap."""
    x, w, dy = (a.astype(np.float64) for a in (x, w, dy))
    top, bottom, left, right = padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    OH, OW = dy.shape[1:3]
    y, dpadded, dw = np.zeros(dy.shape), np.zeros(padded.shape), np.zeros(w.shape)
    for r in range(3):
        for s in range(3):
            window = padded[:, r : r + OH, s : s + OW]
            y += window @ w[r, s]
            dpadded[:, r : r + OH, s : s + OW] += dy @ w[r, s].T
            dw[r, s] = np.tensordot(window, dy, ((0, 1, 2), (0, 1, 2)))
    return y, dpadded[:, top : top + x.shape[1], left : left + x.shape[2]], dw


def operands(shape, dtype=np.float32):
    N, H, W, C, K, (top, bottom, left, right) = shape
    rng = np.random.default_rng(H * W + C)
    sizes = (N, H, W, C), (3, 3, C, K), (K,), (N, H + top + bottom - 2, W + left + right - 2, K)
    return [rng.standard_normal(size).astype(dtype) for size in sizes]


def three(shape, x, w, dy, algorithm, bias=None, activation=None):
    rest = (1, 1), shape[5], (1, 1), 1
    return (
        native.conv2d_forward(x, w, bias, *rest, activation, algorithm),
        native.conv2d_backward_input(dy, w, x.shape[1:3], *rest, algorithm),
        native.conv2d_backward_weight(x, dy, (3, 3), *rest, algorithm),
    )


def error(got, want):
    return np.abs(got - want).max() / np.abs(want).max()


def name(shape):
    return "N{}H{}W{}C{}K{}".format(*shape) + "p" + ".".join(map(str, shape[5]))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", SHAPES, ids=name)
def test_against_the_formula(shape, algorithm):
    x, w, _, dy = operands(shape)
    for got, want, bound in zip(three(shape, x, w, dy, algorithm), oracle(x, w, dy, shape[5]), BOUND[algorithm]):
        assert got.dtype == np.float32
        assert error(got, want) < bound


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "padding", [(t, b, l, r) for t in range(3) for b in range(3) for l, r in ((0, 1), (1, 2), (2, 0))]
)
def test_every_padding(padding, algorithm):
    shape = (2, 6, 7, 16, 24, padding)
    x, w, _, dy = operands(shape)
    for got, want, bound in zip(three(shape, x, w, dy, algorithm), oracle(x, w, dy, padding), BOUND[algorithm]):
        assert error(got, want) < bound


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", SHAPES[:8], ids=name)
def test_fused_bias_and_activation(shape, algorithm):
    x, w, b, dy = operands(shape)
    z = oracle(x, w, dy, shape[5])[0] + b
    for activation, f in (
        (None, lambda z: z),
        ("relu", lambda z: np.maximum(z, 0)),
        ("tanh", np.tanh),
        ("sigmoid", lambda z: 1 / (1 + np.exp(-z))),
    ):
        got = three(shape, x, w, dy, algorithm, b, activation)[0]
        assert np.abs(got - f(z)).max() < BOUND[algorithm][0] * max(np.abs(z).max(), 1)


@pytest.fixture
def threads():
    before = native.max_threads()
    yield native.set_num_threads
    native.set_num_threads(before)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", SHAPES, ids=name)
def test_threads_agree_to_the_bit(shape, algorithm, threads):
    x, w, b, dy = operands(shape)
    results = []
    for n in (1, 2, 3):
        threads(n)
        results.append([a.tobytes() for a in three(shape, x, w, dy, algorithm, b, "tanh")])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", SHAPES[:8], ids=name)
def test_nothing_outside_the_arrays(shape, algorithm):
    """Inputs lie between NaNs, which must not reach a result; outputs between canaries, which must survive."""
    x, w, b, dy = operands(shape)

    def guard(a):
        room = np.full(a.size + 128, np.nan, np.float32)
        room[64:-64] = a.ravel()
        return room[64:-64].reshape(a.shape)

    x, w, b, dy = map(guard, (x, w, b, dy))
    rest = (1, 1), shape[5], (1, 1), 1
    calls = [
        (native.conv2d_forward, (x, w, b, *rest, "relu", algorithm)),
        (native.conv2d_backward_input, (dy, w, x.shape[1:3], *rest, algorithm)),
        (native.conv2d_backward_weight, (x, dy, (3, 3), *rest, algorithm)),
    ]
    for call, arguments in calls:
        want = call(*arguments)
        room = np.full(want.size + 128, 77, np.float32)
        call(*arguments, out=room[64:-64].reshape(want.shape))
        assert (room[:64] == 77).all()
        assert (room[-64:] == 77).all()
        assert np.isfinite(want).all()
        assert (room[64:-64] == want.ravel()).all()


def test_no_images():
    x, w, dy = (
        np.zeros((0, 5, 5, 16), np.float32),
        np.ones((3, 3, 16, 16), np.float32),
        np.zeros((0, 5, 5, 16), np.float32),
    )
    y, dx, dw = three((0, 5, 5, 16, 16, (1, 1, 1, 1)), x, w, dy, "winograd")
    assert y.shape == dx.shape == x.shape
    assert not dw.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_a_number_stays_in_its_tiles(bad):
    """A NaN or infinity reaches all 4×4 outputs of the tiles whose 6×6 inputs hold it, in every channel, and no others."""
    shape = (2, 16, 16, 16, 16, (1, 1, 1, 1))
    x, w, _, dy = operands(shape)
    clean = three(shape, x, w, dy, "winograd")[0]
    x[0, 8, 5, 3] = bad  # input of tile rows 1 and 2 (rows 3 ... 8 and 7 ... 12), of tile column 1 (3 ... 8)
    y = three(shape, x, w, dy, "winograd")[0]
    reached = np.zeros(y.shape, bool)
    reached[0, 4:12, 4:8] = True
    assert not np.isfinite(y[0, 7:10, 4:7]).any()  # where the formula has it
    assert (y[~reached] == clean[~reached]).all()


def test_relu_keeps_nan():
    shape = (1, 8, 8, 16, 16, (1, 1, 1, 1))
    x, w, b, dy = operands(shape)
    x[...] = np.nan
    assert np.isnan(three(shape, x, w, dy, "winograd", b, "relu")[0]).all()


def test_float64_is_direct():
    shape = SHAPES[5]
    x, w, _, dy = operands(shape, np.float64)
    for a, b in zip(three(shape, x, w, dy, "winograd"), three(shape, x, w, dy, "direct")):
        assert (a == b).all()


def test_the_choice():
    def chosen(x, w, **how):
        return native.conv2d_algorithm(x, w, padding=(1, 1, 1, 1), **how)

    wide, filters = (64, 32, 32, 32), (3, 3, 32, 32)
    assert chosen(wide, filters) == ("winograd",) * 3
    assert chosen(wide, filters, algorithm="winograd2") == ("winograd2",) * 3
    assert chosen(wide, filters, algorithm="direct") == ("direct",) * 3
    assert chosen(wide, filters, dtype="float64") == ("direct",) * 3
    assert chosen(wide, filters, stride=(2, 2)) == ("direct",) * 3
    assert chosen((64, 32, 32, 3), (3, 3, 3, 32)) == ("direct",) * 3
    assert chosen((64, 2, 2, 32), filters) == ("direct",) * 3
    assert chosen((1, 8, 8, 32), filters) == ("direct",) * 3
    assert chosen((8, 14, 14, 16), (3, 3, 16, 16)) == ("winograd", "winograd", "direct")
    assert chosen(wide, (3, 3, 1, 32), groups=32) == ("depthwise",) * 3
    assert native.conv2d_algorithm(wide, (1, 1, 32, 16)) == ("product", "product", "direct")


def test_the_choice_is_what_runs():
    shape = (64, 8, 8, 32, 32, (1, 1, 1, 1))
    x, w, _, dy = operands(shape)
    direct, winograd, chosen = (three(shape, x, w, dy, a) for a in ("direct", "winograd", "auto"))
    for a, b, c in zip(direct, winograd, chosen):
        assert (b == c).all()
        assert (a != b).any()


def test_impossible_requests():
    x, w = np.ones((1, 9, 9, 16), np.float32), np.ones((3, 3, 16, 16), np.float32)
    with pytest.raises(ValueError, match="'winograd' must have a 3×3 kernel"):
        native.conv2d_forward(x, w, None, (2, 2), (0, 0, 0, 0), (1, 1), 1, None, "winograd")
    with pytest.raises(ValueError, match=r"'fft'\) is none of"):
        native.conv2d_forward(x, w, None, (1, 1), (0, 0, 0, 0), (1, 1), 1, None, "fft")
    with pytest.raises(ConfigError, match=r"'winograd2' needs stride \(1, 1\), not \(2, 2\)"):
        nn.Conv2d(16, 16, 3, stride=2, algorithm="winograd2")(dlkit.Tensor(x))


def test_a_layer_and_its_gradients_follow_the_request():
    shape = (2, 9, 9, 16, 16, (1, 1, 1, 1))
    x, w, _, dy = operands(shape)
    for algorithm in ("direct", "winograd", "winograd2"):
        layer = nn.Conv2d(16, 16, 3, padding=1, bias=False, algorithm=algorithm)
        layer.weight.data[...] = w
        leaf = dlkit.Tensor(x, requires_grad=True)
        with use_backend("native"):
            y = layer(leaf)
            y.backward(dlkit.Tensor(dy))
        got = y.numpy(), leaf.grad.numpy(), layer.weight.grad.numpy()
        for a, b in zip(got, three(shape, x, w, dy, algorithm)):
            assert (a == b).all()


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_other_backends_take_the_request(backend):
    if backend == "numba":
        pytest.importorskip("numba")
    shape = (1, 5, 5, 4, 4, (1, 1, 1, 1))
    x, w, _, dy = operands(shape)
    rest = (1, 1), shape[5], (1, 1), 1
    with use_backend(backend):
        k = kernels()
        got = (
            k.conv2d_forward(x, w, None, *rest, None, "winograd"),
            k.conv2d_backward_input(dy, w, (5, 5), *rest, "winograd"),
            k.conv2d_backward_weight(x, dy, (3, 3), *rest, "winograd"),
        )
    for a, b in zip(got, oracle(x, w, dy, shape[5])):
        assert error(a, b) < 1e-6


def test_numba_does_not_use_winograd_against_the_request():
    pytest.importorskip("numba")
    shape = (2, 16, 16, 32, 32, (1, 1, 1, 1))
    x, w, *_ = operands(shape)
    rest = ((1, 1), shape[5], (1, 1), 1)
    with use_backend("numba"):
        y = {a: kernels().conv2d_forward(x, w, None, *rest, None, a) for a in ("direct", "winograd2", "winograd")}
    assert (y["direct"] == y["winograd2"]).all()  # it has no F(2×2, 3×3), and the direct sum is more exact still
    assert (y["direct"] != y["winograd"]).any()
    assert error(y["winograd"], y["direct"]) < BOUND["winograd"][0]
