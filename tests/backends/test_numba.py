"""The numba kernels against the reference: closely in float64, sensibly in float32."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from dlkit.backends import numba as nb  # noqa: E402
from dlkit.backends import reference as ref  # noqa: E402
from dlkit.backends.contract import NAMES, Decline, Kernels  # noqa: E402

KERNELS = [name for name in NAMES if hasattr(nb, name)]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 5, 7))
Z = RNG.standard_normal((3, 5, 7)) + 0.1
Y = ref.sigmoid(Z)  # an output, between 0 and 1
ROWS = RNG.standard_normal((5, 7))
IMAGE = RNG.standard_normal((2, 9, 8, 6))
SMALL = RNG.standard_normal((2, 5, 4, 6))
LABELS = np.array([0, 6, 3, 3, 1])
COLUMN = RNG.uniform(0.5, 1.5, (4, 7))
POSITIVE = np.abs(X) + 0.1


def normal(*shape):
    return RNG.standard_normal(shape)


def conv(x, w, *attrs):
    """Arguments of the three convolution kernels for x and w of these shapes."""
    x, w, b = normal(*x), normal(*w), normal(w[3])
    dy = normal(*ref.conv2d_forward(x, w, b, *attrs, None).shape)
    return [
        ("conv2d_forward", x, w, b, *attrs, "relu"),
        ("conv2d_backward_input", dy, w, x.shape[1:3], *attrs),
        ("conv2d_backward_weight", x, dy, w.shape[:2], *attrs),
    ]


def pools(kernel, stride, padding):
    y, where = ref.max_pool2d_forward(IMAGE, kernel, stride, padding)
    dy, attrs = normal(*y.shape), (kernel, stride, padding)
    return [
        ("max_pool2d_forward", IMAGE, *attrs),
        ("max_pool2d_backward", dy, where, (9, 8), *attrs),
        ("avg_pool2d_forward", IMAGE, *attrs),
        ("avg_pool2d_backward", dy, (9, 8), *attrs),
    ]


def norms(activation, residual):
    gamma, beta, mean, var = COLUMN
    more = (1e-5, activation, 0.2)
    y, *statistics = ref.batch_norm_forward(ROWS, gamma, beta, residual, *more)
    added = residual is not None
    return [
        ("batch_norm_forward", ROWS, gamma, beta, residual, *more),
        ("batch_norm_backward", X[0], ROWS, y, gamma, beta, *statistics, activation, 0.2, added),
        ("batch_norm_inference", ROWS, gamma, beta, mean, var, residual, *more),
    ]


def standardized(x, axes):
    x_hat, inv_std = ref.standardize_forward(x, axes, 1e-5)
    return [
        ("standardize_forward", x, axes, 1e-5),
        ("standardize_backward", normal(*x.shape), x_hat, inv_std, axes),
    ]


CALLS = [
    *((name, X, Z) for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")),
    *((name, X, -0.5) for name in ("add", "subtract", "divide", "maximum")),
    *((name, 2, X) for name in ("subtract", "multiply", "divide", "minimum")),
    *((name, X) for name in ("negative", "exp", "abs")),
    ("sqrt", POSITIVE), ("clip", X, -0.3, 0.4), ("add", normal(4, 6)[:, ::2], 1.0),
    *((name, 3 * X) for name in ("sigmoid", "tanh", "relu", "gelu", "silu", "softplus")),
    *((f"{name}_backward", X, Y) for name in ("sigmoid", "tanh", "relu")),
    *((f"{name}_backward", X, 3 * Z) for name in ("gelu", "silu", "softplus")),
    ("leaky_relu", X, 0.1), ("leaky_relu_backward", X, Z, 0.1), ("elu", X, 0.7), ("elu_backward", X, Z, 0.7),
    *((name, X, -1) for name in ("softmax", "log_softmax")),
    ("softmax_backward", X, ref.softmax(Z, 2), 2), ("log_softmax_backward", X, ref.log_softmax(Z, 2), 2),
    *(("sum", X, axes, False) for axes in ((0, 1), (0, 1, 2), (1,), (-1,))), ("sum", X, (0, 1, 2), True),
    ("sum", normal(0, 3), (0,), False),
    ("sum_of_squares", X), ("all_finite", X), ("all_finite", np.where(X > 1, np.inf, X)),
    *(("matmul", normal(*a), normal(*b), *flags) for a, b, flags in (
        ((7, 5), (5, 18), ()), ((5, 7), (5, 18), (True, False)), ((7, 5), (18, 5), (False, True)),
        ((5, 7), (18, 5), (True, True)), ((101, 300), (300, 270), ()), ((2, 1, 4, 3), (3, 3, 5), ()),
        ((2, 4, 3), (3, 5), ()), ((3, 4), (2, 4, 5), ()), ((4, 0), (0, 3), ()), ((0, 4), (4, 3), ()),
    )),
    *(("linear_forward", ROWS, normal(7, 3), b, f) for b, f in (
        (None, None), (normal(3), "relu"), (normal(3), "tanh"), (None, "sigmoid"),
    )),
    *conv((2, 9, 8, 4), (3, 3, 4, 6), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    *conv((2, 9, 8, 4), (3, 2, 4, 17), (2, 1), (0, 1, 2, 1), (2, 3), 1),
    *conv((1, 9, 8, 6), (3, 3, 2, 9), (2, 2), (1, 1, 1, 1), (1, 1), 3),
    *conv((2, 7, 6, 5), (3, 3, 1, 5), (2, 1), (1, 0, 1, 1), (1, 2), 5),
    *conv((3, 17, 40, 3), (5, 4, 3, 18), (2, 1), (2, 1, 0, 3), (1, 1), 1),
    *conv((2, 70, 6, 1), (5, 5, 1, 6), (1, 1), (2, 2, 2, 2), (1, 1), 1),
    *conv((2, 9, 8, 12), (3, 3, 12, 5), (2, 2), (1, 1, 1, 1), (1, 1), 1),
    *conv((2, 5, 4, 3), (1, 1, 3, 20), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    *conv((1, 3, 3, 2), (5, 5, 2, 3), (3, 3), (2, 2, 2, 2), (1, 1), 1),
    *conv((0, 3, 3, 2), (3, 3, 2, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    *pools((3, 2), (2, 2), (1, 0, 0, 1)), *pools((2, 3), (1, 3), (1, 1, 2, 2)),
    *pools((17, 17), (3, 3), (8, 8, 8, 8)),
    ("adaptive_avg_pool2d_forward", IMAGE, (1, 1)), ("adaptive_avg_pool2d_forward", IMAGE, (4, 5)),
    ("adaptive_avg_pool2d_backward", SMALL, (9, 8)),
    *(call for act in (None, "relu", "relu6", "leaky_relu") for r in (None, ROWS[::-1].copy()) for call in norms(act, r)),
    *standardized(X, (-1,)), *standardized(IMAGE, (1, 2)), *standardized(IMAGE, (1, 2, 3)),
    *standardized(normal(2, 3, 4, 3, 2), (1, 2, 4)),
    ("upsample_nearest_forward", IMAGE, (2, 3)), ("upsample_nearest_backward", normal(2, 6, 9, 3), (2, 3)),
    *(("upsample_bilinear_forward", SMALL, (9, 8), corners) for corners in (False, True)),
    *(("upsample_bilinear_backward", IMAGE, (5, 4), corners) for corners in (False, True)),
    *(("cross_entropy_forward", ROWS, LABELS, w, s) for w, s in ((None, 0.0), (COLUMN[0], 0.1), (None, 1.0))),
    *(("cross_entropy_backward", ROWS[:, 0], ref.softmax(ROWS, 1), LABELS, w, s) for w, s in (
        (None, 0.0), (COLUMN[0], 0.1),
    )),
    *(("sgd_step", [X, ROWS], [Z, ROWS[::-1]], v, 0.1, 0.9, nesterov, [0.01, 0.0]) for v in (None, [Y, 2 * ROWS]) for nesterov in (False, True)),
    *(("rmsprop_step", [X], [Z], [POSITIVE], v, 0.1, 0.9, 1e-8, 0.9, [0.01]) for v in (None, [Y])),
    *(("adam_step", [X], [Z], [Y], [POSITIVE], 0.1, 0.9, 0.99, 1e-8, [0.01], d, 3) for d in (False, True)),
    ("add_into", X, Z), ("scale_into", X, 0.3),
]  # fmt: skip


def named(calls):
    return [pytest.param(*call[:1], call[1:], id=f"{i}-{call[0]}") for i, call in enumerate(calls)]


def as_dtype(arguments, dtype):
    """Copies of the arguments, the real arrays among them, and in lists, as `dtype`."""

    def copied(a):
        if isinstance(a, list):
            return [copied(part) for part in a]
        return np.array(a, dtype=dtype if a.dtype.kind == "f" else None) if isinstance(a, np.ndarray) else a

    return [copied(a) for a in arguments]


def arrays(arguments):
    flat = [part for a in arguments for part in (a if isinstance(a, list) else [a])]
    return [a for a in flat if isinstance(a, np.ndarray)]


def parts(result):
    return result if isinstance(result, tuple) else (result,)


def check(actual, expected, tolerance):
    assert not isinstance(actual, Decline), actual.why
    for a, e in zip(parts(actual), parts(expected), strict=True):
        assert type(a) is type(e)
        if isinstance(a, np.ndarray):
            assert (a.dtype, a.shape) == (e.dtype, e.shape)
            assert a.flags.c_contiguous
        if a is not None:
            np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
@pytest.mark.parametrize(("name", "arguments"), named(CALLS))
@np.errstate(all="ignore")
def test_agrees_with_reference(name, arguments, dtype):
    mine, theirs = as_dtype(arguments, dtype), as_dtype(arguments, dtype)
    before = as_dtype(arguments, dtype)
    expected = getattr(ref, name)(*theirs)
    actual = getattr(nb, name)(*mine)
    tolerance = 1e-10 if dtype == np.float64 else 3e-5
    check(actual, expected, tolerance)
    for a, b, unmodified in zip(arrays(mine), arrays(theirs), arrays(before)):
        if name.endswith(("_step", "_into")):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(a, unmodified)


@pytest.mark.parametrize("name", KERNELS)
def test_has_a_call_and_the_contracts_parameters(name):
    assert name in {call[0] for call in CALLS}

    def parameters(f):
        return [(p.name, p.default) for p in inspect.signature(f).parameters.values() if p.name != "self"]

    assert parameters(getattr(nb, name)) == parameters(getattr(Kernels, name))


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e300, -1e300, 800.0, -800.0])
UNARY = ["sigmoid", "tanh", "relu", "gelu", "silu", "softplus", "negative", "exp", "sqrt", "abs"]


@pytest.mark.parametrize("name", UNARY)
@np.errstate(all="ignore")
def test_nan_and_infinity_one_operand(name):
    np.testing.assert_allclose(getattr(nb, name)(SPECIAL), getattr(ref, name)(SPECIAL), rtol=1e-12)


BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "relu_backward"]


@pytest.mark.parametrize("name", BINARY)
@np.errstate(all="ignore")
def test_nan_and_infinity_two_operands(name):
    a, b = (np.array(m) for m in np.meshgrid(SPECIAL, SPECIAL))
    np.testing.assert_array_equal(getattr(nb, name)(a, b), getattr(ref, name)(a, b))


@np.errstate(all="ignore")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_element_is_seen(bad):
    x = X.copy()
    x[1, 2, 3] = bad
    for name, *arguments in (("softmax", -1), ("log_softmax", -1), ("sum", (0, 1), False), ("clip", -1, 1)):
        check(getattr(nb, name)(x, *arguments), getattr(ref, name)(x, *arguments), 1e-10)
    assert nb.all_finite(x) is False
    check(nb.sum_of_squares(x), ref.sum_of_squares(x), 1e-10)
    check(nb.matmul(x[1], ROWS.T.copy()), ref.matmul(x[1], ROWS.T), 1e-10)
    image = IMAGE.copy()
    image[0, 4, 4, 2] = image[0, 4, 5, 2] = bad
    arguments = (image, (3, 3), (2, 2), (1, 1, 1, 1))
    check(nb.max_pool2d_forward(*arguments), ref.max_pool2d_forward(*arguments), 0)
    gamma, beta = COLUMN[:2]
    check(nb.batch_norm_forward(x[1], gamma, beta, None, 1e-5, "relu", 0.0),
          ref.batch_norm_forward(x[1], gamma, beta, None, 1e-5, "relu", 0.0), 1e-10)  # fmt: skip


def test_read_only_and_strided_inputs_are_taken():
    x = np.broadcast_to(np.arange(4.0), (3, 4))
    check(nb.relu(x), ref.relu(x), 0)
    check(nb.matmul(x.T, x), ref.matmul(x.T, x), 1e-12)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: nb.add(np.arange(3), 1), "dtype int64; float32 and float64 only"),
        (lambda: nb.add(X, X.astype(np.float32)), "dtypes float64 and float32 together"),
        (lambda: nb.add(X, X[0]), "broadcasts only an array with a Python number"),
        (lambda: nb.softmax(X, 0), "softmax along the last axis only, not 0"),
        (lambda: nb.sum(X, (0, 2), False), "sums over neighbouring axes only, not (0, 2)"),
        (lambda: nb.linear_forward(ROWS, ROWS.T, None, "gelu"), "activation 'gelu'"),
        (lambda: nb.scale_into(X[:, ::2], 2.0), "updates in place only contiguous, writeable arrays"),
        (lambda: nb.exp(X.astype(np.float16)), "dtype float16; float32 and float64 only"),
    ],
)
def test_declines(call, why):
    result = call()
    assert isinstance(result, Decline)
    assert result.why == why


def test_same_bits_for_any_number_of_threads():
    x, w = (a.astype(np.float32) for a in (normal(4, 16, 16, 24), normal(3, 3, 24, 40)))
    attrs = (1, 1), (1, 1, 1, 1), (1, 1), 1
    dy = normal(4, 16, 16, 40).astype(np.float32)
    calls = {
        "forward": lambda: nb.conv2d_forward(x, w, None, *attrs, None),
        "backward_weight": lambda: nb.conv2d_backward_weight(x, dy, (3, 3), *attrs),
        "sum": lambda: nb.sum(dy.repeat(4, 0), (0, 1, 2), False),
    }
    threads = numba.get_num_threads()
    try:
        for name, call in calls.items():
            results = []
            for n in {1, threads}:
                numba.set_num_threads(n)
                results.append(call())
            for result in results:
                np.testing.assert_array_equal(result, results[0], err_msg=name)
    finally:
        numba.set_num_threads(threads)
    expected = ref.conv2d_forward(x, w, None, *attrs, None)
    np.testing.assert_allclose(calls["forward"](), expected, rtol=1e-4, atol=1e-4)


def python(code):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_importing_compiles_nothing():
    assert python("from dlkit.backends import numba as nb; print(nb.compile_seconds())") == "{}"


def test_without_numba_says_so():
    hidden = "import sys; sys.modules['numba'] = None\nfrom dlkit.backends import BACKENDS\n"
    assert "numba" in python(hidden + "print(BACKENDS['numba'].available())")


COMPILE = """
import logging, sys, numpy as np
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(name)s %(message)s")
from dlkit.backends import numba as nb
nb.negative(np.ones(3))
print(nb.compile_report(), nb.compile_report(), list(nb.compile_seconds()), nb.cached()["kernels"] > 0)
"""


def test_says_once_what_was_compiled_and_where_it_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    first, second = python(COMPILE).splitlines(), python(COMPILE).splitlines()
    assert first[0].startswith("dlkit.numba compiled negative_each in ")
    assert first[1].startswith("numba: compiled 1 kernel in ")
    assert str(tmp_path) in first[1]
    assert first[1].endswith("None ['negative_each'] True")  # said once, kept for `dlkit doctor`
    assert second == ["None None [] True"]


def test_another_cpu_takes_nothing_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    python(COMPILE)
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "")
    assert "compiled 1 kernel" in python(COMPILE)
