"""Matrix products: square ones, and those of a linear layer's training step (weights are [in, out])."""

from __future__ import annotations

from functools import partial

import numpy as np

from dlkit import ops
from dlkit.bench.case import Case, Inputs, add
from dlkit.bench.cases.common import forward, label, normal


def _inputs(M: int, I: int, O: int, ta: bool, tb: bool, rng: np.random.Generator) -> Inputs:
    a = normal(rng, I, M) if ta else normal(rng, M, I)
    b = normal(rng, O, I) if tb else normal(rng, I, O)
    return {"a": a, "b": b, "transpose_a": ta, "transpose_b": tb}


def _flops(inputs: Inputs) -> float:
    a, b = inputs["a"], inputs["b"]
    return 2.0 * a.size * b.shape[0 if inputs["transpose_b"] else 1]


def _product(inputs: Inputs, a, b):
    return ops.matmul(a, b, transpose_a=inputs["transpose_a"], transpose_b=inputs["transpose_b"])


def _add(name: str, M: int, I: int, O: int, ta: bool = False, tb: bool = False) -> None:
    add(
        Case(
            name,
            "matmul",
            partial(_inputs, M, I, O, ta, tb),
            partial(_inputs, 3, 4, 5, ta, tb),
            forward(_product, ("a", "b")),
            "matmul",
            _flops,
        )
    )


for n in (128, 512, 2048):
    _add(f"matmul {label(n, n, n)}", n, n, n)
for rows, wide, out in ((64, 784, 256), (256, 1024, 1024)):
    layer = label(rows, wide, out)
    _add(f"linear {layer} y = x w", rows, wide, out)
    _add(f"linear {layer} dx = dy wᵀ", rows, out, wide, tb=True)
    _add(f"linear {layer} dw = xᵀ dy", wide, rows, out, ta=True)
