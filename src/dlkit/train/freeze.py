"""Which layers of a network stay as they are while the rest learns, and until when.

A frozen layer's weights get no gradient, and its batch norm uses the running statistics: a frozen part computes the same
function in every step. Layers are taken in the order in which an example passes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlkit.errors import ConfigError
from dlkit.nn import Module, Parameter, Sequential, observe_modules
from dlkit.nn.summary import run_on_shapes
from dlkit.registry import nearest

if TYPE_CHECKING:
    from dlkit.onnx.module import GraphModule

NONE, ALL_BUT_HEAD = "none", "all-but-head"


@dataclass(frozen=True)
class Part:
    """A layer or block, and the names of its parameters."""

    name: str
    parameters: tuple[str, ...]


def parts_of(model: Module, input_shape: tuple[int, ...]) -> list[Part]:
    """The network's layers and blocks that have parameters, in the order of use; a Sequential is not one but several."""
    if (graph := _imported(model)) is not None:
        return [Part(name, tuple(members)) for name, members in graph.parameters_by_step() if members]
    blocks: dict[str, list[str]] = {}
    for name in _parameters_by_use(model, input_shape):
        blocks.setdefault(_block_of(model, name), []).append(name)
    return [Part(block, tuple(members)) for block, members in blocks.items()]


def _parameters_by_use(model: Module, input_shape: tuple[int, ...]) -> list[str]:
    """Found by passing shapes through; parameters that no module used are last."""
    names = {id(p): name for name, p in model.named_parameters()}
    found: dict[str, None] = {}

    def on_module(module: Module, inputs: tuple, y: object) -> None:
        own = [value for value in vars(module).values() if isinstance(value, Parameter)]
        found.update((names[id(p)], None) for p in own)

    run_on_shapes(model, input_shape, (), observe_modules(on_module))
    return list(dict.fromkeys([*found, *names.values()]))


def _block_of(model: Module, parameter: str) -> str:
    """The name of the part that holds a parameter: the first module on the way to it that is not a Sequential."""
    module, prefix = model, ""
    while True:
        parts = {f"{prefix}{child}": part for child, part in module.named_children()}
        name = next((n for n in parts if parameter.startswith(f"{n}.")), None)
        if name is None:
            return parameter
        if not isinstance(parts[name], Sequential):
            return name
        module, prefix = parts[name], f"{name}."


def _imported(model: Module) -> GraphModule | None:
    from dlkit.onnx.module import GraphModule

    return model if isinstance(model, GraphModule) else None


def head_of(build: Callable[[int], Module], classes: int) -> set[str]:
    """The parameters that depend on the number of classes: those of the last layer, and of auxiliary heads."""
    shapes = [{name: p.shape for name, p in build(n).named_parameters()} for n in (classes, classes + 1)]
    return {name for name, shape in shapes[0].items() if shapes[1].get(name) != shape}


class Freezing:
    """until : "none", "all-but-head", or the name of a part or layer, up to which all are frozen.
    every : epochs after which one part more is set free, the last first (0: never).

    Raises : ConfigError if there is no such part, or nothing would be left to train.
    Source : gradual unfreezing: Howard & Ruder 2018, Universal language model fine-tuning, section 3.3
    """

    def __init__(self, model: Module, input_shape: tuple[int, ...], head: set[str], until: str, every: int = 0):
        self.model, self.every = model, every
        self.frozen: list[Part] = []
        if until != NONE:
            self.frozen = [p for p in _first(parts_of(model, input_shape), head, until) if p.parameters]

    def names_at(self, epoch: int) -> set[str]:
        """What is frozen in an epoch (0, 1, ...)."""
        free = epoch // self.every if self.every else 0
        return {name for part in self.frozen[: max(len(self.frozen) - free, 0)] for name in part.parameters}

    def apply(self, epoch: int) -> None:
        """Freezes and unfreezes; call it when an epoch begins, after `model.train()`."""
        frozen = self.names_at(epoch)
        tensors = dict(self.model.named_parameters())
        for name, p in tensors.items():
            p.requires_grad = name not in frozen
            if name in frozen:
                p.grad = None
        still = {id(tensors[name]) for name in frozen}
        for module in self.model.modules():
            own = [value for value in vars(module).values() if isinstance(value, Parameter)]
            if own and all(id(p) in still for p in own):
                module.training = False
        if (graph := _imported(self.model)) is not None:  # it has no layers of its own to switch
            graph.freeze(frozen)

    def remarks(self) -> list[str]:
        if not self.frozen:
            return []
        count = sum(p.size for name, p in self.model.named_parameters() if name in self.names_at(0))
        last = self.frozen[-1].name
        note = f"frozen: {count:,} parameters, up to {last}"
        if self.every:
            when = "every epoch" if self.every == 1 else f"every {self.every} epochs"
            note += f"; after {when} one part more is set free, the last first ({len(self.frozen)} parts)"
        return [note]


def _first(parts: list[Part], head: set[str], until: str) -> list[Part]:
    """The parts to freeze; of one that holds a bit of the head, the rest."""
    if until == ALL_BUT_HEAD:
        if not head:
            raise ConfigError(
                "freeze (=all-but-head): which layer makes the classes cannot be told in this network; give the name of the "
                f"last layer to freeze, one of {', '.join(p.name for p in parts[:12])}"
            )
        return [Part(p.name, tuple(n for n in p.parameters if n not in head)) for p in parts]
    names = [name for p in parts for name in p.parameters]
    places = [(p.name, name) for p in parts for name in p.parameters]
    inside = [i for i, both in enumerate(places) if any(n == until or n.startswith(f"{until}.") for n in both)]
    if not inside:
        known = [p.name for p in parts]
        shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        raise ConfigError(
            f"freeze (={until}): no such layer{nearest(until, known)}; give all-but-head, none, or a name that dlkit summary "
            f"shows, such as {shown}"
        )
    upto = set(names[: max(inside) + 1])
    if len(upto) == len(names):
        raise ConfigError(f"freeze (={until}): nothing would be left to train; freeze fewer layers, or all-but-head")
    return [Part(p.name, tuple(n for n in p.parameters if n in upto)) for p in parts]
