"""The file formats, one module each; `FORMATS` is the only list of them.

A format module offers
    NAME               what it is, for messages
    OPTIONS            which of the options "image_size", "grey", "label" it understands
    accepts(path)      from the name and, for a folder, what lies in it; opens no big file
    read(path, options) -> Dataset
The first format that accepts a path reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..dataset import Dataset


@dataclass(frozen=True)
class Options:
    """What the caller of `load` asked for. `classes` are given where the data set is known by name."""

    name: str
    image_size: tuple[int, int] | None = None
    grey: bool | None = None
    label: str | None = None
    test_split: float = 0.2
    seed: int = 0
    classes: tuple[str, ...] | None = None


class Format(Protocol):
    NAME: str
    OPTIONS: frozenset[str]

    def accepts(self, path: Path) -> bool: ...

    def read(self, path: Path, options: Options) -> Dataset: ...


from . import cifarbin, csvfile, digits, hdf5, idx, imagefolder, npz  # noqa: E402 (they need Options)

# Image folders come last among folders: any folder may be one.
FORMATS: tuple[Format, ...] = (digits, idx, hdf5, npz, csvfile, cifarbin, imagefolder)
