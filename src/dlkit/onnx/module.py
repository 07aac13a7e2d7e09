"""An imported graph as a module: it computes, trains, saves and loads like any other."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit.errors import OnnxError
from dlkit.nn import Buffer, Module, Parameter
from dlkit.onnx.fuse import fused
from dlkit.onnx.graph import Graph, Port, Step
from dlkit.onnx.layout import Order, Permuted, channels_last, from_channels_last, plain
from dlkit.onnx.safety import Limits, limited
from dlkit.onnx.values import FLOATS, value
from dlkit.tensor import Tensor


class GraphModule(Module):
    """A network from an ONNX graph.

    channels_last : images go in and come out as [N, H, W, C], as everywhere in dlkit (values with four axes); else as
        ONNX has them, [N, C, H, W].
    limits : what one value and one node may take; see dlkit.onnx.safety.

    Float weights of more than one element are Parameters, kept in dlkit's order of axes; a batch norm's running
    statistics are Buffers; constants (bounds, scales, scalars) are neither.
    """

    def __init__(self, graph: Graph, channels_last: bool = True, limits: Limits | None = None):
        graph = fused(graph)
        self.graph, self.channels_last, self.limits = graph, channels_last, limits or Limits()
        self.weights = Module()
        self._values: dict[str, Any] = {}
        self._places: dict[str, tuple[str, Order | None]] = {}
        uses = _uses(graph)
        for name, array in graph.weights.items():
            self._keep(name, array, uses.get(name, []))
        self._gone = graph.last_uses()
        self._loaded = self._float_type()
        self._still: frozenset[str] = frozenset()
        self.draws = any(step.converter.op == "Dropout" for step in graph.steps)  # random numbers, while it is trained

    def _keep(self, name: str, array: np.ndarray, uses: list[tuple[Step, int]]) -> None:
        role = _role(array, uses)
        if role is None:
            self._values[name] = value(array)
            return
        order = _order(self.graph, array, uses)
        place = name if not hasattr(Module, name) else f"{name}_"
        kept = np.ascontiguousarray(array if order is None else array.transpose(order))
        vars(self.weights)[place] = role(kept)
        self._places[name] = (place, order)

    def forward(self, *inputs: Any) -> Any:
        """The graph's outputs for its inputs: a Tensor, or a tuple of them where there are several."""
        y = self.run(inputs)
        return y[0] if len(y) == 1 else tuple(y)

    def run(self, inputs: tuple) -> list[Any]:
        """The outputs in order: Tensors where they are float32 or float64, else NumPy arrays."""
        graph = self.graph
        if len(inputs) != len(graph.inputs):
            raise OnnxError(f"{len(inputs)} inputs were given, the graph has {len(graph.inputs)}")
        now = self._float_type()
        env: dict[str, Any] = {"": None, **self._values}
        if now != self._loaded:
            env.update((name, v.astype(now)) for name, v in env.items() if _is_float(v, self._loaded))
        for name, (place, order) in self._places.items():
            tensor = vars(self.weights)[place]
            env[name] = tensor if order is None else Permuted(tensor, order)
        for port, x in zip(graph.inputs, inputs):
            env[port.name] = self._taken(port, x, now if now is not None and port.dtype == self._loaded else port.dtype)
        with limited(self.limits), np.errstate(all="ignore"):
            for step, gone in zip(graph.steps, self._gone):
                training = self.training and not (self._still and self._is_still(step))
                outputs = step.run(tuple(env[name] for name in step.inputs), training)
                if len(outputs) < len(step.outputs) and any(step.outputs[len(outputs) :]):
                    raise OnnxError(f"{step.label}: makes {len(outputs)} outputs, {len(step.outputs)} are asked for")
                env.update((name, y) for name, y in zip(step.outputs, outputs) if name)
                for name in gone:
                    env.pop(name, None)
            return [self._given(env[port.name]) for port in graph.outputs]

    def parameters_by_step(self) -> list[tuple[str, list[str]]]:
        """For each step its name, that of its first weight, and its parameters' names here; a shared one with its first."""
        names = {id(p): name for name, p in self.named_parameters()}
        found, seen = [], set()
        for step in self.graph.steps:
            mine = [n for n in self._trained(step) if n not in seen]
            seen.update(mine)
            label = mine[0].rpartition(".")[0] or mine[0] if mine else ""
            found.append((label, [names[id(vars(self.weights)[self._places[n][0]])] for n in mine]))
        return found

    def freeze(self, names: set[str]) -> None:
        """Steps whose parameters (by their names here) are all among `names` run as in inference: batch norm."""
        still = {id(p) for name, p in self.named_parameters() if name in names}
        self._still = frozenset(n for n, (place, _) in self._places.items() if id(vars(self.weights)[place]) in still)

    def _trained(self, step: Step) -> list[str]:
        places = [n for n in step.inputs if n in self._places]
        return [n for n in places if isinstance(vars(self.weights)[self._places[n][0]], Parameter)]

    def _is_still(self, step: Step) -> bool:
        trained = self._trained(step)
        return bool(trained) and self._still.issuperset(trained)

    def _float_type(self) -> np.dtype | None:
        """That of the weights, which `astype` may have changed since the graph was loaded; None if there are none."""
        return next((t.dtype for t in vars(self.weights).values() if isinstance(t, Tensor)), None)

    def _taken(self, port: Port, x: Any, dtype: np.dtype) -> Any:
        """An input of the right type and shape, in dlkit's order where images are given so."""
        x = x if isinstance(x, Tensor) else value(x)
        if x.dtype != dtype:
            raise OnnxError(f"input {port.name!r} is {x.dtype}, the graph takes {dtype}")
        images = self.channels_last and isinstance(x, Tensor) and x.ndim == 4
        shape = from_channels_last(x).shape if images else tuple(x.shape)
        wanted = port.shape
        if wanted is not None and not _fits(shape, wanted):
            sizes = "×".join(str(n) if n is not None else "?" for n in wanted) or "scalar"
            raise OnnxError(
                f"input {port.name!r} has shape {'×'.join(map(str, shape)) or 'scalar'} (in ONNX's order), "
                f"the graph takes {sizes}"
            )
        return from_channels_last(x) if images else x

    def _given(self, y: Any) -> Any:
        if self.channels_last and isinstance(y, (Tensor, Permuted)) and y.ndim == 4:
            return channels_last(y)
        return plain(y)

    def extra(self) -> str:
        return f"{len(self.graph.steps)} nodes: {', '.join(self.graph.operators())}"


def _is_float(v: Any, dtype: np.dtype | None) -> bool:
    return isinstance(v, Tensor) and v.dtype == dtype


def _fits(shape: tuple[int, ...], wanted: tuple[int | str | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(not isinstance(w, int) or w == n for n, w in zip(shape, wanted))


def _uses(graph: Graph) -> dict[str, list[tuple[Step, int]]]:
    uses: dict[str, list[tuple[Step, int]]] = {}
    for step in graph.steps:
        for i, name in enumerate(step.inputs):
            uses.setdefault(name, []).append((step, i))
    return uses


def _role(array: np.ndarray, uses: list[tuple[Step, int]]) -> type[Tensor] | None:
    """Parameter, Buffer, or None for a constant."""
    if array.dtype not in FLOATS or array.ndim == 0 or not uses:
        return None
    trained = [i not in step.converter.constants for step, i in uses]
    if any(trained):
        return Parameter
    statistics = all(step.converter.op == "BatchNormalization" for step, _ in uses)
    return Buffer if statistics else None


def _order(graph: Graph, array: np.ndarray, uses: list[tuple[Step, int]]) -> Order | None:
    """The order of axes in which every use wants a weight; None if they differ, or ONNX's own will do."""
    wanted = set()
    for step, i in uses:
        shapes = [array.shape if j == i else None for j in range(len(step.inputs))]
        wanted.add(step.converter.weights(shapes, step.attributes).get(i))
    return wanted.pop() if len(wanted) == 1 else None
