"""Derivatives of derivatives: a namespace with kernels' names whose members are ops.

An op's `backward(k, saved, dy)` only ever calls kernels by name. Given this namespace for `k` and tensors for the
arrays, the same lines run as recorded ops, so the gradient is itself differentiable. A fused kernel such as
`tanh_backward` has its formula, in terms of tensors, in FORMULAS, put there beside the op that uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlkit.errors import GradientError
from dlkit.ops.op import OPS, Op
from dlkit.tensor import Tensor

FORMULAS: dict[str, Callable] = {}


def formula_of(kernel: str) -> Callable[[Callable], Callable]:
    """Gives a fused backward kernel as a formula on tensors."""

    def register(f: Callable) -> Callable:
        FORMULAS[kernel] = f
        return f

    return register


@formula_of("copy")
def _copy(x: Tensor) -> Tensor:
    return x


@formula_of("spread")
def _spread(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return OPS["broadcast_to"](x, shape=shape)


def _call_op(op: Op) -> Callable:
    import inspect

    parameters = list(inspect.signature(op.unit.forward).parameters.values())[1:]  # type: ignore[attr-defined]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return lambda xs, *rest: op.apply(tuple(xs), dict(zip(_keyword_names(parameters), rest)))
    count = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)

    def call(*args: Any) -> Any:
        return op.apply(args[:count], dict(zip(_keyword_names(parameters), args[count:])))

    return call


def _keyword_names(parameters: list) -> list[str]:
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


class _DifferentiableKernels:
    def __getattr__(self, kernel: str) -> Callable:
        if kernel in FORMULAS:
            return FORMULAS[kernel]
        for op in OPS.values():
            if op.kernel == kernel:
                call = _call_op(op)
                self.__dict__[kernel] = call
                return call
        raise GradientError(f"no second derivative through kernel {kernel!r}: it is not an op")


differentiable_kernels = _DifferentiableKernels()


def constant(x: Tensor) -> Tensor:
    """x as a fixed factor: not differentiated again (the mask of a ReLU, say)."""
    return x.detach()
