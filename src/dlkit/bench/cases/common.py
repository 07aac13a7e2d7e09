"""What the modules of cases share: arrays, and an op alone or with its way back through the tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dlkit.bench.case import Inputs, Work
from dlkit.tensor import Tensor


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


def label(*sizes: int) -> str:
    return "x".join(map(str, sizes))


def numbers(*tensors: Any) -> list[np.ndarray]:
    return [t.numpy() for t in tensors]


def forward(f: Callable[..., Tensor], names: tuple[str, ...]) -> Callable[[Inputs], Work]:
    """f on the inputs called `names`, then the inputs themselves; nothing is recorded."""

    def ours(inputs: Inputs) -> Work:
        tensors = [Tensor(inputs[name]) for name in names]
        return Work(lambda: f(inputs, *tensors), lambda y: numbers(y))

    return ours


def forward_backward(f: Callable[..., Tensor], names: tuple[str, ...]) -> Callable[[Inputs], Work]:
    """The same, recorded, and back from inputs["dy"]; the answer is the output and every gradient."""

    def ours(inputs: Inputs) -> Work:
        tensors = [Tensor(inputs[name], requires_grad=True) for name in names]
        dy = Tensor(inputs["dy"])

        def run() -> Tensor:
            for t in tensors:
                t.grad = None
            y = f(inputs, *tensors)
            y.backward(dy)
            return y

        return Work(run, lambda y: numbers(y, *(t.grad for t in tensors)))

    return ours
