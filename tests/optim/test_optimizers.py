"""Optimisers against the update rules of their papers, written out here in float64."""

import numpy as np
import pytest

from dlkit import Tensor, nn
from dlkit.errors import CheckpointError, ConfigError
from dlkit.optim import OPTIMIZERS, SGD, Adam, AdamW, RMSprop, clip_gradients


def run(make, steps=5, shape=(3, 4), dtype=np.float64):
    """Parameter values after some steps on the same made-up gradients."""
    rng = np.random.default_rng(7)
    p = nn.Parameter(rng.standard_normal(shape).astype(dtype))
    optimizer = make([p])
    values = [p.numpy().copy()]
    for _ in range(steps):
        p.grad = Tensor(rng.standard_normal(shape).astype(dtype))
        optimizer.step()
        values.append(p.numpy().copy())
    return values


def replay(update, steps=5, shape=(3, 4)):
    rng = np.random.default_rng(7)
    p = rng.standard_normal(shape)
    state: dict = {}
    values = [p.copy()]
    for t in range(1, steps + 1):
        p = update(p, rng.standard_normal(shape), state, t)
        values.append(p.copy())
    return values


def sgd(p, g, state, t, lr=0.1, momentum=0.0, nesterov=False, decay=0.0):
    g = g + decay * p
    v = state["v"] = momentum * state.get("v", 0) + g
    return p - lr * (g + momentum * v if nesterov else v)


def rmsprop(p, g, state, t, lr=0.01, rho=0.9, eps=1e-8, momentum=0.0):
    s = state["s"] = rho * state.get("s", 0) + (1 - rho) * g * g
    v = state["v"] = momentum * state.get("v", 0) + g / (np.sqrt(s) + eps)
    return p - lr * v


def adam(p, g, state, t, lr=0.01, b1=0.9, b2=0.999, eps=1e-8, l2=0.0, decoupled=0.0):
    g = g + l2 * p
    m = state["m"] = b1 * state.get("m", 0) + (1 - b1) * g
    v = state["v"] = b2 * state.get("v", 0) + (1 - b2) * g * g
    step = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    return p - lr * (step + decoupled * p)


CASES = {
    "sgd": (lambda p: SGD(p, 0.1), lambda *a: sgd(*a)),
    "sgd-decay": (lambda p: SGD(p, 0.1, weight_decay=0.2), lambda *a: sgd(*a, decay=0.2)),
    "momentum": (lambda p: SGD(p, 0.1, 0.9), lambda *a: sgd(*a, momentum=0.9)),
    "nesterov": (lambda p: SGD(p, 0.1, 0.9, True, 0.1), lambda *a: sgd(*a, momentum=0.9, nesterov=True, decay=0.1)),
    "rmsprop": (lambda p: RMSprop(p, 0.01), lambda *a: rmsprop(*a)),
    "rmsprop-momentum": (lambda p: RMSprop(p, 0.01, momentum=0.8), lambda *a: rmsprop(*a, momentum=0.8)),
    "adam": (lambda p: Adam(p, 0.01), lambda *a: adam(*a)),
    "adam-l2": (lambda p: Adam(p, 0.01, weight_decay=0.3), lambda *a: adam(*a, l2=0.3)),
    "adamw": (lambda p: AdamW(p, 0.01, weight_decay=0.3), lambda *a: adam(*a, decoupled=0.3)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_update_rule(case, dtype):
    make, update = CASES[case]
    for ours, formula in zip(run(make, dtype=dtype), replay(update)):
        np.testing.assert_allclose(
            ours, formula, rtol=2e-5 if dtype == np.float32 else 1e-10, atol=1e-6 if dtype == np.float32 else 0
        )


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_every_optimizer_finds_the_bottom_of_a_bowl(name):
    p = nn.Parameter(np.array([[3.0, -2.0]]))
    optimizer = OPTIMIZERS[name]([p], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
    assert np.abs(p.numpy()).max() < 0.1


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_state_round_trip_continues_exactly(name):
    def go(interrupt):
        rng = np.random.default_rng(0)
        p = nn.Parameter(rng.standard_normal((4, 3)).astype(np.float32))
        optimizer = OPTIMIZERS[name]([p], lr=0.01)
        for i in range(6):
            if interrupt and i == 3:
                saved, values = optimizer.state_dict(), p.numpy().copy()
                p = nn.Parameter(values)
                optimizer = OPTIMIZERS[name]([p], lr=0.01)
                optimizer.load_state_dict(saved)
            p.grad = Tensor(rng.standard_normal((4, 3)).astype(np.float32))
            optimizer.step()
        return p.numpy()

    np.testing.assert_array_equal(go(False), go(True))


def test_weight_decay_spares_biases():
    bias = nn.Parameter(np.ones(3))
    bias.grad = Tensor(np.zeros(3))
    SGD([bias], 0.1, weight_decay=0.5).step()
    np.testing.assert_array_equal(bias.numpy(), 1)


def test_a_parameter_without_gradient_stays():
    p = nn.Parameter(np.ones((2, 2)))
    Adam([p]).step()
    np.testing.assert_array_equal(p.numpy(), 1)


def test_state_of_another_optimizer_is_refused():
    p = nn.Parameter(np.ones((2, 2)))
    p.grad = Tensor(np.ones((2, 2)))
    adam_ = Adam([p])
    adam_.step()
    with pytest.raises(CheckpointError, match="does not belong to SGD"):
        SGD([p], 0.1, 0.9).load_state_dict(adam_.state_dict())


def test_clipping_scales_all_gradients_together():
    a, b = nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros((1, 1)))
    a.grad, b.grad = Tensor(np.array([3.0, 0.0])), Tensor(np.array([[4.0]]))
    assert clip_gradients([a, b], 1.0) == pytest.approx(5.0)
    np.testing.assert_allclose(a.grad.numpy(), [0.6, 0])
    np.testing.assert_allclose(b.grad.numpy(), [[0.8]])
    clip_gradients([a, b], 10.0)
    np.testing.assert_allclose(a.grad.numpy(), [0.6, 0])  # small enough already


@pytest.mark.parametrize(
    "make",
    [
        lambda p: SGD(p, -1.0),
        lambda p: SGD(p, float("nan")),
        lambda p: SGD(p, 0.1, 1.0),
        lambda p: Adam(p, betas=(0.9, 1.5)),
        lambda p: Adam(p, weight_decay=-1),
        lambda p: SGD([], 0.1),
    ],
)
def test_nonsense_is_refused(make):
    with pytest.raises(ConfigError):
        make([nn.Parameter(np.zeros(2))])


def test_any_collection_of_parameters_trains_each_once():
    p = nn.Parameter(np.ones(1))
    p.grad = Tensor(np.ones(1))
    SGD((q for q in (p, p)), 0.25).step()
    assert p.numpy()[0] == 0.75


def test_a_refused_state_leaves_the_optimizer_as_it_was():
    p = nn.Parameter(np.ones((2, 2)))
    optimizer = Adam([p])
    p.grad = Tensor(np.ones((2, 2)))
    optimizer.step()
    before = optimizer.state_dict()
    for bad in (
        {"steps": np.array(9), "-1.m": np.ones((2, 2))},
        {"0.m": np.ones((2, 2))},
        {"steps": np.array(9), "x.m": np.ones(4)},
    ):
        with pytest.raises(CheckpointError):
            optimizer.load_state_dict(bad)
    after = optimizer.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_parameter_owns_its_numbers():
    w = np.ones((2, 2))
    w.setflags(write=False)
    p = nn.Parameter(w)
    p.grad = Tensor(np.ones((2, 2)))
    SGD([p], 0.5).step()
    assert (w == 1).all()
    assert (p.numpy() == 0.5).all()


def grouped(make, lrs, steps=4, start=0, without=()):
    """Values of two parameters with these rates after some steps; the second gets no gradient before step `start` nor in
    those of `without`."""
    rng = np.random.default_rng(3)
    ps = [nn.Parameter(rng.standard_normal((3, 4))) for _ in lrs]
    optimizer = make(ps)
    gs = rng.standard_normal((steps, 2, 3, 4))
    for t in range(steps):
        ps[0].grad = Tensor(gs[t, 0])
        ps[1].grad = Tensor(gs[t, 1]) if t >= start and t not in without else None
        optimizer.step()
    alone = []
    for i, turns in ((0, range(steps)), (1, [t for t in range(start, steps) if t not in without])):
        rng = np.random.default_rng(3)
        p = nn.Parameter([rng.standard_normal((3, 4)) for _ in lrs][i])
        single = type(optimizer)([p], lr=lrs[i])
        for t in turns:
            p.grad = Tensor(gs[t, i])
            single.step()
        alone.append(p.numpy())
    return optimizer, [p.numpy() for p in ps], alone


@pytest.mark.parametrize("cls", [SGD, RMSprop, Adam, AdamW])
def test_groups_have_rates_of_their_own(cls):
    _, together, alone = grouped(lambda ps: cls([ps[0], {"params": ps[1:], "lr": 0.002}], lr=0.02), [0.02, 0.002])
    for a, b in zip(together, alone):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("cls", [SGD, RMSprop, Adam])
def test_a_parameter_that_joins_late_begins_as_if_alone(cls):
    """Adam's correction of the first steps is for each parameter's own first steps."""
    optimizer, together, alone = grouped(lambda ps: cls(ps, lr=0.02), [0.02, 0.02], steps=6, start=3)
    for a, b in zip(together, alone):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    if cls is Adam:
        again = cls(optimizer.parameters, lr=0.02)
        again.load_state_dict(optimizer.state_dict())
        assert (again.steps, again.idle) == (6, [0, 3])


@pytest.mark.parametrize("cls", [SGD, RMSprop, Adam, AdamW])
def test_a_step_without_a_gradient_does_not_count(cls):
    """Heads that are trained in turn: each goes on as if it were alone, also after its state was saved."""
    optimizer, together, alone = grouped(lambda ps: cls(ps, lr=0.02), [0.02, 0.02], steps=8, start=1, without=(3, 4, 6))
    for a, b in zip(together, alone):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    assert optimizer.state_dict().keys() == {"steps", *(f"{i}.{s}" for i in (0, 1) for s in optimizer.slots)} | (
        {"1.idle"} if optimizer.counts_steps else set()
    )
    again = cls(optimizer.parameters, lr=0.02)
    again.load_state_dict(optimizer.state_dict())
    assert again.state_dict().keys() == optimizer.state_dict().keys()
    if optimizer.counts_steps:
        again = cls(optimizer.parameters, lr=0.02)
        again.load_state_dict(optimizer.state_dict())
        assert again.idle == optimizer.idle == [0, 4]


def test_equal_rates_are_one_kernel_call_and_others_one_for_each_rate():
    from dlkit import trace

    for rates, calls in (((0.1, 0.1, 0.1), 1), ((0.1, 0.01, 0.1), 2), ((0.1, 0.01, 0.001), 3)):
        ps = [nn.Parameter(np.ones((2, 2), np.float32)) for _ in rates]
        optimizer = Adam([{"params": [p], "lr": rate} for p, rate in zip(ps, rates)], lr=0.1)
        for p in ps:
            p.grad = Tensor(np.ones((2, 2), np.float32))
        with trace() as seen:
            optimizer.step()
        assert sum("adam_step" in str(call) for call in seen) == calls


def test_a_new_rate_keeps_the_ratio_of_the_groups():
    ps = [nn.Parameter(np.zeros(1)) for _ in range(2)]
    optimizer = SGD([ps[0], {"params": [ps[1]], "lr": 0.01}], lr=0.1)
    optimizer.lr = 1.0
    for p in ps:
        p.grad = Tensor(np.ones(1))
    optimizer.step()
    assert [p.numpy()[0] for p in ps] == pytest.approx([-1.0, -0.1])


@pytest.mark.parametrize("lr", [-1.0, float("nan")])
def test_wrong_rates_of_groups_are_refused(lr):
    p = nn.Parameter(np.zeros(1))
    with pytest.raises(ConfigError, match="of a group must be a finite number"):
        SGD([{"params": [p], "lr": lr}], lr=0.1)
    with pytest.raises(ConfigError, match="two groups"):
        SGD([{"params": [p], "lr": 0.2}, p], lr=0.1)
