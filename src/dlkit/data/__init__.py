"""Data sets: `load` by name or path, `Dataset`, `Source`, `stratified_split`. Importing this stays light."""

from __future__ import annotations

from .dataset import Dataset, stratified_split
from .load import load
from .sources import ArraySource, ImageFilesSource, Source, Subset

__all__ = ["ArraySource", "Dataset", "ImageFilesSource", "Source", "Subset", "load", "stratified_split"]
