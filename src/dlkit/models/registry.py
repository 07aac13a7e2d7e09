"""The list of models: a decorator puts a builder and its name into MODELS.

    @model("lenet5", source="LeCun et al. 1998")
    def lenet5(input_shape, classes, *, activation="tanh"): ...

A builder takes the shape of one example, (H, W, C) or (F,), and the number of classes; its keyword arguments are the
options that `dlkit train` offers for it. Weights are drawn from the default generator (dlkit.random).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dlkit.errors import ConfigError
from dlkit.models.user import UserModel, is_user_model
from dlkit.nn import Module
from dlkit.registry import Registry, nearest


@dataclass(frozen=True)
class ModelEntry:
    name: str
    build: Callable[..., Module]
    source: str
    options: dict[str, Any]  # keyword arguments and their defaults
    shrunk: dict[str, Any] = field(default_factory=dict)  # options of a small copy, for gradient checks and tests
    smallest: int = 12  # pixels each way of the images that copy is given
    task: str = "classify"  # or "segment": a class for each pixel

    @property
    def description(self) -> str:
        """All that the builder's docstring says: what it is, and what differs from the paper."""
        return inspect.getdoc(self.build) or ""

    @property
    def summary(self) -> str:
        return self.description.partition("\n")[0]


MODELS: Registry[ModelEntry] = Registry("model")


def model(
    name: str,
    source: str = "",
    *,
    shrunk: dict[str, Any] | None = None,
    smallest: int = 12,
    task: str = "classify",
) -> Callable[[Callable[..., Module]], Callable[..., Module]]:
    def register(build: Callable[..., Module]) -> Callable[..., Module]:
        parameters = inspect.signature(build).parameters.values()
        options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        MODELS.add(name, ModelEntry(name, build, source, options, shrunk or {}, smallest, task))
        return build

    return register


def build_model(name: str, input_shape: tuple[int, ...], classes: int, **options: Any) -> Module:
    """A model by name, or from a user's file (`path.py:build`). Options that are None are left to the builder's default.

    Raises : ConfigError for an unknown model, an option it does not have, or an input it cannot take.
    """
    given = {k: v for k, v in options.items() if v is not None}
    if is_user_model(name):
        return UserModel.parse(name).build(input_shape, classes, given)
    entry = MODELS[name]
    for option in given:
        if option not in entry.options:
            has = f"its options are {', '.join(entry.options)}" if entry.options else "it has none"
            raise ConfigError(f"model {name!r} has no option {option!r}{nearest(option, list(entry.options))}; {has}")
    if classes < 1:
        raise ConfigError(f"a model needs at least one class; {classes} given")
    return entry.build(tuple(input_shape), classes, **given)


def require_image(name: str, input_shape: tuple[int, ...], least: int = 1) -> tuple[int, int, int]:
    """(H, W, C), or ConfigError if the examples are not images of at least `least` pixels each way."""
    if len(input_shape) != 3:
        raise ConfigError(
            f"model {name!r} needs images (H, W, C); these examples have shape {input_shape}. "
            "Models for any shape: logistic, shallow, mlp"
        )
    if min(input_shape[:2]) < least:
        raise ConfigError(
            f"model {name!r} needs images of at least {least}×{least} pixels; "
            f"these are {input_shape[0]}×{input_shape[1]}"
        )
    return input_shape  # type: ignore[return-value]
