"""Each mistake planted on purpose, in NumPy, and the diagnosis it must get."""

import numpy as np
import pytest

from dlkit.gradients import gradcheck

N, I, K = 5, 3, 4


def inputs(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(s)) for s in shapes]


def linear(x, w, b):
    return x @ w + b


def linear_backward(dy, x, w, b):
    return dy @ w.T, x.T @ dy, dy.sum(0)


def conv(x, w):
    """x [N, H, W, C], w [3, 3, C, K], one pixel of padding."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    _, H, W, _ = x.shape
    return sum(padded[:, r : r + H, s : s + W] @ w[r, s] for r in range(3) for s in range(3))


def conv_backward(dy, x, w, width=1):
    _, H, W, _ = x.shape
    padded, dpadded, dw = (
        np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))),
        np.zeros((len(x), H + 2, W + 2, x.shape[3])),
        0 * w,
    )
    for r in range(3):
        for s in range(3):
            dpadded[:, r : r + H, s : s + W] += dy @ w[r, s].T
            dw[r, s] = np.einsum("nijc,nijk->ck", padded[:, r : r + H, s : s + W], dy)
    return dpadded[:, 1:-1, 1:-1], dw


LINEAR = inputs((N, I), (I, K), K)
SQUARE = inputs((4, 4), (4, 4), 4)
CONV = inputs((2, 5, 6, 3), (3, 3, 3, 2))


def changed(i, change, right=linear_backward):
    def backward(dy, x, w, b):
        grads = list(right(dy, x, w, b))
        grads[i] = change(grads[i])
        return tuple(grads)

    return backward


def diagnosis(forward, backward, given):
    report = gradcheck(forward, given, backward)
    assert not report.passed, report
    assert report.diagnosis, report
    return report.diagnosis


def test_what_is_right_passes_in_every_form():
    assert gradcheck(linear, LINEAR, linear_backward).passed
    assert gradcheck(conv, CONV, conv_backward).passed


def test_complex_steps_are_used_where_forward_allows_and_are_exact():
    report = gradcheck(linear, LINEAR, linear_backward)
    assert report.worst.step == 1e-30
    assert report.worst.error < 1e-13
    assert gradcheck(np.abs, inputs(5)[0], lambda dy, x: dy * np.sign(x)).worst.step > 1e-10


@pytest.mark.parametrize(
    ("backward", "expected"),
    [
        (changed(1, np.negative), "w: sign flipped"),
        (changed(0, np.zeros_like), "x: the gradient is zero"),
        (changed(1, lambda g: g / N), f"w: constant factor: backward gives {1 / N:.6g} times the gradient, which is 1 / the batch size"),
        (changed(1, lambda g: g * N), f"w: constant factor: backward gives {N} times the gradient, which is the batch size"),
        (changed(0, lambda g: 2 * g), "x: constant factor: backward gives 2 times the gradient: a term is counted twice"),
        (changed(0, lambda g: g / 2), "x: constant factor: backward gives 0.5 times the gradient: one of two equal terms"),
        (changed(2, lambda g: g / (N * K)), "the number of outputs"),
        (changed(2, lambda g: -1.7 * g), "b: constant factor: backward gives -1.7 times the gradient, with the sign flipped"),
        (changed(0, lambda g: np.roll(g, 1, 1)), "x: the gradient is shifted by 1 along axis 1"),
        (changed(0, lambda g: np.where(np.arange(N)[:, None] == 2, g + 1, g)), "x: only elements with index 2 along axis 0"),
        (changed(0, lambda g: np.where(np.arange(N)[:, None] == N - 1, g, 0.3)), "x: only elements with index 4 along axis 0 (of 5) are right"),
        (changed(1, lambda g: g + 0.1 * LINEAR[1]), "w: a term 0.1 · w too many"),
        (changed(0, lambda g: g - g.mean(0)), "x: missing term: what is missing is the same along axis 0"),
        (changed(0, lambda g: g + 0.3 * np.sin(99 * g)), "x: missing or wrong term: backward points roughly the right way"),
        (changed(0, lambda g: np.cos(99 * g)), "x: no known pattern"),
    ],
)  # fmt: skip
def test_patterns_of_one_input(backward, expected):
    (text,) = diagnosis(linear, backward, LINEAR)
    assert expected in text


def test_several_wrong_inputs_each_get_their_sentence():
    def backward(dy, x, w, b):
        dx, dw, db = linear_backward(dy, x, w, b)
        return -dx, 3 * dw, db

    texts = diagnosis(linear, backward, LINEAR)
    assert [t.split(":")[0] for t in texts] == ["x", "w"]


def test_missing_transpose():
    assert (
        "w: missing transpose: backward gives the gradient with axes 0 and 1 swapped"
        in diagnosis(linear, changed(1, np.transpose), SQUARE)[0]
    )


def test_missing_transpose_of_a_factor():
    def backward(dy, x, w, b):
        return dy @ w, x.T @ dy, dy.sum(0)

    assert "x: missing transpose: something is multiplied by w" in diagnosis(linear, backward, SQUARE)[0]


def test_missing_transpose_seen_by_the_shape():
    assert (
        "w: missing transpose: the gradient has the axes of w in reverse order"
        in diagnosis(linear, changed(1, np.transpose), LINEAR)[0]
    )


def test_bias_summed_over_the_wrong_axis():
    def backward(dy, x, w, b):
        return *linear_backward(dy, x, w, b)[:2], dy.sum(1)

    assert (
        "b: the bias is summed over the wrong axis: dy is summed down to axis 0; sum down to axis 1"
        in diagnosis(linear, backward, SQUARE)[0]
    )
    assert "b: the bias is summed over the wrong axis" in diagnosis(linear, backward, LINEAR)[0]  # another shape


@pytest.mark.parametrize(
    ("db", "expected"),
    [
        (lambda dy: dy, "b: the gradient has dy's shape: sum it"),
        (lambda dy: dy.sum(0, keepdims=True), "b: the right number of elements in the wrong shape"),
        (lambda dy: dy[0], "b: the bias is not summed over axis 0 of dy"),
        (lambda dy: np.full(K, dy.sum()), "b: the bias is summed over every axis"),
    ],
)
def test_bias_summed_in_other_wrong_ways(db, expected):
    def backward(dy, x, w, b):
        return *linear_backward(dy, x, w, b)[:2], db(dy)

    assert expected in diagnosis(linear, backward, LINEAR)[0]


def test_gradients_in_the_wrong_order():
    a, b = inputs((4, 4), (4, 4))
    texts = diagnosis(lambda a, b: a @ b, lambda dy, a, b: (a.T @ dy, dy @ b.T), [a, b])
    assert "a: this is the gradient of b: gradients are returned in the wrong order" in texts[0]


def test_padding_border_only():
    def backward(dy, x, w):
        dx, dw = conv_backward(dy, x, w)
        dx[:, 0] *= 0.5
        dx[:, :, -1] *= 0.5
        return dx, dw

    assert (
        "x: padding border only: right inside, wrong within 1 pixel of the border along axes 1, 2"
        in diagnosis(conv, backward, CONV)[0]
    )


def test_a_filter_turned():
    def backward(dy, x, w):
        dx, dw = conv_backward(dy, x, w)
        return dx, dw[::-1, ::-1]

    assert (
        "w: the gradient comes out reversed along axes 0, 1: a filter is turned by 180°"
        in diagnosis(conv, backward, CONV)[0]
    )


def test_float32_inside():
    def forward(x, w):
        return (x.astype(np.float32) @ w.astype(np.float32)).astype(np.float64)

    texts = diagnosis(forward, lambda dy, x, w: (dy @ w.T, x.T @ dy), LINEAR[:2])
    assert texts[0].startswith("float32 arithmetic inside: as x moves smoothly the output jumps by")


def test_float32_inside_a_scalar_loss():
    def forward(x):
        return np.float64((x.astype(np.float32) ** 2).sum())

    assert "float32 arithmetic inside" in diagnosis(forward, lambda dy, x: 2 * dy * x, LINEAR[0])[0]


def test_randomness_between_calls():
    rng = np.random.default_rng(0)
    mask = {}

    def forward(x):
        mask["now"] = rng.random(x.shape) > 0.5
        return x * mask["now"]

    texts = diagnosis(forward, lambda dy: dy * mask["now"], LINEAR[0])
    assert texts[0].startswith("randomness between calls")


def test_randomness_in_backward_alone():
    rng = np.random.default_rng(0)
    texts = diagnosis(lambda x: 2 * x, lambda dy, x: 2 * dy + 1e-3 * rng.standard_normal(dy.shape), LINEAR[0])
    assert texts[0].startswith("randomness between calls, or something kept")


def test_an_input_modified_in_place():
    def forward(x, w):
        x -= x.mean(0)
        return x @ w

    report = gradcheck(forward, LINEAR[:2], lambda dy, x, w: (dy @ w.T, x.T @ dy))
    assert "forward changes input x in place: x[0, 0] was" in report.failure
    assert report.diagnosis == ["input x is modified in place: write into a new array"]


def test_an_input_or_dy_modified_in_place_by_backward():
    def backward(dy, x, w):
        w *= 2
        return dy @ w.T / 2, x.T @ dy

    assert "input w is modified in place" in diagnosis(lambda x, w: x @ w, backward, LINEAR[:2])[0]

    def careless(dy, x):
        dy *= 2 * x
        return dy

    assert "dy is modified in place" in diagnosis(lambda x: x * x, careless, LINEAR[0])[0]


def test_an_input_that_depends_on_another():
    """mean is passed beside x, and backward sends its share back to x as well."""
    x = LINEAR[0]

    def forward(x, mean):
        return (x - mean) ** 2

    def backward(dy, x, mean):
        dmean = (-2 * dy * (x - mean)).sum(0)
        return 2 * dy * (x - mean) + dmean / len(x), dmean

    texts = diagnosis(forward, backward, [x, x.mean(0)])
    assert texts[0].startswith("x: input mean depends on this one (it is the mean over axis 0 of x)")


def test_tied_inputs():
    """The same array twice, and the gradient of each holds both."""
    x, w = inputs((2, 3), (3, 3))

    def backward(dy, x, a, b):
        hidden = x @ a
        da, db = x.T @ (dy @ b.T), hidden.T @ dy
        return dy @ b.T @ a.T, da + db, db

    texts = diagnosis(lambda x, a, b: x @ a @ b, backward, [x, w, w])
    assert texts[0].startswith("a: input b depends on this one (it is a copy of a)")


def test_missing_accumulation_where_windows_overlap():
    def forward(x, w):
        return np.array([x[i : i + 3] @ w for i in range(len(x) - 2)])

    def backward(dy, x, w):
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for i in range(len(dy)):
            dx[i : i + 3] = dy[i] * w
            dw += dy[i] * x[i : i + 3]
        return dx, dw

    assert "x: missing accumulation" in diagnosis(forward, backward, inputs(9, 3))[0]


def test_missing_accumulation_where_indices_repeat():
    index = np.array([0, 2, 2, 1, 2])

    def backward(dy, x):
        dx = np.zeros_like(x)
        dx[index] += dy  # NumPy adds once per index, not once per occurrence
        return dx

    assert "missing accumulation" in diagnosis(lambda x: x[index], backward, inputs((3, 4)))[0]


def test_a_gradient_that_adds_up_between_calls():
    kept = {"dx": 0.0}

    def backward(dy, x):
        kept["dx"] = kept["dx"] + 2 * dy * x
        return kept["dx"]

    report = gradcheck(lambda x: x * x, LINEAR[0], backward)
    assert "every further backward call with the same inputs adds" in report.failure
    assert "adds up between calls" in report.diagnosis[0]


def test_dy_ignored_or_used_twice():
    assert "dy is ignored" in diagnosis(lambda x: x * x, lambda dy, x: 2 * x, LINEAR[0])[0]
    assert "dy enters twice" in diagnosis(lambda x: x * x, lambda dy, x: 2 * x * dy * dy, LINEAR[0])[0]


def test_a_term_that_dy_does_not_scale():
    report = gradcheck(lambda x: x * x, LINEAR[0], lambda dy, x: 2 * dy * x + 1e-11)
    assert "although dy is zero" in report.failure


def test_a_kink_is_left_out_and_described():
    x = np.array([0.0, 1.0, -2.0, 3.0])
    report = gradcheck(lambda x: np.maximum(x, 0), x, lambda dy, x: dy * (x > 0))
    assert report.passed
    assert report.kinks == 1
    assert "lie on a kink and were left out: at x[0]" in report.notes[0]


def test_only_kinks_show_nothing():
    report = gradcheck(lambda x: np.maximum(x, 0), np.zeros(4), lambda dy, x: 0 * dy)
    assert not report.passed
    assert "nothing was shown" in report.failure


def test_contiguous_memory_taken_for_granted():
    def backward(dy, x):
        return 2 * x * dy.ravel("K").reshape(dy.shape)  # memory order

    report = gradcheck(lambda x: x * x, LINEAR[0], backward)
    assert "with a dy that is not contiguous, input x gets another gradient" in report.failure


def test_not_finite():
    report = gradcheck(lambda x: np.log(np.abs(x) - 9), LINEAR[0], lambda dy, x: dy)
    assert "forward gives NaN" in report.failure
    report = gradcheck(lambda x: x * x, LINEAR[0], lambda dy, x: dy * np.inf)
    assert "the gradient of input x is not finite" in report.failure


def test_a_backward_that_raises_is_a_wrong_gradient():
    report = gradcheck(lambda x: x * x, LINEAR[0], lambda dy, x: dy @ x)
    assert not report.passed
    assert "backward raises ValueError" in report.failure


def test_tiny_gradients_do_not_hide_beside_others():
    """y0 = 10⁶ x, y1 = 10⁻⁶ w: w's gradient is wrong by half, far below any absolute threshold."""

    def forward(x, w):
        return np.stack([1e6 * x, 1e-6 * w])

    right = lambda dy, x, w: (1e6 * dy[0], 1e-6 * dy[1])  # noqa: E731
    assert gradcheck(forward, inputs(3, 3), right).passed
    texts = diagnosis(forward, lambda dy, x, w: (1e6 * dy[0], 0.5e-6 * dy[1]), inputs(3, 3))
    assert "w: constant factor: backward gives 0.5" in texts[0]


def test_the_worst_elements_stand_side_by_side():
    report = gradcheck(linear, LINEAR, changed(1, np.negative))
    assert report.side_by_side[0].input == "w"
    assert report.side_by_side[0].analytic == pytest.approx(-report.side_by_side[0].numeric)
    text = str(report)
    assert "analytic" in text
    assert "→ w: sign flipped" in text
    html = report._repr_html_()
    assert "<table>" in html
    assert "sign flipped" in html
    assert "<table>" not in gradcheck(linear, LINEAR, linear_backward)._repr_html_()


def test_a_large_input_is_moved_as_a_whole():
    """One wrong element among 10,000 is not probed by itself; the directions that move everything see it."""
    x = np.random.default_rng(0).standard_normal(10_000)

    def backward(dy, x):
        dx = 2 * dy * x
        dx[1234] += 5.0 * dy[1234]
        return dx

    assert gradcheck(lambda x: x * x, x, lambda dy, x: 2 * dy * x).passed
    assert not gradcheck(lambda x: x * x, x, backward).passed
