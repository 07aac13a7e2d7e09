"""Layers one after the other."""

from __future__ import annotations

from typing import Any

from dlkit.errors import ConfigError
from dlkit.nn.deferred import Deferred
from dlkit.nn.module import Module
from dlkit.symbol import Symbol
from dlkit.tensor import Tensor


class Sequential(Module):
    """Layers one after the other. `Sequential(a, b, c)` or `Sequential([a, b, c])`.

    Begun with an `Input`, shapes are checked at once, and the layers of `dlkit.layers` find their input sizes.
    """

    def __init__(self, *layers: Module | Deferred | Symbol | list):
        given: list[Any] = [m for layer in layers for m in (layer if isinstance(layer, list) else [layer])]
        self.layers: list[Module] = _built(given[0], given[1:]) if given and isinstance(given[0], Symbol) else given
        for layer in self.layers:
            if isinstance(layer, Deferred):
                raise ConfigError(f"{layer} does not know its input yet; begin with Input((height, width, channels))")
            if isinstance(layer, Symbol):
                raise ConfigError("an Input can only be the first of a Sequential; dlkit.nn.Model takes several")

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, i: int) -> Module:
        return self.layers[i]


def _built(x: Any, layers: list) -> list[Module]:
    """The layers, each made for the shape that reaches it.  Raises : ShapeError where one does not fit."""
    out = []
    for layer in layers:
        module = layer.made_for(x) if isinstance(layer, Deferred) else layer
        if isinstance(module, Module):
            x = module(x)
        out.append(module)
    return out
