"""What an exported graph is written with.

Every tensor of the traced network has one or two names in the graph: "last", its axes as dlkit has them, and "first", an
image [N, H, W, C] as ONNX has it, [N, C, H, W]. An emitter asks for the form it needs; a Transpose appears where a
tensor is needed in a form that it does not have yet, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.errors import UnsupportedOnnx
from dlkit.registry import Registry
from dlkit.tensor import Tensor

LAST, FIRST = "last", "first"
TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass
class Call:
    """One traced op: its inputs (tensors, numbers, None), attributes and output."""

    inputs: list[Any]
    attributes: dict[str, Any]
    output: Tensor


EMITTERS: Registry[Callable[[Writer, Call], None]] = Registry("ONNX emitter")


def emitter(*names: str) -> Callable[[Callable], Callable]:
    """Registers a function for dlkit's ops of these names."""

    def register(function: Callable[[Writer, Call], None]) -> Callable:
        for name in names:
            EMITTERS.add(name, function)
        return function

    return register


class Writer:
    """Collects nodes and weights. `batch` is the number of examples the network was traced with."""

    def __init__(self, names: dict[int, str], batch: int):
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray] = {}
        self.batch = batch
        self._names = names  # id of a parameter or buffer -> its name
        self._forms: dict[int, dict[str, str]] = {}
        self._alive: list[Tensor] = []  # or another tensor might get the id of one that is gone
        self._count = 0

    # -- names ----------------------------------------------------------------------------------------------------

    def fresh(self, hint: str) -> str:
        self._count += 1
        return f"{hint}_{self._count}"

    def define(self, x: Tensor, name: str, form: str = LAST) -> None:
        """From now on `x` is called `name` in this form."""
        self._alive.append(x)
        self._forms.setdefault(id(x), {})[form] = name

    def known(self, x: Any) -> dict[str, str]:
        return self._forms.get(id(x), {})

    def is_weight(self, x: Any) -> bool:
        """Is x no result of the network: a parameter, a buffer, a constant?"""
        return isinstance(x, Tensor) and id(x) not in self._forms

    def name(self, x: Any, form: str = LAST) -> str:
        """The name of a tensor (or number) in a form; written down or transposed now if need be."""
        if not isinstance(x, Tensor):
            return self.constant(np.array(x, np.float32))
        if self.is_weight(x):
            array = x.numpy()
            return self.weight(x, array.transpose(TO_FIRST) if form == FIRST else array, f".{form}" * (form == FIRST))
        forms = self._forms[id(x)]
        if form not in forms:
            other = LAST if form == FIRST else FIRST
            axes = TO_FIRST if form == FIRST else TO_LAST
            forms[form] = self.node("Transpose", [forms[other]], perm=axes)
        return forms[form]

    def weight(self, x: Tensor, array: np.ndarray, suffix: str = "") -> str:
        """The name of a weight whose values are `array`: x's own or a rearrangement, told apart by the suffix."""
        name = self._names.get(id(x), "")
        if not name:
            self._alive.append(x)
            name = self._names[id(x)] = self.fresh("constant")
        self.weights.setdefault(name + suffix, np.ascontiguousarray(array))
        return name + suffix

    def constant(self, array: np.ndarray, hint: str = "constant") -> str:
        for name, known in self.weights.items():
            if name.startswith("constant_") and known.dtype == array.dtype and np.array_equal(known, array):
                return name
        name = self.fresh(hint)
        self.weights[name] = array
        return name

    def integers(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    # -- nodes ----------------------------------------------------------------------------------------------------

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        """Adds a node; returns the name of its output."""
        import onnx

        output = self.fresh(op.lower())
        given: Any = {k: list(v) if isinstance(v, tuple) else v for k, v in attributes.items() if v is not None}
        self.nodes.append(onnx.helper.make_node(op, inputs, [output], name=output, **given))
        return output

    def form_of(self, *xs: Any) -> str:
        """The form in which the first result among `xs` that has four axes is there already."""
        for x in xs:
            if isinstance(x, Tensor) and x.ndim == 4 and not self.is_weight(x):
                return FIRST if FIRST in self.known(x) else LAST
        return LAST

    def broadcast(self, x: Any, form: str) -> str:
        """The name of an operand that broadcasts against images in this form."""
        if form == LAST or not isinstance(x, Tensor) or x.ndim in (0, 4):
            return self.name(x, form if isinstance(x, Tensor) and x.ndim == 4 else LAST)
        wide = (1,) * (4 - x.ndim) + tuple(x.shape)
        if self.is_weight(x):
            return self.weight(x, x.numpy().reshape(wide).transpose(TO_FIRST), ".image")
        row = self.node("Reshape", [self.name(x), self.integers(*wide)])
        return self.node("Transpose", [row], perm=TO_FIRST)

    def activated(self, y: str, activation: str | None, slope: float = 0.0) -> str:
        """The name of f(y) for an activation fused behind an op."""
        if activation is None:
            return y
        if activation == "leaky_relu":
            return self.node("LeakyRelu", [y], alpha=slope)
        if activation == "relu6":
            return self.node(
                "Clip", [y, self.constant(np.array(0, np.float32)), self.constant(np.array(6, np.float32))]
            )
        return self.node({"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[activation], [y])

    def axis(self, axis: int, form: str) -> int:
        """Where dlkit's axis of an image is in this form."""
        return TO_FIRST.index(axis) if form == FIRST else axis


def refuse(name: str, reason: str) -> UnsupportedOnnx:
    return UnsupportedOnnx(f"op {name} cannot be exported: {reason}")
