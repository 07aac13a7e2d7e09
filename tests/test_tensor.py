"""Tensor and tape: what a tensor is, and how gradients flow, add up, stop, are freed and are refused."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import weakref

import numpy as np
import pytest

import dlkit
from dlkit import Tensor
from dlkit.backends import use_backend
from dlkit.errors import DTypeError, GradientError, ShapeError, UsageError


@pytest.fixture(autouse=True)
def _reference():
    with use_backend("reference"):
        yield


def leaf(values, dtype=np.float64) -> Tensor:
    return Tensor(np.array(values, dtype), requires_grad=True)


# -- what a tensor is --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"),
        ([1.0, 2.0], "float32"),
        ([1, 2], "int64"),
        (True, "bool"),
        ([[True], [False]], "bool"),
        (np.ones(2), "float64"),
        (np.ones(2, np.float32), "float32"),
        (np.float64(1), "float64"),
        (np.int32(1), "int32"),
    ],
)
def test_dtype_of_what_it_is_made_of(data, dtype):
    assert Tensor(data).dtype == dtype
    assert Tensor(data, dtype=np.float64).dtype == np.float64


def test_shape_size_length():
    x = Tensor(np.zeros((2, 3, 4)))
    assert (x.shape, x.ndim, x.size, len(x)) == ((2, 3, 4), 3, 24, 2)
    assert (Tensor(1.0).shape, Tensor(1.0).size) == ((), 1)
    with pytest.raises(UsageError, match=r"a tensor of shape \(\) has no length"):
        len(Tensor(1.0))


def test_item_and_tolist():
    assert Tensor([[2.5]]).item() == 2.5
    assert type(Tensor([[2.5]]).item()) is float
    assert Tensor([[1, 2]]).tolist() == [[1, 2]]
    with pytest.raises(UsageError, match=r"one element; this one has shape \(2,\)"):
        Tensor([1.0, 2.0]).item()


def test_ragged_rows_are_refused():
    with pytest.raises((DTypeError, ValueError)):
        Tensor([[1.0], [1.0, 2.0]])
    with pytest.raises(DTypeError, match="a tensor is made of numbers"):
        Tensor([{}])


def test_numpy_shares_memory_and_keeps_values():
    a = np.arange(3.0)
    assert np.shares_memory(Tensor(a).numpy(), a)


def test_repr_says_what_it_is():
    x = leaf([1.0, 2.0])
    assert repr(x) == "Tensor([1., 2.], dtype=float64, requires_grad=True)"
    assert repr(x * 2) == "Tensor([2., 4.], dtype=float64, made by multiply)"
    assert repr(x.detach()) == "Tensor([1., 2.], dtype=float64)"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (lambda x, y: x + y, [4, 7]),
        (lambda x, y: x - y, [-2, -3]),
        (lambda x, y: x * y, [3, 10]),
        (lambda x, y: x / y, [1 / 3, 0.4]),
        (lambda x, y: x**y, [1, 32]),
        (lambda x, y: -x, [-1, -2]),
        (lambda x, y: 1 + x, [2, 3]),
        (lambda x, y: 1 - x, [0, -1]),
        (lambda x, y: 3 * x, [3, 6]),
        (lambda x, y: 2 / x, [2, 1]),
        (lambda x, y: 3.0**x, [3, 9]),
        (lambda x, y: x > 1, [False, True]),
        (lambda x, y: x >= 1, [True, True]),
        (lambda x, y: x < 2, [True, False]),
        (lambda x, y: x <= 1, [True, False]),
        (lambda x, y: x[1], 2),
        (lambda x, y: x[::-1], [2, 1]),
        (lambda x, y: x[None].shape == (1, 2), True),
        (lambda x, y: x.reshape(2, 1) @ y.reshape(1, 2), [[3, 5], [6, 10]]),
        (lambda x, y: x.reshape((1, 2)).T, [[1], [2]]),
        (lambda x, y: x.sum(), 3),
        (lambda x, y: x.mean(), 1.5),
        (lambda x, y: x.var(), 0.25),
        (lambda x, y: x.max(), 2),
        (lambda x, y: x.argmax(), 1),
        (lambda x, y: x.clip(1.2, 1.5), [1.2, 1.5]),
        (lambda x, y: (-x).abs(), [1, 2]),
        (lambda x, y: (-x).relu(), [0, 0]),
        (lambda x, y: x.exp().log(), [1, 2]),
        (lambda x, y: (x * x).sqrt(), [1, 2]),
        (lambda x, y: x.sigmoid(), [0.73105858, 0.88079708]),
        (lambda x, y: x.tanh(), [0.76159416, 0.96402758]),
    ],
)
def test_operators_and_methods(expression, expected):
    y = expression(Tensor(np.array([1.0, 2.0])), Tensor(np.array([3.0, 5.0])))
    np.testing.assert_allclose(y.numpy() if isinstance(y, Tensor) else y, expected, rtol=1e-7)


def test_a_python_number_does_not_widen():
    assert (Tensor([1.0]) * 2.5).dtype == np.float32
    assert (2 / Tensor([1.0])).dtype == np.float32
    assert (Tensor([1.0]) * [2.5]).dtype == np.float32


@pytest.mark.parametrize("number", [np.float64(2.5), np.int64(2)], ids=["float64", "int64"])
def test_a_numpy_number_does_not_widen(number):
    assert (Tensor([1.0]) * number).dtype == np.float32


@pytest.mark.parametrize("left", [np.ones(2, np.float32), np.float32(1.0)], ids=["array", "scalar"])
def test_numpy_on_the_left(left):
    y = left * Tensor([1.0, 2.0])
    assert isinstance(y, Tensor)
    assert y.tolist() == [1.0, 2.0]


def test_iteration_gives_the_rows():
    assert [row.tolist() for row in Tensor([[1.0, 2.0], [3.0, 4.0]])] == [[1.0, 2.0], [3.0, 4.0]]


def test_truth_of_one_element_is_its_value():
    assert bool(Tensor(1.0) > 0.0)
    assert not bool(Tensor([0.0]))


# -- gradients add up --------------------------------------------------------------------------------------


def test_scalar_backward_starts_from_one():
    x = leaf([1.0, -2.0])
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, -4.0])


def test_gradients_accumulate_over_calls():
    x = leaf([1.0, 2.0])
    (3 * x).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [5.0, 7.0])
    np.testing.assert_array_equal(first.numpy(), [3.0, 3.0], "the first gradient is not overwritten")
    x.grad = None
    (3 * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 3.0])


def test_an_input_used_twice_receives_both():
    x = leaf([2.0, 3.0])
    (x * x + x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [5.0, 7.0])


def test_diamond_is_walked_once():
    """x → a → (b, c) → d: a's backward runs once, on the sum of what b and c hand back."""
    x = leaf(1.5)
    a = x * x
    calls = []
    a.register_hook(lambda g: calls.append(g.item()))
    (a * 3.0 + a.exp()).backward()
    assert calls == [pytest.approx(3 + np.exp(2.25))]
    assert x.grad.item() == pytest.approx((3 + np.exp(2.25)) * 3.0)


def test_diamonds_in_a_row_do_not_multiply_the_work():
    """2^60 paths, 60 · 1 visits."""
    x = leaf(1.0)
    y = x
    visits = []
    for _ in range(60):
        y = (y + y) * 0.5
        y.register_hook(lambda g: visits.append(1))
    y.backward()
    assert x.grad.item() == 1.0
    assert len(visits) == 60


def test_only_the_part_that_feeds_the_output_is_walked():
    x = leaf(2.0)
    a = x * 3.0
    seen = []
    other = a * 5.0
    other.register_hook(lambda g: seen.append(1))
    (a * 1.0).backward()
    assert seen == []
    assert x.grad.item() == 3.0


@pytest.mark.parametrize(
    ("x", "c"), [((3,), (2, 3)), ((2, 1), (2, 3)), ((1, 1), (4, 2, 3)), ((), (2, 3)), ((1, 3), (2, 3))]
)
@pytest.mark.parametrize(
    "f", [lambda a, b: a + b, lambda a, b: b * a, lambda a, b: b - a, lambda a, b: b / a], ids=["+", "*", "-", "/"]
)
def test_broadcasting_sums_back(x, c, f):
    rng = np.random.default_rng(3)
    a, b = leaf(rng.random(x) + 1), leaf(rng.random(c) + 1)
    dy = rng.standard_normal(c)
    f(a, b).backward(dy)
    wide = leaf(np.broadcast_to(a.numpy(), c))
    f(wide, b.detach()).backward(dy)
    assert a.grad.shape == x
    assert b.grad.shape == c
    lead = len(c) - len(x)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(x) if n == 1)
    np.testing.assert_allclose(a.grad.numpy(), wide.grad.numpy().sum(axes).reshape(x), rtol=1e-12)


def test_backward_with_an_upstream_gradient():
    for dy in (np.array([1.0, 10.0]), [1.0, 10.0], Tensor(np.array([1.0, 10.0]))):
        x = leaf([1.0, 2.0])
        (x * x).backward(dy)
        np.testing.assert_array_equal(x.grad.numpy(), [2.0, 40.0])


def test_backward_of_a_leaf_is_the_upstream_gradient():
    x = leaf(3.0)
    x.backward()
    assert x.grad.item() == 1.0


def test_integer_inputs_beside_float_ones():
    x = leaf([1.0, 2.0])
    (x * Tensor([3, 4])).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 4.0])


# -- where gradients stop ----------------------------------------------------------------------------------


def test_detach_cuts_and_shares():
    x = leaf([1.0, 2.0])
    y = x * x
    cut = y.detach()
    assert not cut.requires_grad
    assert cut.is_leaf
    assert np.shares_memory(cut.data, y.data)
    (x * cut).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1.0, 4.0])


def test_no_grad_records_nothing_and_ends():
    x = leaf([1.0])
    with dlkit.no_grad():
        assert not (x * 2.0).requires_grad
        with dlkit.no_grad():
            pass
        assert not (x * 2.0).requires_grad
    assert (x * 2.0).requires_grad
    with pytest.raises(RuntimeError), dlkit.no_grad():
        raise RuntimeError
    assert (x * 2.0).requires_grad


def test_no_grad_as_a_decorator():
    @dlkit.no_grad()
    def double(x):
        return x * 2.0

    assert not double(leaf([1.0])).requires_grad
    assert not double(leaf([1.0])).requires_grad


def test_constants_record_nothing():
    y = Tensor([1.0]) * Tensor([2.0])
    assert y.is_leaf
    assert not y.requires_grad


def test_require_grad_switches_a_leaf():
    x = Tensor([1.0])
    assert x.require_grad() is x
    assert (x * 2.0).requires_grad
    x.require_grad(False)
    assert not (x * 2.0).requires_grad


# -- grad() ------------------------------------------------------------------------------------------------


def test_grad_touches_no_grad():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    x.grad = before = Tensor(np.array([9.0, 9.0]))
    y = (x * w).sum()
    dw, dx = dlkit.grad(y, [w, x])
    np.testing.assert_array_equal(dw.numpy(), [1.0, 2.0])
    np.testing.assert_array_equal(dx.numpy(), [3.0, 4.0])
    assert x.grad is before
    assert w.grad is None
    np.testing.assert_array_equal(before.numpy(), [9.0, 9.0])
    y.backward()  # the graph is still there


def test_grad_of_what_does_not_feed_the_output():
    x, w = leaf(1.0), leaf(1.0)
    y = x * 2.0
    with pytest.raises(GradientError, match="input 1: it does not feed it"):
        dlkit.grad(y, [x, w])
    with pytest.raises(GradientError, match="input 0: it is not a leaf with requires_grad=True"):
        dlkit.grad(y, [Tensor(1.0)])
    with pytest.raises(GradientError, match="input 0: it is not a leaf"):
        dlkit.grad(y * 1.0, [y])


# -- the derivative of the derivative ----------------------------------------------------------------------


def test_derivatives_of_x_cubed():
    x = leaf([2.0, -3.0])
    y = x**3
    (d1,) = dlkit.grad(y.sum(), [x], create_graph=True)
    (d2,) = dlkit.grad(d1.sum(), [x], create_graph=True)
    (d3,) = dlkit.grad(d2.sum(), [x], create_graph=True)
    np.testing.assert_allclose(d1.numpy(), [12.0, 27.0])
    np.testing.assert_allclose(d2.numpy(), [12.0, -18.0])
    np.testing.assert_allclose(d3.numpy(), [6.0, 6.0])
    assert x.grad is None


def test_backward_with_create_graph():
    x = leaf(2.0)
    (x * x * x).backward(create_graph=True)
    first, x.grad = x.grad, None
    assert first.item() == 12.0
    first.backward()
    assert x.grad.item() == 12.0


def test_gradient_penalty():
    """d/dw of |df/dx|², where f = Σ tanh(x w): against central differences."""
    rng = np.random.default_rng(5)
    x0, w0 = rng.standard_normal((3, 2)), rng.standard_normal((2, 4))

    def penalty(w: np.ndarray, differentiate: bool = False):
        x, weights = leaf(x0), leaf(w)
        (dx,) = dlkit.grad((x @ weights).tanh().sum(), [x], create_graph=True)
        p = (dx * dx).sum()
        if differentiate:
            p.backward()
            return weights.grad.numpy()
        return p.item()

    numeric = np.zeros_like(w0)
    for i in np.ndindex(*w0.shape):
        step = np.zeros_like(w0)
        step[i] = 1e-5
        numeric[i] = (penalty(w0 + step) - penalty(w0 - step)) / 2e-5
    np.testing.assert_allclose(penalty(w0, True), numeric, rtol=1e-6)


def test_an_op_without_second_derivative_is_named():
    x = leaf(np.ones((1, 2, 2, 1)))
    y = dlkit.max_pool2d(x * x, 2).sum()
    with pytest.raises(GradientError, match="op 'max_pool2d' has no second derivative"):
        dlkit.grad(y, [x], create_graph=True)


# -- hooks -------------------------------------------------------------------------------------------------


def test_hook_on_a_leaf_replaces_its_gradient():
    x = leaf([1.0, 2.0])
    remove = x.register_hook(lambda g: g * 10.0)
    (3 * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [30.0, 30.0])
    remove()
    x.grad = None
    (3 * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 3.0])


def test_hook_on_a_leaf_sees_the_sum_of_its_uses_once():
    x = leaf(2.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * x + 3 * x).backward()
    assert seen == [7.0]


def test_hook_in_the_middle_replaces_what_flows_on():
    x = leaf(2.0)
    y = x * 3.0
    order = []
    y.register_hook(lambda g: order.append(("first", g.item())))
    y.register_hook(lambda g: g * 0.5)
    y.register_hook(lambda g: order.append(("third", g.item())))
    (y * 4.0).backward()
    assert order == [("first", 4.0), ("third", 2.0)]
    assert x.grad.item() == 6.0


def test_hook_in_the_middle_under_create_graph():
    x = leaf(2.0)
    y = x * x
    y.register_hook(lambda g: g * 3.0)
    (d1,) = dlkit.grad(y * y, [x], create_graph=True)
    (d2,) = dlkit.grad(d1, [x])
    assert d1.item() == pytest.approx(3 * 2 * 4 * 4)  # 3 · 2y · 2x = 12 y x
    assert d2.item() == pytest.approx(12 * 4 + 3 * 12 * 2 * 4)  # what flows through y meets the hook again


def test_hook_needs_a_gradient_to_wait_for():
    with pytest.raises(GradientError, match="would never be called"):
        Tensor(1.0).register_hook(lambda g: None)


def test_retain_grad_keeps_an_intermediate_gradient():
    x = leaf([1.0, 2.0])
    y = x * 3.0
    z = y * y
    assert y.retain_grad() is y
    z.sum().backward()
    np.testing.assert_array_equal(y.grad.numpy(), [6.0, 12.0])
    assert z.grad is None
    assert x.retain_grad().grad is not None


# -- the graph is freed ------------------------------------------------------------------------------------


def test_the_graph_is_freed_as_backward_proceeds():
    """When backward reaches the first op, what the later ones kept is gone already."""
    x = leaf(np.ones(4))
    first = x * 2.0
    chain, kept = first, []
    for _ in range(5):
        chain = chain.exp()
        kept.append((weakref.ref(chain), weakref.ref(chain.data)))
    alive = []
    first.register_hook(lambda g: alive.extend(r() is not None for pair in kept for r in pair))
    y = chain.sum()
    del chain
    y.backward()
    assert len(alive) == 10
    assert not any(alive), alive


def test_retain_graph_keeps_it():
    x = leaf(np.ones(4))
    middle = x.exp()
    kept = weakref.ref(middle.data)
    y = middle.exp().sum()
    del middle
    y.backward(retain_graph=True)
    assert kept() is not None
    y.backward()
    assert kept() is None
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp(1) * np.exp(np.exp(1)))


def test_a_dropped_graph_needs_no_garbage_collector():
    gc.disable()
    try:
        x = leaf(np.ones(4))
        middle = x.exp()
        kept = weakref.ref(middle.data)
        y = middle.exp().sum()
        del middle, y
        assert kept() is None
    finally:
        gc.enable()


def test_backward_twice_says_what_to_do():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward()
    with pytest.raises(GradientError, match="call that one with retain_graph=True"):
        y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 4.0])


def test_backward_into_a_freed_part_says_so_before_changing_anything():
    x = leaf(2.0)
    shared = x * x
    (shared * 2.0).backward()
    x.grad = None
    with pytest.raises(GradientError, match="retain_graph=True"):
        (shared * 3.0 + x).backward()
    assert x.grad is None


def test_a_deep_chain_needs_no_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(5000):
        y = y * 1.0 + 0.0
    y.backward()
    assert x.grad.item() == 1.0


def test_a_deep_chain_can_be_dropped():
    x = leaf(1.0)
    y = x
    for _ in range(5000):
        y = y * 1.0
    del y
    gc.collect()
    assert x.grad is None


def test_a_deep_chain_can_be_differentiated_twice():
    x = leaf(1.0)
    y = x * x
    for _ in range(300):
        y = y * 1.0
    (d1,) = dlkit.grad(y, [x], create_graph=True)
    (d2,) = dlkit.grad(d1, [x])
    assert (d1.item(), d2.item()) == (2.0, 2.0)


# -- refusals ----------------------------------------------------------------------------------------------


def test_backward_of_a_vector_needs_dy():
    x = leaf([1.0, 2.0])
    with pytest.raises(GradientError, match=r"a tensor of shape \(2,\) needs its upstream gradient"):
        (x * x).backward()
    with pytest.raises(ShapeError, match=r"gradient has shape \(3,\), expected the output's shape \(2,\)"):
        (x * x).backward(np.ones(3))
    with pytest.raises(ShapeError, match="upstream gradient has shape"):
        (x * x).backward(np.ones((1, 2)))


def test_backward_of_a_constant():
    with pytest.raises(GradientError, match="does not depend on anything with requires_grad=True"):
        (Tensor(1.0) * 2.0).backward()


def test_requires_grad_wants_floats_and_leaves():
    with pytest.raises(DTypeError, match="only float tensors have gradients; this one is int64"):
        Tensor([1, 2], requires_grad=True)
    with pytest.raises(GradientError, match="on leaves only"):
        (leaf(1.0) * 2.0).require_grad()


def test_dtypes_do_not_mix():
    with pytest.raises(DTypeError, match=r"add: inputs are float32 and float64; convert one with .astype"):
        Tensor([1.0]) + Tensor(np.ones(1))


def test_astype_carries_gradients_back():
    x = leaf([1.0, 2.0], np.float32)
    y = x.astype(np.float64)
    assert y.dtype == np.float64
    (y * y).sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 4.0])


def test_a_cast_to_integers_has_no_gradient():
    assert not leaf([1.0]).astype(np.int64).requires_grad


def test_an_upstream_gradient_of_another_dtype_is_refused():
    x = leaf([1.0, 2.0], np.float32)
    with pytest.raises(DTypeError, match="upstream gradient is float64, expected the output's float32"):
        (x * 2.0).backward(Tensor(np.ones(2)))


# -- split -------------------------------------------------------------------------------------------------


def test_split_is_the_inverse_of_concat():
    x = leaf(np.arange(12.0).reshape(2, 6))
    a, b, c = dlkit.split(x, [1, 2, 3])
    np.testing.assert_array_equal(dlkit.concat(a, b, c).numpy(), x.numpy())
    (a.sum() + 2 * b.sum() + 3 * c.sum()).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[1, 2, 2, 3, 3, 3]] * 2)
    assert [p.shape for p in dlkit.split(x, 2, axis=0)] == [(1, 6), (1, 6)]
    with pytest.raises(ShapeError, match="does not divide into 4 equal pieces"):
        dlkit.split(x, 4)
    with pytest.raises(ShapeError, match=r"add up to 5, the axis has 6"):
        dlkit.split(x, [2, 3])


def test_second_derivatives_tell_a_tensor_from_its_detached_self():
    x = leaf([3.0])
    y = (x.detach() * x).sum()
    (g,) = dlkit.grad(y, [x], create_graph=True)
    with pytest.raises(GradientError):  # g = 3, a constant
        dlkit.grad(g.sum(), [x])
    shared = np.array([2.0])
    a, b = Tensor(shared, requires_grad=True), Tensor(shared, requires_grad=True)
    (da,) = dlkit.grad((a * a * b).sum(), [a], create_graph=True)
    (dab,) = dlkit.grad(da.sum(), [b])
    assert dab.item() == 4.0  # d²(a²b) / da db = 2a


def test_no_grad_in_one_thread_leaves_others_recording():
    import threading

    inside, done = threading.Event(), threading.Event()

    def look():
        with dlkit.no_grad():
            inside.set()
            done.wait(10)

    thread = threading.Thread(target=look)
    thread.start()
    inside.wait(10)
    x = leaf([2.0])
    assert (x * x).requires_grad
    done.set()
    thread.join()
    assert (x * x).requires_grad


@pytest.mark.parametrize("mask", [np.array([True, False]), np.ones(6, bool), np.ones((1, 5), bool)])
def test_a_mask_of_another_shape_is_refused(mask):
    with pytest.raises(ShapeError, match="index does not fit shape"):
        Tensor(np.arange(5.0))[mask]


def test_whole_number_targets_do_not_widen_the_loss():
    x = leaf([0.5, -0.5], np.float32)
    loss = dlkit.binary_cross_entropy_with_logits(x, np.array([0, 1]))
    loss.backward()
    assert loss.dtype == x.grad.dtype == np.float32


def test_create_graph_records_also_inside_no_grad():
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    y, z = (x * x * x).sum(), (x * x * x).sum()
    with dlkit.no_grad():
        (g,) = dlkit.grad(y, [x], create_graph=True)
        z.backward(create_graph=True)
        assert not (x * 2).requires_grad
    np.testing.assert_allclose(dlkit.grad(g.sum(), [x])[0].numpy(), [6, 12])
    np.testing.assert_allclose(dlkit.grad(x.grad.sum(), [x])[0].numpy(), [6, 12])


def test_gradients_share_no_memory():
    a, b, c, dy = (Tensor(np.ones(3), requires_grad=n < 3) for n in range(4))
    ((a + b) + c.reshape(3)).backward(dy)
    d = Tensor(np.ones(3), requires_grad=True)
    d.backward(dy)
    for x in (a, b, c, d):
        x.grad.numpy()[:] = 0
        for other in (a, b, c, d):
            np.testing.assert_array_equal(other.grad.numpy(), 0 if other is x else 1)
        np.testing.assert_array_equal(dy.numpy(), 1)
        x.grad.numpy()[:] = 1


def test_threads_add_to_one_leaf_without_losing_a_gradient():
    x, before = Tensor(np.zeros(3), requires_grad=True), sys.getswitchinterval()

    def work():
        for _ in range(500):
            (x * 1.0).sum().backward()

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    np.testing.assert_array_equal(x.grad.numpy(), 2000)


def test_copies_hold_values_not_history():
    x = Tensor(np.ones(2), requires_grad=True)
    y = x
    for _ in range(5000):
        y = y * 1.0
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(GradientError, match="detach"):
            copied(y)
        copied(y.detach())
    again = pickle.loads(pickle.dumps(x))
    assert again.requires_grad
    np.testing.assert_array_equal(again.numpy(), x.numpy())


def test_numbers_of_other_machines():
    for kind in (">f4", ">i8"):
        x = Tensor(np.arange(3).astype(kind))
        assert x.dtype.isnative
        np.testing.assert_array_equal(x.numpy(), [0, 1, 2])


def test_indices_as_in_numpy():
    x = np.arange(6.0).reshape(2, 3)
    for index in (np.array(True), np.array(False), [], ([], 1), True):
        np.testing.assert_array_equal(Tensor(x)[index].numpy(), x[index])


def test_a_python_float_makes_whole_numbers_float32():
    i = Tensor([1, 2, 300])
    for y in (i + 1.5, i * 0.5, 0.5 - i, i / 2, dlkit.maximum(i, 2.5), dlkit.where(i > 1, i, 0.5), i.clip(0, 2.5)):
        assert y.dtype == np.float32
    np.testing.assert_array_equal((i * 0.5).numpy(), [0.5, 1, 150])
    for y, expected in (
        (i * 2, [2, 4, 600]),
        (i.clip(2, np.inf), [2, 2, 300]),
        (dlkit.where(i > 1, i, 7), [7, 2, 300]),
    ):
        assert y.dtype == np.int64
        np.testing.assert_array_equal(y.numpy(), expected)
    small = Tensor(np.array([1, 200], np.uint8)).clip(-5, 100)
    assert small.dtype == np.uint8
    np.testing.assert_array_equal(small.numpy(), [1, 100])
