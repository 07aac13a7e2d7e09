"""What to say when the loss is no longer a number."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit import tape
from dlkit.backends import kernels
from dlkit.nn import Module, observe_modules
from dlkit.tensor import Tensor


def first_bad_place(model: Module, *inputs: Tensor) -> str:
    """Where NaN or infinity first appears: in the input, in a parameter, or in the output of a layer."""
    finite = kernels(inputs[0].device).all_finite
    if not all(finite(x.data) for x in inputs):
        return "the input batch itself (check the data and its normalisation)"
    names = {id(m): n or "the network" for n, m in model.named_modules()}
    found: list[str] = []

    def on_module(module: Module, inputs: tuple, y: Any) -> None:
        if found or not isinstance(y, Tensor) or finite(y.data):
            return
        bad = [n for n, p in vars(module).items() if isinstance(p, Tensor) and not finite(p.data)]
        layer = f"{names[id(module)]} ({type(module).__name__})"
        found.append(f"the {bad[0]} of layer {layer}, after the last update" if bad else f"the output of layer {layer}")

    with tape.no_grad(), observe_modules(on_module):
        model(*inputs)
    return found[0] if found else "the loss, not in any layer"


def advice(lr: float, clip_norm: float) -> str:
    return f"try a lower --lr (it was {lr:.3g})" + ("" if clip_norm else " or --clip-norm 1")


def is_finite(value: float) -> bool:
    return bool(np.isfinite(value))
