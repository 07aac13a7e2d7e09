"""Symbols: tensors with a shape, without data, that remember the call that made them.

A network written on symbols is a graph before any data flow; `dlkit.nn.Model` makes a module of it. The number of
examples is not known by then: BATCH stands for it, a prime that no other size is a multiple of, so that a size made of
it (N·H·W in a reshape) is known again when the model runs.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.backends.meta import MetaArray
from dlkit.errors import UsageError
from dlkit.tensor import Tensor

BATCH = 1_000_003
_PACKAGE = str(Path(__file__).resolve().parent)
_numbers = itertools.count()


class Examples(int):
    """A size that is a multiple of the number of examples; prints as N, 2N, ..."""

    def __repr__(self) -> str:
        times = int(self) // BATCH
        return "N" if times == 1 else f"{times}N"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)


def marked(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with its multiples of BATCH made readable."""
    return tuple(Examples(n) if n and n % BATCH == 0 else int(n) for n in shape)


@dataclass(eq=False)
class Call:
    """An op or a module, what it was called with, and where in the user's file."""

    callee: Any
    inputs: tuple
    attributes: dict[str, Any] = field(default_factory=dict)
    output: Any = None
    number: int = field(default_factory=lambda: next(_numbers))


class Symbol(Tensor):
    """`call` is None for an input of the network."""

    __slots__ = ("call",)
    call: Call | None

    @classmethod
    def make(cls, shape: tuple[int, ...], dtype: Any, call: Call | None = None) -> Symbol:
        self: Any = cls.wrap(MetaArray(marked(tuple(shape)), dtype), "meta")
        self.call = call
        return self

    def plain(self) -> Tensor:
        """The same shape without a memory: calls on it are not recorded."""
        return Tensor.wrap(self.data, "meta")

    def __repr__(self) -> str:
        return f"Symbol(shape={self.shape}, dtype={self.dtype})"

    def _no_data(self, *args: Any, **kwargs: Any) -> Any:
        raise UsageError(f"a symbol of shape {self.shape} has no values: they come when the model is called")

    numpy = item = tolist = __bool__ = __iter__ = backward = _no_data

    def __len__(self) -> int:
        return self._no_data()


def mapped(f: Callable[[Any], Any], value: Any) -> Any:
    """`f` of every leaf of nested tuples, lists and dicts, in the same nesting."""
    if isinstance(value, (tuple, list)):
        return type(value)(mapped(f, v) for v in value)
    if isinstance(value, dict):
        return {k: mapped(f, v) for k, v in value.items()}
    return f(value)


def leaves(value: Any) -> Iterator[Any]:
    """The leaves of nested tuples, lists and dicts, in order."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        for v in value:
            yield from leaves(v)
    else:
        yield value


def has_symbol(value: Any) -> bool:
    return any(isinstance(x, Symbol) for x in leaves(value))


def recorded(callee: Any, inputs: tuple, attributes: dict[str, Any], output: Any) -> Any:
    """`output` with a symbol for each tensor in it: what this call made."""
    call = Call(callee, inputs, attributes)
    call.output = mapped(lambda y: Symbol.make(y.shape, y.dtype, call) if isinstance(y, Tensor) else y, output)
    return call.output


def user_line() -> str:
    """ "model.py:12", the innermost line outside dlkit that led here."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def with_examples(value: Any, examples: int) -> Any:
    """`value` (nested) with `examples` in place of BATCH in every whole number, slices too."""
    return mapped(lambda v: _with_examples(v, examples), value)


def _with_examples(v: Any, examples: int) -> Any:
    if isinstance(v, slice):
        return slice(*(_with_examples(n, examples) for n in (v.start, v.stop, v.step)))
    if isinstance(v, (int, np.integer)) and not isinstance(v, bool) and v and v % BATCH == 0:
        return int(v) // BATCH * examples
    return v
