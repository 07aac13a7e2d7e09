"""A user's own code, named on the command line: `path/to/file.py:thing`.

thing is one of

    an op class             decorated with @op, or only the class with forward(k, ...), backward(k, saved, dy), samples
    a Module                an instance, or a class that can be made without arguments
    a NumPy object          with forward(x, ...) and backward(dy, ...), or its class
    a NumPy function        `forward`, `conv_forward` or `conv`, with `backward` or `conv_backward` beside it
    a function of tensors   any other function

Its inputs come from `--input` (shapes, drawn at random), or from samples() in the thing, `<thing>_samples` or `samples` in the
file, with or without a parameter for the random numbers: a list of inputs, each an array, a tuple, a dict or a Sample.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from dlkit import random
from dlkit.errors import ConfigError, DlkitError
from dlkit.gradients.function import call_of, check_call, runs_on
from dlkit.gradients.numeric import Settings
from dlkit.gradients.ops import SampleCall, input_names
from dlkit.gradients.report import GradientReport
from dlkit.nn import Module
from dlkit.ops import Op, Sample
from dlkit.registry import nearest
from dlkit.userfile import import_file, split_target, where_in


@dataclass(frozen=True)
class InputShape:
    """One input asked for on the command line: normal numbers, or whole numbers below `below`."""

    shape: tuple[int, ...]
    below: int | None = None

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        if self.below is not None:
            return rng.integers(0, self.below, self.shape)
        return np.asarray(rng.standard_normal(self.shape))


def parse_inputs(text: str) -> list[InputShape]:
    """`4x8x8x3,3x3x3x2` are two inputs; `16:10` is one of 16 whole numbers below 10.  Raises : ConfigError."""
    return [_parse_input(part.strip()) for part in text.split(",")]


def _parse_input(part: str) -> InputShape:
    sizes, _, below = part.partition(":")
    try:
        shape = tuple(int(n) for n in sizes.lower().replace("×", "x").split("x"))
        limit = int(below) if below else None
    except ValueError:
        shape, limit = (), None
    if not shape or min(shape) < 1 or (limit is not None and limit < 1) or (":" in part and limit is None):
        raise ConfigError(
            f"--input {part!r} is no shape such as 4x8x8x3, nor whole numbers such as 16:10 (16 below 10)"
        )
    if np.prod(shape, dtype=float) > 1e7:
        raise ConfigError(
            f"--input {part!r} has {np.prod(shape, dtype=float):.0e} elements; at most 10⁷ can be checked"
        )
    return InputShape(shape, limit)


@dataclass
class Target:
    """A thing found in a user's file, with its backward where that is a function of its own."""

    name: str
    kind: str
    thing: Any
    backward: Callable | None
    module: ModuleType

    def samples(self, inputs: Sequence[InputShape] | None, seed: int) -> list[Sample]:
        """The calls to check.  Raises : ConfigError if nobody says what the inputs are."""
        rng = np.random.default_rng(seed)
        if inputs:
            return [Sample(tuple(i.draw(rng) for i in inputs))]
        make = self._own_samples()
        if make is None:
            raise ConfigError(
                f"{self.name}: what are its inputs? Give their shapes (--input 4x8x8x3,3x3x3x2) or write samples() beside it"
            )
        try:
            found = [self._sample(s) for s in (make(rng) if _wants_rng(make) else make())]
        except DlkitError:
            raise
        except Exception as error:
            raise ConfigError(f"{self.name}: samples() raises {where_in(error, self.module.__file__)}") from None
        if not found:
            raise ConfigError(f"{self.name}: samples() is empty; expected a list of inputs")
        return found

    def _own_samples(self) -> Callable | None:
        if isinstance(self.thing, Op):
            return self.thing.samples
        places = [
            getattr(self.thing, "samples", None),
            getattr(self.module, f"{self.name}_samples", None),
            getattr(self.module, f"{self.name.removesuffix('_forward')}_samples", None),
            getattr(self.module, "samples", None),
        ]
        return next((p for p in places if callable(p)), None)

    def _sample(self, given: Any) -> Sample:
        if isinstance(given, Sample):
            return given
        if isinstance(given, dict):
            order = self._parameter_names(len(given))
            if unknown := [k for k in given if k not in order]:
                raise ConfigError(
                    f"{self.name}: samples() gives {unknown[0]!r}, but its parameters are {', '.join(order)}"
                )
            return Sample(tuple(given[k] for k in order if k in given))
        return Sample(tuple(given) if isinstance(given, (list, tuple)) else (given,))

    def _parameter_names(self, count: int) -> list[str]:
        if isinstance(self.thing, Op):
            return input_names(self.thing, count)
        forward = self.thing.forward if hasattr(self.thing, "forward") else self.thing
        return [p for p in inspect.signature(forward).parameters if p != "self"]


def _wants_rng(make: Callable) -> bool:
    return any(p.default is p.empty for p in inspect.signature(make).parameters.values())


def check_target(target: Target, inputs: Sequence[InputShape] | None, settings: Settings) -> GradientReport:
    """Every sample of a user's thing, on the current backend, in float64.  Raises : UsageError if it cannot be called."""
    report = GradientReport(target.name, target.kind, [], ["float64"], tolerance=settings.tolerance)
    report.worst.tolerance = settings.tolerance
    for sample in target.samples(inputs, settings.seed):
        try:
            call = _call(target, sample, settings.seed)
            report.backends = [runs_on(call)]
            check_call(call, str(sample), report, settings)
        except DlkitError as error:
            raise type(error)(f"{target.name}: {error}") from None
        if report.failure or report.worst.ratio > 1:
            break
    return report.conclude()


def _call(target: Target, sample: Sample, seed: int) -> Any:
    if sample.attributes and not isinstance(target.thing, Op):
        raise ConfigError("a Sample with attributes is for ops; give other things their inputs alone")
    if isinstance(target.thing, Op):
        expected = input_names(target.thing, len(sample.inputs))
        if len(sample.inputs) > len(expected):
            raise ConfigError(f"takes {len(expected)} inputs ({', '.join(expected)}), {len(sample.inputs)} given")
        return SampleCall(target.thing, sample)
    return call_of(target.thing, sample.inputs, target.backward, seed)


# -- finding it --------------------------------------------------------------------------------------------


def load_target(text: str) -> Target:
    """`file.py:thing`, or `file.py` if it holds one thing only.

    Raises : ConfigError if there is no such file or thing, it does not import, or is nothing that has a gradient.
    """
    path, name = split_target(text)
    module = import_file(Path(path))
    if not name:
        found = sorted(_checkable(module))
        if len(found) != 1:
            what = f"several ({', '.join(found)})" if found else "none"
            raise ConfigError(f"{path}: which thing in it? It holds {what}; write {path}:NAME")
        name = found[0]
    if not hasattr(module, name):
        own = [n for n, x in vars(module).items() if not n.startswith("_") and not isinstance(x, ModuleType)]
        raise ConfigError(f"{path} holds no {name!r}{nearest(name, own)}")
    return describe(name, getattr(module, name), module)


def describe(name: str, thing: Any, module: ModuleType) -> Target:
    """What `thing` is.  Raises : ConfigError if it is none of the kinds."""
    if isinstance(thing, Op):
        if not thing.differentiable:
            raise ConfigError(f"op {name!r} has no gradient (differentiable = False, or no backward)")
        return Target(name, "op", thing, None, module)
    if isinstance(thing, Module):
        return Target(name, "module", thing, None, module)
    if isinstance(thing, type):
        return _describe_class(name, thing, module)
    if callable(getattr(thing, "forward", None)) and callable(getattr(thing, "backward", None)):
        return Target(name, "object", thing, None, module)
    if isinstance(thing, (tuple, list)) and len(thing) == 2 and all(map(callable, thing)):
        return Target(name, "NumPy function", thing[0], thing[1], module)
    if callable(thing):
        backward = _partner(name, module)
        return Target(name, "NumPy function" if backward else "function of tensors", thing, backward, module)
    raise ConfigError(
        f"{name} is {_article(type(thing).__name__)}; expected an op class, a Module, a function of tensors, "
        "or a NumPy forward with its backward"
    )


def _describe_class(name: str, unit: type, module: ModuleType) -> Target:
    if issubclass(unit, Module):
        return Target(name, "module", _make(name, unit), None, module)
    forward = getattr(unit, "forward", None)
    if not callable(forward) or not callable(getattr(unit, "backward", None)):
        missing = "backward" if callable(forward) else "forward and no backward"
        raise ConfigError(f"class {name} has no {missing}; an op or a layer needs both")
    if next(iter(inspect.signature(forward).parameters), "") == "k":
        return Target(name, "op", _as_op(name, unit), None, module)
    return Target(name, "object", _make(name, unit), None, module)


def _as_op(name: str, unit: type) -> Op:
    """An op class that was not decorated, as an Op outside the registry."""
    members = {n: staticmethod(m) if inspect.isfunction(m) else m for n, m in vars(unit).items()}
    members = {n: m for n, m in members.items() if n not in ("__dict__", "__weakref__")}
    members.setdefault("samples", staticmethod(lambda rng: []))
    return Op(name, type(name, unit.__bases__, members), "", "", "", "")


def _make(name: str, unit: type) -> Any:
    try:
        with random.using(np.random.default_rng(0)):
            return unit()
    except Exception as error:
        raise ConfigError(
            f"{name}() cannot be made without arguments ({type(error).__name__}: {error}); "
            f"put an instance into the file (layer = {name}(...)) and name that"
        ) from None


def _partner(name: str, module: ModuleType) -> Callable | None:
    names = [f"{name}_backward", f"backward_{name}", f"{name}_grad", f"d{name}", f"d_{name}"]
    if "forward" in name:
        names.insert(0, name.replace("forward", "backward"))
    return next((f for n in names if n != name and callable(f := getattr(module, n, None))), None)


def _checkable(module: ModuleType) -> Iterator[str]:
    """The names of what a file defines itself and that can only be meant to be checked."""
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", module.__name__) != module.__name__:
            continue
        if isinstance(thing, (Op, Module)):
            yield name
        elif isinstance(thing, type):
            if issubclass(thing, Module) or (hasattr(thing, "forward") and hasattr(thing, "backward")):
                yield name
        elif callable(thing) and _partner(name, module) is not None:
            yield name


def _article(word: str) -> str:
    return ("an " if word[:1].lower() in "aeiou" else "a ") + word
