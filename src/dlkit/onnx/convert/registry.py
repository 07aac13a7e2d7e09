"""The list of ONNX operators that dlkit computes: a decorator puts a function under the operator's name and version.

    @converter("Softmax", since=13)
    def softmax(x, *, axis=-1):
        return ops.softmax(x, axis=axis)

Positional parameters are the operator's inputs (None where one is omitted), keyword-only ones its attributes with
ONNX's defaults; a parameter `context` is not an attribute but tells about the call (see Context). The function returns
one value, or a tuple for several outputs. A model's opset version chooses the newest function that is not newer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.errors import ConfigError, OnnxError, UnsupportedOnnx
from dlkit.onnx.layout import Order, Permuted, plain, pointwise
from dlkit.onnx.safety import check_broadcast
from dlkit.onnx.values import is_half, value
from dlkit.tensor import Tensor

OLDEST = 6  # opset versions that were read and tested
NEWEST = 28
TRAINING = "ai.onnx.preview.training"


@dataclass(frozen=True)
class Context:
    """About one call: is the network being trained, and which outputs are wanted."""

    training: bool
    outputs: tuple[bool, ...]


@dataclass(frozen=True)
class Converter:
    """One operator from one version on."""

    op: str
    domain: str
    since: int
    function: Callable[..., Any]
    layout: str  # "plain": inputs in ONNX's order; "pointwise": any one order; "image": as they are
    halves: bool  # takes half-precision arrays as they are; else they are computed in float32
    weights: Callable[..., dict[int, Order]]  # (shapes, attributes) -> order to keep a weight at an input position in
    constants: tuple[int, ...]  # input positions that are never trained

    @property
    def parameters(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self.function).parameters.values())

    def check(self, inputs: tuple[str, ...], attributes: dict[str, Any]) -> None:
        """Raises : UnsupportedOnnx for an unknown attribute, OnnxError for a missing one or a wrong number of inputs."""
        keywords = {p.name: p for p in self.parameters if p.kind is p.KEYWORD_ONLY and p.name != "context"}
        for name in attributes:
            if name not in keywords:
                raise UnsupportedOnnx(f"attribute {name!r} is not known")
        for name, p in keywords.items():
            if p.default is p.empty and name not in attributes:
                raise OnnxError(f"attribute {name!r} is missing")
        positional = [p for p in self.parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        variadic = any(p.kind is p.VAR_POSITIONAL for p in self.parameters)
        least = sum(p.default is p.empty for p in positional)
        if len(inputs) < least or (len(inputs) > len(positional) and not variadic):
            most = "any number" if variadic else len(positional)
            raise OnnxError(f"{len(inputs)} inputs, expected {least} to {most}")
        needed = inputs if variadic else inputs[:least]
        if "" in needed:
            raise OnnxError(f"input {needed.index('')} is left out, but needed")

    def __call__(self, inputs: tuple, attributes: dict[str, Any], context: Context) -> tuple:
        """The outputs for these inputs, as values of the graph."""
        if self._wants_context:
            attributes = {**attributes, "context": context}
        half = None if self.halves else next((x.dtype for x in inputs if is_half(x)), None)
        if half is not None:
            inputs = tuple(value(x.astype(np.float32)) if is_half(x) else x for x in inputs)

        def function(*xs: Any) -> Any:
            return self.function(*xs, **attributes)

        arrays = [x.shape for x in inputs if x is not None]
        if self.layout == "pointwise" and len(arrays) > 1:
            check_broadcast(*arrays)
        if self.layout == "pointwise":
            y = pointwise(function, inputs)
        else:
            y = function(*(inputs if self.layout == "image" else map(plain, inputs)))
        outputs = y if isinstance(y, tuple) else (y,)
        if half is not None:
            outputs = tuple(_narrowed(y, half) for y in outputs)
        return tuple(np.asarray(y) if isinstance(y, np.generic) else y for y in outputs)

    @property
    def _wants_context(self) -> bool:
        return any(p.name == "context" for p in self.parameters)


def _narrowed(y: Any, dtype: np.dtype) -> Any:
    y = plain(y) if isinstance(y, Permuted) else y
    return y.numpy().astype(dtype) if isinstance(y, Tensor) and y.dtype == np.float32 else y


CONVERTERS: dict[tuple[str, str], list[Converter]] = {}


def converter(
    *names: str,
    since: int = 1,
    domain: str = "",
    layout: str = "plain",
    halves: bool = False,
    weights: Callable[..., dict[int, Order]] | None = None,
    constants: tuple[int, ...] = (),
) -> Callable[[Callable], Callable]:
    """Registers a function for the operators `names` of `domain` from opset version `since` on."""

    def register(function: Callable) -> Callable:
        for name in names:
            versions = CONVERTERS.setdefault((domain, name), [])
            if any(c.since == since for c in versions):
                raise ConfigError(f"two converters of {name!r} begin at version {since}")
            kept = weights or (lambda shapes, attributes: {})
            versions.append(Converter(name, domain, since, function, layout, halves, kept, constants))
            versions.sort(key=lambda c: c.since)
        return function

    return register


def find(domain: str, op: str, version: int) -> Converter | None:
    """The converter for an operator as of an opset version, None if there is none."""
    return next((c for c in reversed(CONVERTERS.get((domain, op), [])) if c.since <= version), None)
