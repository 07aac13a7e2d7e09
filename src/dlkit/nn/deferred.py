"""Layers whose input size is left open: the first symbol they are called on decides it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlkit.errors import ConfigError, ShapeError
from dlkit.nn.module import Module
from dlkit.symbol import Symbol, user_line


class Deferred:
    """A layer to be made by `make(channels)` with the size of the last axis of its first input.

    Called again, it is the same layer with the same weights. It is no module: until it is made it has no parameters,
    and none of them could be forgotten by an optimiser.
    """

    def __init__(self, label: str, make: Callable[[int], Module]):
        self.label, self.make = label, make
        self.layer: Module | None = None

    def made_for(self, x: Symbol) -> Module:
        """The layer, made now if it was not.  Raises : ShapeError for an input without channels."""
        if self.layer is None:
            if x.ndim < 2:
                raise ShapeError(f"{self.label} on {x.shape} in {user_line()}: expected [N, ..., channels]")
            self.layer = self.make(int(x.shape[-1]))
        return self.layer

    def __call__(self, x: Any, *more: Any) -> Any:
        if not isinstance(x, Symbol):
            raise ConfigError(
                f"{self.label} takes its input size from a symbol, {type(x).__name__} given; "
                "build the network on Input(shape), or use the layer of dlkit.nn that is told its sizes"
            )
        return self.made_for(x)(x, *more)

    def __repr__(self) -> str:
        return self.label
