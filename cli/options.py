"""Options made from the fields of a configuration dataclass, so that there is one list of them."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import Any

import click


class Numbers(click.ParamType):
    """Whole numbers with commas: 128,64."""

    name = "n,n,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        try:
            return tuple(int(n) for n in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers such as 128,64", param, ctx)


class Shape(Numbers):
    """32x32x3 or 784."""

    name = "HxWxC"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        shape = super().convert(str(value).lower().replace("×", "x").replace("x", ","), param, ctx)
        if min(shape) < 1 or len(shape) not in (1, 3):
            self.fail(f"{value!r} is neither an image (32x32x3) nor a number of features (784)", param, ctx)
        return shape


def options_of(config: type) -> Callable[[Callable], Callable]:
    """A click option for each field of `config`; an option that is not given arrives as None."""
    kinds = typing.get_type_hints(config)

    def decorate(command: Callable) -> Callable:
        for f in reversed(dataclasses.fields(config)):
            command = _option(f, kinds[f.name])(command)
        return command

    return decorate


def _option(f: dataclasses.Field, kind: Any) -> Callable:
    if isinstance(kind, types.UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    flag = f.metadata.get("flag") or "--" + f.name.replace("_", "-")
    help_text = f.metadata["help"]
    if f.default not in (None, False) and not isinstance(f.default, bool):
        help_text += f"  [default: {f.default}]"
    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", f.name, default=None, help=help_text)
    if typing.get_origin(kind) is tuple:
        return click.option(flag, f.name, type=Numbers(), default=None, help=help_text)
    choices = f.metadata["choices"]
    names = list(choices() if callable(choices) else choices or ())
    return click.option(
        flag,
        f.name,
        type={int: int, float: float, str: str}[kind],
        default=None,
        help=help_text,
        metavar="[" + "|".join(names) + "]" if names else None,
        shell_complete=lambda ctx, param, text: [name for name in names if name.startswith(text)],
    )
