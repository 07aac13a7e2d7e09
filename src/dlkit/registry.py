"""A named collection that is the only list of its kind: ops, models, layers, optimisers, schedules, data sets."""

from __future__ import annotations

import difflib
import importlib
from typing import Any, Generic, TypeVar

from dlkit.errors import ConfigError

T = TypeVar("T")


def nearest(word: str, known: list[str]) -> str:
    """ " (did you mean 'x'?)" or "", to put behind an error about an unknown name."""
    longer = [name for name in known if word and name.startswith(word)]
    close = difflib.get_close_matches(word, longer or known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


class Registry(dict[str, T], Generic[T]):
    """Maps names to things of one kind; an unknown name is a ConfigError that suggests the nearest known one."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind
        self.elsewhere: dict[str, str] = {}

    def leave_to(self, module: str, name: str) -> None:
        """`module` adds this one when it is imported, which happens when it is first asked for."""
        self.elsewhere[name] = module

    def add(self, name: str, item: T) -> T:
        if name in self:
            raise ConfigError(f"two {self.kind}s are called {name!r}")
        self[name] = item
        return item

    def __missing__(self, name: str) -> T:
        if name in self.elsewhere:
            importlib.import_module(self.elsewhere[name])
            return self[name]
        known = self.names()
        raise ConfigError(f"unknown {self.kind} {name!r}{nearest(str(name), known)}; known: {', '.join(known)}")

    def names(self) -> list[str]:
        return sorted({*self, *self.elsewhere})


OPS: Registry[Any] = Registry("op")  # filled by dlkit.ops; here so that Tensor's operators can look it up
