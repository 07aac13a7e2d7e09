"""One small function for each ONNX operator. Importing this package imports each module beside it."""

from __future__ import annotations

import importlib
import pkgutil

from dlkit.onnx.convert.registry import CONVERTERS, NEWEST, OLDEST, TRAINING, Context, Converter, converter, find

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["CONVERTERS", "NEWEST", "OLDEST", "TRAINING", "Context", "Converter", "converter", "find"]
