"""Tensor: an array on some device, and how it came to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dlkit import tape
from dlkit.backends import kernels
from dlkit.backends.meta import MetaArray
from dlkit.errors import DTypeError, GradientError, UsageError
from dlkit.registry import OPS

_NUMBER_TYPES = (int, float, bool, np.number, np.bool_)


class Tensor:
    """An n-dimensional array that can record the operations made on it.

    data : array-like. Python numbers and lists become float32 (or int64, bool); NumPy arrays keep their dtype.
    requires_grad : record operations, so that `backward()` can fill `.grad`; float32 or float64 only.
    device : where the data lives ("cpu"; others as backends for them are registered).

    `.data` is the device's own array: everything above the backends reads only its shape and dtype; `numpy()` brings
    it to the host.
    """

    __array_ufunc__ = None  # so that array * tensor asks the tensor
    __slots__ = ("__weakref__", "data", "device", "grad", "hooks", "node", "requires_grad")

    def __init__(self, data: Any, *, dtype: Any = None, requires_grad: bool = False, device: str = "cpu"):
        if isinstance(data, Tensor):
            data = data.numpy()
        is_array = isinstance(data, (np.ndarray, np.generic))
        host = np.asarray(data, dtype=dtype)
        if dtype is None and not is_array and host.dtype == np.float64:
            host = host.astype(np.float32)
        if not host.dtype.isnative:  # as files of other machines have them
            host = host.astype(host.dtype.newbyteorder("="))
        if host.dtype == object:
            raise DTypeError("a tensor is made of numbers; rows of unequal length or other objects were given")
        # a view of its own: the tape tells tensors apart by their arrays (second derivatives)
        self.data = kernels(device).from_host(host[...])
        self.device = device
        self.grad: Tensor | None = None
        self.node: tape.Node | None = None
        self.hooks: list[Callable] | None = None
        self.requires_grad = False
        if requires_grad:
            self.require_grad()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies and pickles hold values, not how they came to be.  Raises : GradientError for the result of an op."""
        if self.node is not None:
            raise GradientError("the result of an op is not copied or pickled with its history; .detach() it first")
        return super().__reduce_ex__(protocol)

    # -- made by ops, not by users --------------------------------------------------------------------------

    @classmethod
    def wrap(cls, data: Any, device: str) -> Tensor:
        """A tensor around an array that is already on the device; no copy, no history."""
        self = object.__new__(cls)
        self.data = data
        self.device = device
        self.grad = self.node = self.hooks = None
        self.requires_grad = False
        return self

    @classmethod
    def of_node(cls, data: Any, device: str, node: tape.Node) -> Tensor:
        """A tensor that `node` produced."""
        self = cls.wrap(data, device)
        self.node = node
        self.requires_grad = True
        return self

    # -- what it is --------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return len(self.data.shape)

    @property
    def size(self) -> int:
        size = 1
        for n in self.data.shape:
            size *= n
        return size

    @property
    def is_leaf(self) -> bool:
        return self.node is None

    def __len__(self) -> int:
        if not self.shape:
            raise UsageError("a tensor of shape () has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __repr__(self) -> str:
        if self.device == "meta":
            return f"Tensor(shape={self.shape}, dtype={self.dtype}, device=meta)"
        body = np.array2string(self.numpy(), precision=4, threshold=20, separator=", ", prefix="Tensor(")
        made_by = f", made by {self.node.op.name}" if self.node else ""
        leaf = ", requires_grad=True" if self.requires_grad and self.node is None else ""
        return f"Tensor({body}, dtype={self.dtype}{leaf}{made_by})"

    # -- to the host and between types ----------------------------------------------------------------------------

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array; on the CPU it shares memory with the tensor, so treat it as read-only."""
        return kernels(self.device).to_host(self.data)

    def item(self) -> float:
        """The one value of a one-element tensor, as a Python number."""
        if self.size != 1:
            raise UsageError(f"item() needs a tensor with one element; this one has shape {self.shape}")
        return self.numpy().reshape(()).item()

    def tolist(self) -> Any:
        return self.numpy().tolist()

    def to(self, device: str) -> Tensor:
        """The same values on another device, by way of the host; detached."""
        return self if device == self.device else Tensor(self.numpy(), device=device)

    def astype(self, dtype: Any) -> Tensor:
        return OPS["cast"](self, dtype=np.dtype(dtype))

    # -- gradients -------------------------------------------------------------------------------------------------

    def require_grad(self, wanted: bool = True) -> Tensor:
        """Turns recording on or off for this leaf; returns itself."""
        if wanted and self.dtype.kind != "f":
            raise DTypeError(f"only float tensors have gradients; this one is {self.dtype}")
        if self.node is not None:
            raise GradientError("requires_grad can be set on leaves only; this tensor was made by an op")
        self.requires_grad = wanted
        return self

    def backward(self, dy: Any = None, *, retain_graph: bool = False, create_graph: bool = False) -> None:
        tape.backward(self, dy, retain_graph=retain_graph, create_graph=create_graph)

    backward.__doc__ = tape.backward.__doc__

    def detach(self) -> Tensor:
        """The same data without history; it shares memory."""
        if self.device == "meta":
            return Tensor.wrap(MetaArray(self.shape, self.dtype), "meta")
        return Tensor.wrap(kernels(self.device).reshape(self.data, self.shape), self.device)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Calls `hook(gradient)` when this tensor's gradient is known; what it returns (if not None) replaces it.

        Returns a function that removes the hook again.
        """
        if not self.requires_grad:
            raise GradientError("a hook on a tensor that requires no gradient would never be called")
        owner = self if self.node is None else self.node
        if owner.hooks is None:
            owner.hooks = []
        owner.hooks.append(hook)
        return lambda: owner.hooks.remove(hook) if owner.hooks else None

    def retain_grad(self) -> Tensor:
        """Also fills `.grad` of this intermediate result when backward passes it; returns itself."""
        if self.node is not None:

            def keep(g: Tensor) -> None:
                self.grad = g

            self.register_hook(keep)
        return self

    # -- operators and methods: each is an op of the same name --------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return OPS["add"](self, other)

    def __radd__(self, other: Any) -> Tensor:
        return OPS["add"](other, self)

    def __sub__(self, other: Any) -> Tensor:
        return OPS["subtract"](self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return OPS["subtract"](other, self)

    def __mul__(self, other: Any) -> Tensor:
        return OPS["multiply"](self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return OPS["multiply"](other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return OPS["divide"](self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return OPS["divide"](other, self)

    def __pow__(self, other: Any) -> Tensor:
        return OPS["power"](self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return OPS["power"](other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return OPS["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return OPS["matmul"](other, self)

    def __neg__(self) -> Tensor:
        return OPS["negative"](self)

    def __gt__(self, other: Any) -> Tensor:
        return OPS["greater"](self, other)

    def __ge__(self, other: Any) -> Tensor:
        return OPS["greater_equal"](self, other)

    def __lt__(self, other: Any) -> Tensor:
        return OPS["greater"](other, self)

    def __le__(self, other: Any) -> Tensor:
        return OPS["greater_equal"](other, self)

    def __getitem__(self, index: Any) -> Tensor:
        return OPS["take"](self, index=index)

    def exp(self) -> Tensor:
        return OPS["exp"](self)

    def log(self) -> Tensor:
        return OPS["log"](self)

    def sqrt(self) -> Tensor:
        return OPS["sqrt"](self)

    def abs(self) -> Tensor:
        return OPS["abs"](self)

    def clip(self, low: float, high: float) -> Tensor:
        return OPS["clip"](self, low=low, high=high)

    def relu(self) -> Tensor:
        return OPS["relu"](self)

    def sigmoid(self) -> Tensor:
        return OPS["sigmoid"](self)

    def tanh(self) -> Tensor:
        return OPS["tanh"](self)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return OPS["sum"](self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return OPS["mean"](self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return OPS["var"](self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return OPS["max"](self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int = -1) -> Tensor:
        return OPS["argmax"](self, axis=axis)

    def matmul(self, other: Any) -> Tensor:
        return OPS["matmul"](self, other)

    def reshape(self, *shape: Any) -> Tensor:
        return OPS["reshape"](self, shape=shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)

    def transpose(self, *axes: Any) -> Tensor:
        return OPS["transpose"](self, axes=axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes)

    @property
    def T(self) -> Tensor:  # noqa: N802 - the name every course uses
        return OPS["transpose"](self, axes=())


def as_tensor(x: Any, like: Tensor) -> Tensor:
    """`x` as a tensor on the device of `like`; Python floats take its dtype, so a number never widens a product."""
    if isinstance(x, Tensor):
        return x
    if like.device == "meta":
        return Tensor.wrap(MetaArray(np.shape(x), getattr(x, "dtype", like.dtype)), "meta")
    dtype = like.dtype if not isinstance(x, (np.ndarray, np.generic)) and like.dtype.kind == "f" else None
    return Tensor(x, dtype=dtype, device=like.device)


def is_number(x: Any) -> bool:
    return isinstance(x, _NUMBER_TYPES)


def plain_number(x: Any) -> Any:
    """A Python number for a NumPy one, whose own dtype would widen a float32 product."""
    return x.item() if isinstance(x, np.generic) else x
