"""Anyone's code as a problem: a function of tensors, or a NumPy forward with its backward in any of the usual forms.

    y = forward(x, w, b)              backward(dy)                a closure or an object remembers what is needed
    y = forward(x, w, b)              backward(dy, x, w, b)       inputs (and y, called y or out) by their names
    y, cache = forward(x, w, b)       backward(dy, cache)         the course's form; the order may be turned
    loss = forward(x, t)              backward(x, t)              a loss, whose own upstream gradient is 1

backward returns one gradient, a tuple in the inputs' order (all inputs, or the float ones; None: not checked), or a
dictionary whose keys are x, dx, d_x or grad_x. An object's own float arrays are checked as well if backward leaves their
gradients behind: self.dw (d_w, grad_w) for self.w, or self.grads["w"] for self.params["w"].
"""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from dlkit import random
from dlkit.backends import current_backend
from dlkit.errors import ConfigError, DlkitError, ShapeError
from dlkit.gradients.check import UnsoundError, check_problem
from dlkit.gradients.compare import Comparison
from dlkit.gradients.modules import ModuleCall
from dlkit.gradients.numeric import STEP, TOLERANCE, Arrays, Problem, Settings
from dlkit.gradients.ops import SampleCall, second_order
from dlkit.gradients.report import GradientReport
from dlkit.nn import Module
from dlkit.ops import Op, Sample
from dlkit.tape import no_grad
from dlkit.tensor import Tensor

CACHE = ("cache", "ctx", "saved", "state", "memory")
OUTPUT = ("y", "out", "output", "z")


def gradcheck(
    fn: Any,
    inputs: Any,
    backward: Callable | None = None,
    *,
    seed: int = 0,
    eps: float = STEP,
    tolerance: float = TOLERANCE,
    order: int = 1,
) -> GradientReport:
    """Is the gradient of `fn` right at `inputs`? Backward against central differences in float64.

    fn : a function of tensors, a Module (its parameters are checked as well), an op, or with `backward` a NumPy function;
        an object with forward and backward is both. The forms of a NumPy backward stand in `dlkit.gradients.function`.
    inputs : arrays, tensors or numbers, one or a sequence; float arrays have a gradient, whole numbers have none.
    eps, tolerance : the step and the largest error, both relative.   order : 2 checks the second derivative too (ops).
    Returns : a report that prints its verdict, a diagnosis and the worst elements side by side.
    Raises : UsageError if `fn` cannot be called with these inputs.

    >>> print(gradcheck(lambda x, w: (x @ w).tanh(), [np.ones((2, 3)), np.ones((3, 2))]))
    """
    settings = Settings(seed=seed, step=eps, tolerance=tolerance, order=order)
    call = call_of(fn, _as_tuple(inputs), backward, seed)
    report = GradientReport(_name(fn), "function", [runs_on(call)], ["float64"], tolerance=tolerance)
    check_call(call, "", report, settings)
    return report.conclude()


def runs_on(call: Any) -> str:
    """Who computes a call: the current backend, or NumPy for code that asks no backend."""
    return "numpy" if isinstance(call, NumpyCall) else current_backend()


def _name(fn: Any) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


def _as_tuple(inputs: Any) -> tuple:
    return tuple(inputs) if isinstance(inputs, (list, tuple)) else (inputs,)


def call_of(fn: Any, inputs: tuple, backward: Callable | None = None, seed: int = 0) -> Any:
    """What can be checked: an object with `problem(name)` and `notes`.  Raises : ConfigError."""
    values = tuple(_host(i, x) for i, x in enumerate(inputs))
    if isinstance(fn, Op):
        return SampleCall(fn, Sample(values))
    if isinstance(fn, Module):
        return ModuleCall(fn, values, seed)
    if backward is not None:
        return NumpyCall(fn, backward, values)
    if callable(getattr(fn, "forward", None)) and callable(getattr(fn, "backward", None)):
        return ObjectCall(fn, values)
    if callable(fn):
        return TensorCall(fn, values, seed)
    raise ConfigError(f"{_name(fn)} is neither a function of tensors, a Module, an op, nor a forward with its backward")


def _host(i: int, x: Any) -> Any:
    """An input as an array or number of its own.  Raises : ConfigError for a tensor that was computed from others."""
    if isinstance(x, Tensor):
        if x.node is not None:
            raise ConfigError(
                f"input {i} depends on another: op {x.node.op.name!r} made it; give independent values (x.detach())"
            )
        x = x.numpy()
    if isinstance(x, (list, np.generic)):
        x = np.asarray(x)
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":
        return x.astype(np.float64)
    return x


def check_call(call: Any, label: str, report: GradientReport, settings: Settings) -> None:
    """Adds what one call shows to `report`.  Raises : UsageError if forward itself does not work."""
    began = time.perf_counter()
    problem: Problem = call.problem(label)
    report.samples += 1
    report.notes += [n for n in getattr(call, "notes", []) if n not in report.notes]
    if not problem.inputs:
        raise ConfigError("none of the inputs is a float array, so there is no gradient to check")
    hint = f"; NumPy code needs its backward, {report.name}_backward(dy, ...), beside it" * isinstance(call, TensorCall)
    _try_forward(problem, hint)
    rng = np.random.default_rng((settings.seed, 1, report.samples))
    try:
        found = check_problem(problem, report, rng, settings, "")
        report.notes += _kinks(found)
        if settings.order == 2 and report.worst.ratio <= 1 and not report.failure:
            if isinstance(call, SampleCall) and call.op.second:
                check_problem(second_order(call, rng), report, rng, settings, "")
            else:
                report.notes.append("no second derivative was checked: only ops whose backward is made of ops have one")
    except UnsoundError as error:
        report.failure = report.failure or str(error)
    except Exception as error:
        report.failure = f"{label or 'the call'}: backward raises {type(error).__name__}: {_one_line(error)}"
    report.seconds += time.perf_counter() - began


def _kinks(found: list[Comparison]) -> list[str]:
    """A note on the first kink of each input: what it is like there, and what backward says."""
    notes = []
    for c in found:
        for j, (left, right) in list(c.one_sided.items())[:1]:
            at = f"{c.input}{list(c.probes[j].index)}" if c.probes[j].direction is None else c.input
            notes.append(
                f"{int(c.kink.sum())} of {len(c.probes)} elements of {c.input} lie on a kink and were left out: at {at} the "
                f"slope is {left:.4g} on one side and {right:.4g} on the other, backward says {c.analytic[j, 0]:.4g}"
            )
    return notes


def _try_forward(problem: Problem, hint: str) -> None:
    """Raises : UsageError if forward cannot be called with these inputs, or returns nothing that has a gradient."""
    shapes = ", ".join(f"{n} {x.shape}" for n, x in problem.inputs.items())
    try:
        with np.errstate(all="ignore"):
            y = problem.forward({n: np.array(x) for n, x in problem.inputs.items()})
    except DlkitError:
        raise
    except (Exception, SystemExit) as error:
        raise ShapeError(
            f"forward does not take these inputs ({shapes}): {type(error).__name__}: {_one_line(error)}{hint}"
        ) from None
    if not isinstance(y, np.ndarray) or y.dtype.kind != "f":
        got = f"an array of {y.dtype}" if isinstance(y, np.ndarray) else type(y).__name__
        raise ConfigError(f"forward returns {got}, expected an array of floats")
    if not y.size:
        raise ConfigError(f"forward returns an empty array of shape {y.shape}: there is nothing to check")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


class TensorCall:
    """A function of tensors; random draws from dlkit's default generator are the same in every call."""

    def __init__(self, fn: Callable, values: tuple, seed: int = 0):
        self.fn, self.values, self.seed = fn, values, seed
        names = _parameters(fn, len(values))
        self.checked = {names[i]: i for i, x in enumerate(values) if isinstance(x, np.ndarray) and x.dtype.kind == "f"}

    def call(self, inputs: Arrays, wanted: bool) -> tuple[Tensor, dict[str, Tensor]]:
        leaves = {n: Tensor(inputs[n], requires_grad=wanted) for n in self.checked}
        arguments = [Tensor(x) if isinstance(x, np.ndarray) else x for x in self.values]
        for name, i in self.checked.items():
            arguments[i] = leaves[name]
        with random.using(np.random.default_rng(self.seed)):
            y = self.fn(*arguments)
        y = y[0] if isinstance(y, tuple) and y else y
        if not isinstance(y, Tensor):
            raise ConfigError(
                f"{_name(self.fn)} returns {type(y).__name__}, expected a Tensor; a NumPy function needs its backward: "
                f"write {_name(self.fn)}_backward(dy, ...) beside it"
            )
        return y, leaves

    def forward(self, inputs: Arrays) -> np.ndarray:
        with no_grad():
            return self.call(inputs, False)[0].numpy()

    def backward(self, inputs: Arrays, dy: np.ndarray) -> dict[str, Any]:
        y, leaves = self.call(inputs, True)
        if y.requires_grad:
            y.backward(Tensor(dy.astype(y.dtype, copy=False)))
        return {n: np.zeros(t.shape) if t.grad is None else t.grad.numpy() for n, t in leaves.items()}

    def problem(self, name: str) -> Problem:
        return Problem(
            name, {n: np.array(self.values[i]) for n, i in self.checked.items()}, self.forward, self.backward
        )


def _parameters(fn: Callable, count: int) -> list[str]:
    """The names of fn's first `count` parameters; x0, x1, ... for *args.  Raises : ConfigError if it takes fewer."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # some compiled functions say nothing about themselves
        return [f"x{i}" for i in range(count)]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return [f"x{i}" for i in range(count)]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in named)
    if not needed <= count <= len(named):
        expected = str(needed) if needed == len(named) else f"{needed} to {len(named)}"
        raise ConfigError(f"{_name(fn)}({', '.join(p.name for p in named)}) takes {expected} inputs, {count} given")
    return [p.name for p in named[:count]]


class NumpyCall:
    """A NumPy forward and its backward; the module's docstring lists the forms."""

    def __init__(self, forward: Callable, backward: Callable, values: tuple):
        self.notes: list[str] = []
        self.fixed = list(values)
        self.names = _parameters(forward, len(values))
        self.functions = (forward, backward)
        self.checked = [n for n, x in zip(self.names, values) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]

    def begin(self, inputs: Arrays) -> tuple[Callable, Callable]:
        """forward and backward, ready for a call at these inputs."""
        return self.functions

    def arguments(self, inputs: Arrays) -> list[Any]:
        return [inputs.get(n, x) for n, x in zip(self.names, self.fixed)]

    def forward(self, inputs: Arrays) -> np.ndarray:
        forward, _ = self.begin(inputs)
        return _first(forward(*self.arguments(inputs)))[0]

    def run_backward(self, inputs: Arrays, dy: np.ndarray) -> Any:
        forward, backward = self.begin(inputs)
        arguments = self.arguments(inputs)
        y, cache = _first(forward(*arguments))
        given = self._for_backward(backward, y, cache, dy, arguments)
        found = _first_of_none(backward(*given))
        return found if any(part is dy for part in given) else _scaled(found, dy)

    def backward(self, inputs: Arrays, dy: np.ndarray) -> dict[str, Any]:
        return self._named(self.run_backward(inputs, dy))

    def _for_backward(self, backward: Callable, y: Any, cache: Any, dy: np.ndarray, arguments: list) -> list[Any]:
        try:
            parameters = [
                p
                for p in inspect.signature(backward).parameters.values()
                if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
            ]
        except (TypeError, ValueError):
            return [dy] if cache is None else [dy, cache]
        by_name = dict(zip(self.names, arguments))
        by_name.update({n: y for n in OUTPUT if n not in by_name})
        if cache is not None:
            by_name.update(dict.fromkeys(CACHE, cache))
        unknown = [p for p in parameters if p.name not in by_name and p.default is p.empty]
        if not unknown:
            if np.ndim(y) == 0:  # a loss: its upstream gradient is 1, and `run_backward` scales for any other
                return [by_name.get(p.name, p.default) for p in parameters]
            raise ConfigError(f"{_signature(backward)} takes no upstream gradient; expected backward(dy, ...)")
        by_name[unknown[0].name] = dy
        if len(unknown) == 2 and cache is not None:
            by_name[unknown[1].name] = cache
        elif len(unknown) > 1:
            raise ConfigError(
                f"{_signature(backward)}: {unknown[1].name!r} is neither an input of forward ({', '.join(self.names)}), "
                "nor its output (y, out), nor the cache that forward would return as (y, cache)"
            )
        return [by_name.get(p.name, p.default) for p in parameters]

    def _named(self, found: Any) -> dict[str, Any]:
        """Each checked input's gradient, None where backward gives none."""
        if isinstance(found, dict):
            keys = {n: next((k for k in _keys(n) if k in found), None) for n in self.checked}
            return {n: None if k is None else found[k] for n, k in keys.items()}
        parts = list(found) if isinstance(found, (tuple, list)) else [found]
        if len(parts) == len(self.names):
            by_name = dict(zip(self.names, parts))
        elif len(parts) <= len(self.checked):
            by_name = dict(zip(self.checked, parts))
        else:
            raise ConfigError(
                f"backward returns {len(parts)} gradients for {len(self.names)} inputs ({', '.join(self.names)})"
            )
        return {n: by_name.get(n) for n in self.checked}

    def inputs(self) -> Arrays:
        return {n: np.array(x) for n, x in zip(self.names, self.fixed) if n in self.checked}

    def problem(self, name: str) -> Problem:
        self._leave_out_what_has_no_gradient()
        return Problem(name, self.inputs(), self.forward, self.backward, analytic=True)

    def _leave_out_what_has_no_gradient(self) -> None:
        """One trial call: an input for which backward gives None is noted, not checked."""
        try:
            with np.errstate(all="ignore"):
                y = self.forward(self.inputs())
                found = self.backward(self.inputs(), np.ones(np.shape(y)))
        except ConfigError:
            raise
        except Exception:  # what is wrong is said by the check itself
            return
        missing = [n for n in self.checked if found.get(n) is None]
        if len(missing) < len(self.checked):
            self.checked = [n for n in self.checked if n not in missing]
            self.notes += [f"{n}: backward gives no gradient, so none was checked" for n in missing]


def _first(result: Any) -> tuple[Any, Any]:
    """(y, cache) of what forward returned."""
    if isinstance(result, tuple) and len(result) > 1:
        y, cache = result[0], result[1] if len(result) == 2 else tuple(result[1:])
    else:
        y, cache = result, None
    return np.asarray(y) if isinstance(y, (float, list, np.generic)) else y, cache


def _scaled(found: Any, dy: np.ndarray) -> Any:
    """Gradients for dy = 1, times the dy there is."""
    if isinstance(found, dict):
        return {n: _scaled(g, dy) for n, g in found.items()}
    if isinstance(found, (tuple, list)):
        return tuple(_scaled(g, dy) for g in found)
    return None if found is None else found * dy


def _first_of_none(found: Any) -> Any:
    return () if found is None else found


def _keys(name: str) -> tuple[str, ...]:
    return (f"d{name}", f"d_{name}", f"grad_{name}", f"{name}_grad", name)


def _signature(fn: Callable) -> str:
    return f"{_name(fn)}{inspect.signature(fn)}"


class ObjectCall(NumpyCall):
    """An object with forward(x, ...) and backward(dy, ...). Every call works on a copy of it as it was at first."""

    def __init__(self, thing: Any, values: tuple):
        self.thing = thing
        super().__init__(thing.forward, thing.backward, values)
        self.own = self._own_arrays()

    def _own_arrays(self) -> dict[str, str]:
        """input's name -> the attribute (or key of `params`) whose gradient a backward leaves behind."""
        try:
            copied = copy.deepcopy(self.thing)
            result = _first(copied.forward(*self.fixed))
            copied.backward(*self._for_backward(copied.backward, *result, np.ones(np.shape(result[0])), self.fixed))
        except Exception:  # what is wrong is said by the check itself
            return {}
        names = [n for n, x in _floats(vars(self.thing))] + [n for n, x in _floats(vars(self.thing).get("params"))]
        return {f"self.{n}": n for n in names if self._left_behind(copied, n) is not None}

    def _left_behind(self, thing: Any, name: str) -> Any:
        for place in (vars(thing), vars(thing).get("grads")):
            if isinstance(place, dict):
                for key in _keys(name)[: None if place is not vars(thing) else -1]:
                    if isinstance(place.get(key), (np.ndarray, float)):
                        return place[key]
        return None

    def begin(self, inputs: Arrays) -> tuple[Callable, Callable]:
        self.current = copy.deepcopy(self.thing)
        for full, name in self.own.items():
            holder = vars(self.current) if name in vars(self.current) else vars(self.current)["params"]
            holder[name] = inputs[full]
        return self.current.forward, self.current.backward

    def backward(self, inputs: Arrays, dy: np.ndarray) -> dict[str, Any]:
        found = self._named(self.run_backward(inputs, dy))
        return {**found, **{full: self._left_behind(self.current, name) for full, name in self.own.items()}}

    def inputs(self) -> Arrays:
        everything = {**vars(self.thing), **(vars(self.thing).get("params") or {})}
        return {**super().inputs(), **{full: np.array(everything[n], np.float64) for full, n in self.own.items()}}


def _floats(place: Any) -> list[tuple[str, np.ndarray]]:
    if not isinstance(place, dict):
        return []
    return [(n, x) for n, x in place.items() if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
