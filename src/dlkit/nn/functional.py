"""The functional way to write a network: layers and ops called on symbols, and the module that runs the graph.

    x = Input((32, 32, 3))
    y = nn.Conv2d(3, 16, 3, padding="same")(x)
    y = (y + nn.Conv2d(3, 16, 1)(x)).relu()                 any op of the registry
    model = Model(x, nn.Linear(16, 10)(nn.GlobalAvgPool2d()(y)))

Every call runs the ops' shape rules, so a layer that does not fit is an error on the line that calls it. A layer called
twice is one layer with one set of weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.errors import ConfigError, ShapeError
from dlkit.nn.module import Buffer, Module, Parameter
from dlkit.nn.summary import Summary, summarize
from dlkit.ops import OPS
from dlkit.symbol import BATCH, Call, Examples, Symbol, leaves, mapped, with_examples
from dlkit.tensor import Tensor


def Input(shape: int | Sequence[int], dtype: Any = "float32") -> Symbol:  # noqa: N802 - it is written like a layer
    """A symbol for a network's input. shape : of one example, (H, W, C) or (F,), without the number of examples."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if not all(isinstance(n, (int, np.integer)) and n >= 1 for n in sizes):
        raise ShapeError(f"Input: shape (={shape}) must be positive sizes of one example, such as (32, 32, 3)")
    return Symbol.make((BATCH, *sizes), dtype)


@dataclass(frozen=True)
class Slot:
    """Where a value stands while the graph runs."""

    number: int


class Operation(Module):
    """An op of the registry as a layer, with the constants and parameters that were among its inputs.

    A parameter is trained, a float array or tensor is kept with the weights, a number stays as it is.
    """

    def __init__(self, op: str, inputs: tuple, attributes: dict[str, Any]):
        self.op, self.attributes = op, attributes
        self.constants: dict[int, Any] = {}
        for i, x in enumerate(inputs):
            if isinstance(x, Symbol):
                continue
            is_array = isinstance(x, (Tensor, np.ndarray))
            if is_array and not isinstance(x, Parameter) and x.dtype.kind == "f":
                x = Buffer(x)
            if isinstance(x, (Parameter, Buffer)):
                setattr(self, f"constant{i}", x)
            else:
                self.constants[i] = x
        self.count = len(inputs)
        self.symbols = [i for i, x in enumerate(inputs) if isinstance(x, Symbol)]
        self.batch = _batch_axis([x.shape for x in inputs if isinstance(x, Symbol)])

    def forward(self, *values: Any) -> Any:
        constants, attributes = self.constants, self.attributes
        if self.batch is not None:
            which, axis, times = self.batch
            constants, attributes = with_examples((constants, attributes), values[which].shape[axis] // times)
        arrived = {**constants, **dict(zip(self.symbols, values))}
        inputs = tuple(arrived[i] if i in arrived else getattr(self, f"constant{i}") for i in range(self.count))
        return OPS[self.op].apply(inputs, attributes)

    def label(self) -> str:
        return self.op


def _batch_axis(shapes: list[tuple[int, ...]]) -> tuple[int, int, int] | None:
    """(input, axis, how many times the number of examples stands there), of the first such axis."""
    for which, shape in enumerate(shapes):
        for axis, n in enumerate(shape):
            if isinstance(n, Examples):
                return which, axis, int(n) // BATCH
    return None


@dataclass(frozen=True)
class Step:
    """One call in the graph: the name of the part, and the slots it reads and fills (nested as they were passed)."""

    name: str
    inputs: tuple
    output: Any


class Model(Module):
    """The network from `inputs` to `outputs`, symbols both: one, a list of them, or (outputs) a dict by name.

    `model(x1, x2)` takes the inputs in their order and returns tensors nested as `outputs` were. Parts are named by their kind
    in the order of their first call: conv2d_1, conv2d_2, linear_1, add_1; so are parameters, `conv2d_1.weight`.

    Raises : ConfigError if an output depends on an Input that is not among the inputs, or does not depend on one that is.
    """

    def __init__(self, inputs: Any, outputs: Any):
        for what, value in (("inputs", inputs), ("outputs", outputs)):
            if not (found := list(leaves(value))) or not all(isinstance(x, Symbol) for x in found):
                raise ConfigError(
                    f"Model: {what} must be symbols, made by Input and by layers called on it; given {value!r}"
                )
        given = list(leaves(inputs))
        calls = calls_between(given, list(leaves(outputs)))
        self.input_shapes = [tuple(x.shape[1:]) for x in given]
        self._dtypes = [x.dtype for x in given]
        slots = {id(x): Slot(i) for i, x in enumerate(given)}
        self._inputs = [slots[id(x)] for x in given]
        self._steps: list[Step] = []
        names: dict[int, str] = {}
        numbers: Counter[str] = Counter()
        for call in calls:
            for y in leaves(call.output):
                if isinstance(y, Symbol):
                    slots[id(y)] = Slot(len(slots))
            name = names.get(id(call.callee)) or self._add_part(call, numbers)
            if isinstance(call.callee, Module):
                names[id(call.callee)] = name
            self._steps.append(Step(name, _arguments(call, slots), mapped(lambda y: slots.get(id(y)), call.output)))
        self._outputs = mapped(lambda y: slots[id(y)], outputs)
        self._last_use = _last_uses(self._steps, self._outputs)

    def _add_part(self, call: Call, numbers: Counter[str]) -> str:
        is_layer = isinstance(call.callee, Module)
        part = call.callee if is_layer else Operation(call.callee.name, call.inputs, call.attributes)
        kind = type(part).__name__.lower() if is_layer else call.callee.name
        numbers[kind] += 1
        name = f"{kind}_{numbers[kind]}"
        setattr(self, name, part)
        return name

    def forward(self, *inputs: Any) -> Any:
        self._check(inputs)
        values = dict(zip(self._inputs, inputs))
        for i, step in enumerate(self._steps):
            y = getattr(self, step.name)(*mapped(lambda s: values[s] if isinstance(s, Slot) else s, step.inputs))
            values.update((s, v) for s, v in zip(leaves(step.output), leaves(y)) if isinstance(s, Slot))
            for slot in self._last_use.get(i, ()):
                del values[slot]
        return mapped(values.__getitem__, self._outputs)

    def _check(self, inputs: tuple) -> None:
        shapes = [tuple(x.shape[1:]) for x in inputs]
        if shapes != self.input_shapes:
            wanted, given = (
                ", ".join(str(("N", *shape)).replace("'", "") for shape in some) for some in (self.input_shapes, shapes)
            )
            raise ShapeError(f"this model takes inputs of shape {wanted}; given: {given}")

    def summary(self, batch: int = 1) -> Summary:
        """Layers, shapes, parameters, FLOPs and memory; printed as a table."""
        return summarize(self, self.input_shapes, batch, self._dtypes)

    def extra(self) -> str:
        return ", ".join("×".join(map(str, shape)) for shape in self.input_shapes)


def calls_between(inputs: list[Symbol], outputs: list[Symbol]) -> list[Call]:
    """The calls that lead from the inputs to the outputs, in the order in which they were made."""
    stop = {id(x) for x in inputs}
    calls: dict[int, Call] = {}
    reached: set[int] = set()
    waiting = list(outputs)
    while waiting:
        x = waiting.pop()
        if id(x) in stop:
            reached.add(id(x))
        elif x.call is None:
            raise ConfigError(f"Model: an output depends on an Input of shape {x.shape} that is not among the inputs")
        elif x.call.number not in calls:
            calls[x.call.number] = x.call
            waiting += [y for y in leaves(x.call.inputs) if isinstance(y, Symbol)]
    for x in inputs:
        if id(x) not in reached:
            raise ConfigError(f"Model: no output depends on the input of shape {x.shape}")
    return [calls[n] for n in sorted(calls)]


def _arguments(call: Call, slots: dict[int, Slot]) -> tuple:
    """What a step is called with: slots for symbols; of an op's inputs only those, it holds the rest itself."""
    if isinstance(call.callee, Module):
        return mapped(lambda x: slots[id(x)] if isinstance(x, Symbol) else x, call.inputs)
    return tuple(slots[id(x)] for x in call.inputs if isinstance(x, Symbol))


def _last_uses(steps: list[Step], outputs: Any) -> dict[int, list[Slot]]:
    """step -> slots that nobody reads after it: their values are let go there."""
    last: dict[Slot, int] = {}
    for i, step in enumerate(steps):
        last.update((s, i) for s in (*leaves(step.output), *leaves(step.inputs)) if isinstance(s, Slot))
    kept = set(leaves(outputs))
    freed: dict[int, list[Slot]] = {}
    for slot, i in last.items():
        if slot not in kept:
            freed.setdefault(i, []).append(slot)
    return freed
