"""What a network is made of and what it costs, found from the ops' shape rules without running it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from dlkit.backends.meta import MetaArray
from dlkit.nn.module import Module, observe_modules
from dlkit.ops.op import Op, observe
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

    input: tuple[int, ...]
    layers: list[LayerSummary] = field(default_factory=list)
    parameters: int = 0
    flops: int = 0
    batch: int = 1
    weight_bytes: int = 0
    activation_bytes: int = 0
    training_state_bytes: int = 0

    def to_dict(self) -> dict:
        return asdict(self)

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


def summarize(model: Module, input_shape: tuple[int, ...], batch: int = 1) -> Summary:
    """input_shape : of one example, (H, W, C) or (F,).  Raises : ShapeError where the shapes do not fit."""
    summary = Summary(input=tuple(input_shape), batch=batch)
    names = {id(m): n for n, m in model.named_modules()}
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

    def on_module(module: Module, inputs: tuple, y: Tensor) -> None:
        if next(module.named_children(), None) is None:
            count = sum(p.size for p in module.parameters())
            label = f"{type(module).__name__}({module.extra()})"
            summary.layers.append(LayerSummary(names[id(module)], label, y.shape[1:], count, pending[0]))
            pending[0] = 0
        elif module is not model and pending[0] and summary.layers:  # ops a block runs between its layers
            summary.layers.append(
                LayerSummary(names[id(module)], f"{type(module).__name__} (sum)", y.shape[1:], 0, pending[0])
            )
            pending[0] = 0

    training = [(m, m.training) for m in model.modules()]
    model.train()
    try:
        with no_grad(), observe(on_op), observe_modules(on_module):
            model(Tensor.wrap(MetaArray((1, *input_shape)), "meta"))
    finally:
        for module, mode in training:
            module.training = mode
    summary.parameters = model.parameter_count()
    summary.weight_bytes = 4 * summary.parameters
    summary.training_state_bytes = 12 * summary.parameters
    return summary
