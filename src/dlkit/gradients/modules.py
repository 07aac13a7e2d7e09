"""A module as a problem: its output as a function of its inputs and of every parameter."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dlkit import random
from dlkit.errors import ConfigError
from dlkit.gradients.numeric import Arrays, Problem
from dlkit.nn import Module
from dlkit.tape import no_grad
from dlkit.tensor import Tensor


class ModuleCall:
    """A call of a module that is always the same: parameters as given, buffers and random draws as they were at first.

    It works on a copy: the module given stays as it is.
    inputs : what the module is called with; float arrays (except at the positions `nondiff`) have a gradient.
    """

    def __init__(self, module: Module, inputs: Sequence[Any], seed: int = 0, nondiff: tuple[int, ...] = ()):
        self.module = module = copy.deepcopy(module).astype(np.float64)
        self.seed = seed
        self.values = [x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in inputs]
        names = [f"x{i}" if len(self.values) > 1 else "x" for i in range(len(self.values))]
        self.checked = {
            name: i
            for i, (name, x) in enumerate(zip(names, self.values))
            if isinstance(x, np.ndarray) and x.dtype.kind == "f" and i not in nondiff
        }
        self.parameters = dict(module.named_parameters())
        self.buffers = {name: np.array(b.numpy()) for name, b in module.named_buffers()}
        self.draws = {id(g): (g, g.bit_generator.state) for m in module.modules() for g in _generators(m)}

    @contextlib.contextmanager
    def _as_at_first(self, inputs: Arrays) -> Iterator[list[Any]]:
        """The call's arguments, while every parameter, buffer and generator stands where this call wants it."""
        for name, p in self.parameters.items():
            p.data, p.grad = Tensor(inputs[name]).data, None
        for name, b in self.module.named_buffers():
            b.data = Tensor(self.buffers[name].copy()).data
        for generator, state in self.draws.values():
            generator.bit_generator.state = state
        values = list(self.values)
        for name, i in self.checked.items():
            values[i] = inputs[name]
        with random.using(np.random.default_rng(self.seed)):
            yield values

    def inputs(self) -> Arrays:
        own = {name: np.array(self.values[i]) for name, i in self.checked.items()}
        return {**own, **{name: np.array(p.numpy()) for name, p in self.parameters.items()}}

    def forward(self, inputs: Arrays) -> np.ndarray:
        with self._as_at_first(inputs) as values, no_grad():
            y = self.module(*[Tensor(x) if isinstance(x, np.ndarray) else x for x in values])
        return _output(self.module, y).numpy()

    def backward(self, inputs: Arrays, dy: np.ndarray) -> dict[str, Any]:
        with self._as_at_first(inputs) as values:
            leaves = {name: Tensor(values[i], requires_grad=True) for name, i in self.checked.items()}
            arguments = [Tensor(x) if isinstance(x, np.ndarray) else x for x in values]
            for name, i in self.checked.items():
                arguments[i] = leaves[name]
            y = _output(self.module, self.module(*arguments))
            if y.requires_grad:
                y.backward(Tensor(dy.astype(y.dtype, copy=False)))
        everything = {**leaves, **self.parameters}
        found = {n: np.zeros(t.shape) if t.grad is None else t.grad.numpy() for n, t in everything.items()}
        self.module.zero_grad()
        return found

    def problem(self, name: str) -> Problem:
        return Problem(name, self.inputs(), self.forward, self.backward)


def _output(module: Module, y: Any) -> Tensor:
    y = y[0] if isinstance(y, tuple) and y else y
    if not isinstance(y, Tensor):
        raise ConfigError(f"forward of {type(module).__name__} returns {type(y).__name__}, expected a Tensor")
    return y


def _generators(module: Module) -> Iterator[np.random.Generator]:
    return (v for v in vars(module).values() if isinstance(v, np.random.Generator))
