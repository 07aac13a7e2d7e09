"""Kernels in C (csrc/), compiled for several instruction sets; the default on a CPU.

Each function takes contiguous float32 or float64 arrays and declines the rest, which the reference then computes.
"""

import importlib

from dlkit._native.matrix import keep_memory
from dlkit.backends.contract import NAMES

for _part in ("activation", "elementwise", "loss", "matrix", "norm", "optim", "pool", "reduce", "resample", "shape"):
    _module = importlib.import_module(f"{__name__}.{_part}")
    globals().update({name: function for name, function in vars(_module).items() if name in NAMES})

keep_memory()  # steps take and free the same large arrays over and over
