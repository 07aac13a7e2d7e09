"""What is wrong with a wrong gradient: patterns that mistakes leave behind, each recognised from the numbers alone.

The wrong gradient A and the right one N (by differences) are compared whole, for one random dy: is A = -N, A = c N, A = N
with two axes swapped, right but for the border, ...? Every pattern is one function that returns a sentence or "".
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from dlkit.gradients.compare import Comparison
from dlkit.gradients.numeric import Probe, Problem, Settings, central, typical_size

SECONDS = 2.0  # that whole numeric gradients may take: a diagnosis is worth no longer wait
LIKE = 1e-3  # two arrays are alike within this share of the largest element


@dataclass
class Case:
    """One input whose gradient is wrong: its array, backward's gradient, the numeric one, dy, and all the others."""

    name: str
    x: np.ndarray
    analytic: np.ndarray
    numeric: np.ndarray
    dy: np.ndarray
    problem: Problem
    others: dict[str, tuple[np.ndarray, np.ndarray]]  # name -> (analytic, numeric) of every input


def diagnose(problem: Problem, found: list[Comparison], dy: np.ndarray, settings: Settings) -> list[str]:
    """One sentence for what is wrong with the call, or else one for each input whose gradient is wrong."""
    for whole in (float32_inside, lambda p, dy: dy_misused(p, found, dy)):
        if text := whole(problem, dy):
            return [text]
    wrong = [c for c in found if c.errors().max() > settings.tolerance]
    wrong_first = sorted(found, key=lambda c: c.errors().max() <= settings.tolerance)
    gradients = _whole_gradients(problem, wrong_first, dy, settings.step)
    texts = []
    for c in wrong:
        if c.input not in gradients:
            texts.append(_by_probes(c))
            continue
        a, n = gradients[c.input]
        case = Case(c.input, problem.inputs[c.input], a, n, dy, problem, gradients)
        texts.append(f"{c.input}: " + next(text for pattern in PATTERNS if (text := pattern(case))))
    return texts


def _whole_gradients(
    problem: Problem, found: list[Comparison], dy: np.ndarray, step: float
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """name -> (analytic, numeric) of as many inputs as can be had in SECONDS, the first ones first."""
    began = time.perf_counter()
    problem.forward(problem.inputs)
    each = 2 * (time.perf_counter() - began)
    gradients, left = {}, SECONDS
    for c in found:
        left -= each * c.gradients[0].size
        if left < 0:
            break
        gradients[c.input] = c.gradients[0], numeric_gradient(problem, c.input, dy, step)
    return gradients


def numeric_gradient(problem: Problem, name: str, dy: np.ndarray, step: float) -> np.ndarray:
    """The whole gradient of Σ dy · forward by central differences."""
    x = problem.inputs[name]
    out = np.empty(x.shape)
    typical = typical_size(x)
    for index in np.ndindex(x.shape):
        probe = Probe(name, index)
        out[index] = (central(problem, probe, step * probe.size(x, typical)) * dy).sum()
    return out


def alike(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max(initial=0.0) <= LIKE * np.abs(b).max(initial=0.0))


MISSING_ACCUMULATION = (
    "missing accumulation: what several outputs send back to one element is not added up; where windows or repeated indices "
    "overlap, use += (np.add.at for index arrays), not ="
)


# -- the whole call ----------------------------------------------------------------------------------------


def float32_inside(problem: Problem, dy: np.ndarray) -> str:
    """float64 goes in, but along a line of 33 close points the output is rough: a smooth function's second differences
    vanish there, one with a corner has a few, numbers rounded to float32 have them nearly everywhere."""
    rng = np.random.default_rng(0)
    for name, x in problem.inputs.items():
        if not x.size:
            continue
        probe = Probe(name, (), rng.choice([-1.0, 1.0], x.shape) / np.sqrt(x.size))
        reach = 5e-7 * typical_size(x) * np.sqrt(x.size)
        points = np.stack([problem.forward(probe.moved(problem.inputs, t)) for t in np.linspace(-reach, reach, 33)])
        bends = np.abs(points[2:] - 2 * points[1:-1] + points[:-2]).reshape(31, -1).max(axis=1, initial=0.0)
        size = np.abs(points).max(initial=0.0)
        if (bends > 1e-10 * size).mean() > 0.25:
            return (
                f"float32 arithmetic inside: as {name} moves smoothly the output jumps by {bends.max() / size:.0e} of its size; "
                "compute in the inputs' own type (look for float32, astype, an array made without dtype)"
            )
    return ""


def dy_misused(problem: Problem, found: list[Comparison], dy: np.ndarray) -> str:
    """backward must be linear in dy: scaled with it, and the sum of what each output sends back."""

    def gradient(d: np.ndarray) -> np.ndarray:
        parts = problem.backward(problem.inputs, np.asarray(d))
        return np.concatenate([np.asarray(parts[c.input], np.float64).ravel() for c in found])

    once, twice = gradient(dy), gradient(2.0 * dy)
    if alike(once, twice) and np.abs(once).max(initial=0.0) > 0:
        return "dy is ignored: backward gives the same for 2·dy; every gradient is multiplied by the upstream one"
    if alike(twice, 4.0 * once):
        return "dy enters twice: backward gives four times as much for 2·dy"
    if dy.size > 1 and alike(twice, 2.0 * once):
        parts = np.zeros_like(once)
        for flat in range(min(dy.size, 64)):
            single = np.zeros(dy.size)
            single[flat] = dy.ravel()[flat]
            parts += gradient(single.reshape(dy.shape))
        only = np.where(np.arange(dy.size) < 64, dy.ravel(), 0.0).reshape(dy.shape)
        if not alike(gradient(only), parts):
            return MISSING_ACCUMULATION
    return ""


def accumulates(first: np.ndarray, second: np.ndarray, third: np.ndarray) -> bool:
    """Does each further call with the same inputs add the same amount?"""
    return alike(third - second, second - first) and np.abs(second - first).max(initial=0.0) > 0


# -- one input ---------------------------------------------------------------------------------------------


def _factor(a: np.ndarray, n: np.ndarray) -> float | None:
    """c with a = c n, if there is one."""
    square = float((n * n).sum())
    if not square:
        return None
    c = float((a * n).sum()) / square
    return c if alike(a, c * n) and c else None


def missing(case: Case) -> str:
    if np.abs(case.analytic).max(initial=0.0) > LIKE * np.abs(case.numeric).max(initial=0.0):
        return ""
    return "the gradient is zero, but the output depends on this input: its term is missing, or is never stored"


def sign_flipped(case: Case) -> str:
    return "sign flipped: backward gives the negative of the gradient" if alike(case.analytic, -case.numeric) else ""


def constant_factor(case: Case) -> str:
    c = _factor(case.analytic, case.numeric)
    if c is None or abs(c - 1) <= LIKE:
        return ""
    return f"constant factor: backward gives {c:.6g} times the gradient{_name_of(abs(c), case)}" + (
        ", with the sign flipped" if c < 0 else ""
    )


def _name_of(c: float, case: Case) -> str:
    """ ", which is ..." for a factor that is a size of the call or its inverse."""

    def equals(value: float) -> bool:
        return abs(c - value) <= LIKE * value

    sizes: list[tuple[float, str]] = []
    for name, x in case.problem.inputs.items():
        sizes += [
            (n, "the batch size" if a == 0 else f"axis {a} of {name}") for a, n in enumerate(x.shape) if x.ndim > 1
        ]
    sizes += [(n, f"axis {a} of the output") for a, n in enumerate(case.dy.shape)]
    sizes += [
        (case.dy.size, "the number of outputs"),
        (case.x.size, f"the number of elements of {case.name}"),
        (2, "2"),
    ]
    for n, what in sizes:
        if n > 1 and equals(n):
            return f", which is {what}: divide by it" if what != "2" else ": a term is counted twice, or a ½ is missing"
        if n > 1 and equals(1 / n):
            return (
                f", which is 1 / {what}: it is divided by it once too often"
                if what != "2"
                else ": one of two equal terms is missing (accumulation), or a ½ too many"
            )
    return ""


def axes_swapped(case: Case) -> str:
    a, n = case.analytic, case.numeric
    for i, j in itertools.combinations(range(n.ndim), 2):
        if n.shape[i] == n.shape[j] > 1 and alike(a, n.swapaxes(i, j)):
            return f"missing transpose: backward gives the gradient with axes {i} and {j} swapped"
    return ""


def factor_transposed(case: Case) -> str:
    """dx = dy w where it must be dy wᵀ: with a square w the shapes cannot tell. From N = D wᵀ follows D, and so A = D w."""
    a, n = (np.atleast_2d(g).reshape(-1, g.shape[-1]) if g.ndim else None for g in (case.analytic, case.numeric))
    for name, w in case.problem.inputs.items():
        if a is None or n is None or w.ndim != 2 or w.shape[0] != w.shape[1] or name == case.name or w.shape[0] < 2:
            continue
        if np.linalg.cond(w) > 1e6:
            continue
        inverse = np.linalg.inv(w)
        if n.shape[1] == len(w):
            for undone, done, right in ((inverse.T, w, f"{name}ᵀ"), (inverse, w.T, name)):
                if alike(a, n @ undone @ done):
                    return f"missing transpose: something is multiplied by {name} transposed the wrong way; it needs {right}"
    return ""


def turned(case: Case) -> str:
    a, n = case.analytic, case.numeric
    axes = [i for i in range(n.ndim) if n.shape[i] > 1]
    for count in range(1, min(len(axes), 3) + 1):
        for some in itertools.combinations(axes, count):
            if alike(a, np.flip(n, some)):
                return (
                    f"the gradient comes out reversed along {_axes(some)}: a filter is turned by 180° where it must not be "
                    "(convolution and correlation mixed up)"
                )
    for axis in axes:
        for by in (1, -1):
            if n.shape[axis] > 2 and alike(a, np.roll(n, by, axis)):
                return f"the gradient is shifted by {by} along axis {axis}: an index is off by one"
    return ""


def overwritten(case: Case) -> str:
    """Each wrong element holds what one output sends back instead of the sum of what several do."""
    wrong = np.argwhere(_wrong(case))[:12]
    size = np.abs(case.numeric).max(initial=0.0)
    typical = typical_size(case.x)
    for index in map(tuple, wrong.tolist()):
        probe = Probe(case.name, index)
        parts = (central(case.problem, probe, 1e-5 * probe.size(case.x, typical)) * case.dy).ravel()
        if (np.abs(parts) > LIKE * size).sum() < 2 or np.abs(parts - case.analytic[index]).min() > 1e-6 * size:
            return ""
    return MISSING_ACCUMULATION if len(wrong) else ""


def returned_in_wrong_order(case: Case) -> str:
    for name, (_, numeric) in case.others.items():
        if name != case.name and alike(case.analytic, numeric) and not alike(case.analytic, case.numeric):
            return f"this is the gradient of {name}: gradients are returned in the wrong order"
    return ""


def wrong_sum(case: Case) -> str:
    """A bias's gradient: dy summed over all axes but one; over which?"""
    dy, a, n = case.dy, case.analytic.ravel(), case.numeric.ravel()
    sums = {k: _sum_leaving(dy, k) for k in range(dy.ndim) if dy.shape[k] == n.size}
    right = next((k for k, s in sums.items() if alike(n, s)), None)
    if right is None or n.size < 2:
        return ""
    for k, s in sums.items():
        if k != right and alike(a, s):
            return f"the bias is summed over the wrong axis: dy is summed down to axis {k}; sum down to axis {right}"
    if alike(a, np.full(n.size, dy.sum())):
        return f"the bias is summed over every axis: sum dy down to axis {right}"
    for axis in range(dy.ndim):
        if axis != right:
            part = np.moveaxis(dy, (axis, right), (0, dy.ndim - 1))
            part = part.reshape(dy.shape[axis], -1, n.size).sum(1)
            if any(alike(a, row) for row in part):
                return f"the bias is not summed over axis {axis} of dy: one slice stands for all"
    return ""


def _sum_leaving(dy: np.ndarray, axis: int) -> np.ndarray:
    return dy.sum(tuple(i for i in range(dy.ndim) if i != axis))


def border_only(case: Case) -> str:
    shape, wrong = case.numeric.shape, _wrong(case)
    for axes in SPATIAL.get(len(shape), []):
        for depth in (1, 2, 3):
            inside = tuple(slice(depth, n - depth) if i in axes else slice(None) for i, n in enumerate(shape))
            if not case.numeric[inside].size:
                break
            if not wrong[inside].any() and np.abs(case.numeric[inside]).max(initial=0.0) > 0:
                width = f"{depth} pixel{'s' if depth > 1 else ''}"
                return f"padding border only: right inside, wrong within {width} of the border along {_axes(axes)}"
    return ""


SPATIAL: dict[int, list[tuple[int, ...]]] = {1: [(0,)], 2: [(0, 1)], 3: [(0, 1), (1, 2)], 4: [(1, 2), (2, 3)]}


def _wrong(case: Case) -> np.ndarray:
    return np.abs(case.analytic - case.numeric) > LIKE * np.abs(case.numeric).max(initial=0.0)


def some_slices(case: Case) -> str:
    wrong = _wrong(case)
    if not wrong.ndim or not wrong.any():
        return ""
    for axis, n in enumerate(wrong.shape):
        bad = wrong.any(tuple(i for i in range(wrong.ndim) if i != axis))
        where = np.flatnonzero(bad).tolist()
        if n > 1 and len(where) < n and len(where) <= max(1, n // 2):
            return f"only elements with index {_few(where)} along axis {axis} (of {n}) are wrong"
        good = np.flatnonzero(~bad).tolist()
        if n > 2 and 0 < len(good) <= n // 2:
            return f"only elements with index {_few(good)} along axis {axis} (of {n}) are right: a loop overwrites or ends early"
    return ""


def depends_on_another(case: Case) -> str:
    """A is a total derivative: it also holds the path through another input that was computed from this one."""
    surplus = case.analytic - case.numeric
    for name, (_, numeric) in case.others.items():
        if name == case.name:
            continue
        other = case.problem.inputs[name]
        for what, f in _derived(case.x):
            if np.shape(f(case.x)) == other.shape and np.allclose(f(case.x), other, rtol=1e-9, atol=1e-12):
                path = _pull_back(f, case.x, numeric)
                if alike(surplus, path):
                    return (
                        f"input {name} depends on this one (it is {what} of {case.name}), and backward follows that path "
                        f"too; as inputs both are independent: compute {name} inside the function, or leave the path out"
                    )
    return ""


REDUCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "mean": np.mean,
    "sum": np.sum,
    "variance": np.var,
    "standard deviation": np.std,
    "max": np.max,
}


def _derived(x: np.ndarray) -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    """What people compute from an input and pass along beside it."""
    yield "a copy", lambda v: v
    yield "the square", np.square
    if x.ndim > 1:
        yield "the transpose", np.transpose
    for count in range(1, x.ndim + 1):
        for axes in itertools.combinations(range(x.ndim), count):
            for what, f in REDUCTIONS.items():
                for keep in (False, True):
                    yield f"the {what} over {_axes(axes)}", partial(f, axis=axes, keepdims=keep)


def _pull_back(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    out, h = np.empty(x.shape), 1e-6 * typical_size(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        out[index] = ((np.asarray(f(up)) - np.asarray(f(down))) * dy).sum() / (2 * h)
    return out


def missing_term(case: Case) -> str:
    """N - A has a shape of its own: the same along some axes, or like the input."""
    rest = case.numeric - case.analytic
    if (c := _factor(rest, case.x)) is not None:
        return (
            f"a term {-c:.4g} · {case.name} too many (weight decay?)"
            if c < 0
            else f"a term {c:.4g} · {case.name} is missing"
        )
    flat = [a for a in range(rest.ndim) if rest.shape[a] > 1 and alike(rest, _repeated(rest, a))]
    if flat:
        return (
            f"missing term: what is missing is the same along {_axes(flat)}, as the path through a mean or sum over "
            f"{_axes(flat)} is"
        )
    return ""


def _repeated(x: np.ndarray, axis: int) -> np.ndarray:
    return np.broadcast_to(x.mean(axis, keepdims=True), x.shape)


def unlike(case: Case) -> str:
    a, n = case.analytic.ravel(), case.numeric.ravel()
    lengths = np.sqrt((a * a).sum() * (n * n).sum())
    cosine = float((a * n).sum() / lengths) if lengths else 0.0
    share = _wrong(case).mean()
    if cosine > 0.5:
        return (
            f"missing or wrong term: backward points roughly the right way (cosine {cosine:.2f}), "
            f"{100 * share:.0f} % of the elements are wrong"
        )
    return f"no known pattern: {100 * share:.0f} % of the elements are wrong (cosine {cosine:.2f} with the numeric gradient)"


PATTERNS: list[Callable[[Case], str]] = [
    missing,
    sign_flipped,
    constant_factor,
    axes_swapped,
    factor_transposed,
    wrong_sum,
    returned_in_wrong_order,
    turned,
    depends_on_another,
    overwritten,
    border_only,
    some_slices,
    missing_term,
    unlike,
]


def _by_probes(c: Comparison) -> str:
    """For an input too large to differentiate whole: the patterns that single elements can show."""
    a, n = c.analytic[:, 0], c.numeric[:, 0]
    factor = _factor(a, n)
    if factor is None:
        return f"{c.input}: no constant factor between backward and the differences"
    return f"{c.input}: " + (
        "sign flipped: backward gives the negative of the gradient"
        if abs(factor + 1) <= LIKE
        else f"constant factor: backward gives {factor:.6g} times the gradient"
    )


# -- a gradient of the wrong shape ---------------------------------------------------------------------------


def diagnose_shape(name: str, x: np.ndarray, g: np.ndarray, dy: np.ndarray) -> str:
    """What a gradient of the wrong shape suggests, or ""."""
    if x.ndim > 1 and g.shape == x.shape[::-1]:
        return f"{name}: missing transpose: the gradient has the axes of {name} in reverse order"
    if g.size == x.size:
        return f"{name}: the right number of elements in the wrong shape: reshape the gradient to {x.shape}"
    if g.shape == dy.shape:
        return f"{name}: the gradient has dy's shape: sum it over the axes along which {name} was broadcast"
    if x.ndim == 1 and any(alike(g.ravel(), _sum_leaving(dy, k)) for k in range(dy.ndim) if dy.shape[k] == g.size):
        k = next(k for k in range(dy.ndim) if dy.shape[k] == g.size)
        return f"{name}: the bias is summed over the wrong axis: dy is summed down to axis {k} (of {dy.shape[k]})"
    return ""


def _axes(axes: tuple[int, ...] | list[int]) -> str:
    return ("axis " if len(axes) == 1 else "axes ") + ", ".join(map(str, axes))


def _few(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:6])) + (", ..." if len(numbers) > 6 else "")
