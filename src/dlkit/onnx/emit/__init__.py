"""One small function for each of dlkit's ops that says which ONNX nodes it is. Importing this package imports each module
beside it."""

from __future__ import annotations

import importlib
import pkgutil

from dlkit.onnx.emit.writer import EMITTERS, Call, Writer, emitter

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["EMITTERS", "Call", "Writer", "emitter"]
