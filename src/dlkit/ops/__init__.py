"""Every operation, once. Importing this package imports each module beside it; each declares its ops in OPS.

`from dlkit.ops import relu` and `dlkit.relu` are the same object; `OPS["relu"]` finds it by name.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from dlkit.ops.op import BadCall, Op, Sample, observe
from dlkit.registry import OPS

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

globals().update(OPS.items())

if TYPE_CHECKING:

    def __getattr__(name: str) -> Op: ...


__all__ = ["OPS", "BadCall", "Op", "Sample", "observe", *OPS.names()]
