"""What a network is made of and what it costs, found from the ops' shape rules without running it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from dlkit.backends.meta import MetaArray
from dlkit.errors import ShapeError
from dlkit.nn.module import Module, layer_of, observe_modules
from dlkit.ops.op import Op, observe
from dlkit.symbol import leaves
from dlkit.tape import no_grad
from dlkit.tensor import Tensor


@dataclass
class LayerSummary:
    """One layer: output shape of one example (without the batch), parameters, FLOPs of one forward of one example."""

    name: str
    layer: str
    output: tuple[int, ...]
    parameters: int
    flops: int


@dataclass
class Summary:
    """A whole network. Memory in bytes for a batch of `batch` in float32: weights; activations that a training step
    keeps (every op's output); one gradient and two optimiser slots per parameter are `training_state`."""

    input: tuple[int, ...] | list[tuple[int, ...]]
    layers: list[LayerSummary] = field(default_factory=list)
    parameters: int = 0
    flops: int = 0
    batch: int = 1
    weight_bytes: int = 0
    activation_bytes: int = 0
    training_state_bytes: int = 0

    def to_dict(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """The summary as text, one line per layer."""
        rows = [("layer", "", "output", "parameters", "FLOPs")]
        rows += [
            (r.name, r.layer, "×".join(map(str, r.output)), f"{r.parameters:,}", f"{r.flops:,}") for r in self.layers
        ]
        rows.append(("total", "", "", f"{self.parameters:,}", f"{self.flops:,}"))
        widths = [max(len(r[i]) for r in rows) for i in range(5)]

        def line(r: tuple[str, ...]) -> str:
            left = "  ".join(r[i].ljust(widths[i]) for i in range(3))
            return left + "  " + "  ".join(r[i].rjust(widths[i]) for i in (3, 4))

        rule = "─" * len(line(rows[0]))
        mb = 2**20
        memory = (
            f"memory at batch {self.batch}: weights {self.weight_bytes / mb:.2f} MB, activations kept for backward "
            f"{self.activation_bytes / mb:.2f} MB, gradients and Adam state {self.training_state_bytes / mb:.2f} MB"
        )
        return "\n".join([line(rows[0]), rule, *map(line, rows[1:-1]), rule, line(rows[-1]), memory])


def summarize(
    model: Module,
    input_shape: tuple[int, ...] | list[tuple[int, ...]],
    batch: int = 1,
    dtypes: Sequence[Any] = ("float32",),
) -> Summary:
    """input_shape : of one example, (H, W, C) or (F,); a list of them for a network with several inputs, whose dtypes
    follow.  Raises : ShapeError, with the layer, where the shapes do not fit."""
    summary = Summary(input=input_shape, batch=batch)
    names = {id(m): n for n, m in model.named_modules()}
    counted: set[int] = set()  # layers whose parameters stand in a row already: one that is called twice has them once
    pending = [0]  # FLOPs of ops since the last leaf layer ended

    def on_op(op: Op, shapes: list, attributes: dict, output: tuple, dtype: object) -> None:
        flops = op.flops(shapes, attributes)
        pending[0] += flops
        summary.flops += flops
        if op.name not in ("reshape", "transpose", "broadcast_to"):  # views keep no memory of their own
            size = 1
            for n in output:
                size *= n
            summary.activation_bytes += 4 * size * batch

    def on_module(module: Module, inputs: tuple, y: Any) -> None:
        if next(module.named_children(), None) is None:
            count = 0 if id(module) in counted else sum(p.size for p in module.parameters())
            counted.add(id(module))
            summary.layers.append(LayerSummary(names[id(module)], module.label(), shape_of(y), count, pending[0]))
            pending[0] = 0
        elif module is not model and pending[0] and summary.layers:  # ops a block runs between its layers
            summary.layers.append(
                LayerSummary(names[id(module)], f"{type(module).__name__} (sum)", shape_of(y), 0, pending[0])
            )
            pending[0] = 0

    run_on_shapes(model, input_shape, dtypes, observe(on_op), observe_modules(on_module))
    summary.parameters = model.parameter_count()
    summary.weight_bytes = 4 * summary.parameters
    summary.training_state_bytes = 12 * summary.parameters
    return summary


def shape_of(y: Any) -> tuple[int, ...]:
    """The shape of one example in a layer's (first) output."""
    return next(t.shape[1:] for t in leaves(y) if isinstance(t, Tensor))


def run_on_shapes(
    model: Module,
    input_shape: tuple[int, ...] | list[tuple[int, ...]],
    dtypes: Sequence[Any] = ("float32",),
    *watched_by: Any,
) -> Any:
    """The output of a training step's forward on one example without data; its modes stay as they were.

    watched_by : context managers to run it in.  Raises : ShapeError, with the layer.
    """
    shapes = input_shape if isinstance(input_shape, list) else [input_shape]
    kinds = [*dtypes, *["float32"] * (len(shapes) - len(dtypes))]
    training = [(m, m.training) for m in model.modules()]
    model.train()
    try:
        with ExitStack() as stack:
            for watcher in (no_grad(), *watched_by):
                stack.enter_context(watcher)
            return model(*[Tensor.wrap(MetaArray((1, *s), kind), "meta") for s, kind in zip(shapes, kinds)])
    except ShapeError as error:
        layer = layer_of(error)
        raise ShapeError(f"{layer}: {error}" if layer and layer not in str(error) else str(error)) from None
    finally:
        for module, mode in training:
            module.training = mode
