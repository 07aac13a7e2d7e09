"""A named collection that is the only list of its kind: ops, models, layers, optimisers, schedules, data sets."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from dlkit.errors import ConfigError

T = TypeVar("T")


def nearest(word: str, known: list[str]) -> str:
    """ " (did you mean 'x'?)" or "", to put behind an error about an unknown name."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


class Registry(Generic[T]):
    """Maps names to things of one kind; an unknown name is a ConfigError that suggests the nearest known one."""

    def __init__(self, kind: str):
        self.kind = kind
        self._items: dict[str, T] = {}

    def add(self, name: str, item: T) -> T:
        if name in self._items:
            raise ConfigError(f"two {self.kind}s are called {name!r}")
        self._items[name] = item
        return item

    def __getitem__(self, name: str) -> T:
        try:
            return self._items[name]
        except KeyError:
            known = sorted(self._items)
            raise ConfigError(
                f"unknown {self.kind} {name!r}{nearest(str(name), known)}; known: {', '.join(known)}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def names(self) -> list[str]:
        return sorted(self._items)

    def values(self) -> list[T]:
        return list(self._items.values())

    def items(self) -> list[tuple[str, T]]:
        return list(self._items.items())


OPS: Registry[Any] = Registry("op")  # filled by dlkit.ops; here so that Tensor's operators can look it up
