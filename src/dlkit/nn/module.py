"""Module: parameters, buffers and sub-modules under one name; what a network is made of.

Attributes say everything: a `Parameter` is trained, a `Buffer` is kept with the weights but not trained, a `Module`
(or a list of them) is a part. Names follow the attributes: `blocks.0.conv.weight`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dlkit import tape
from dlkit.backends.meta import MetaArray
from dlkit.errors import CheckpointError, ShapeError
from dlkit.symbol import Symbol, has_symbol, leaves, mapped, recorded, user_line
from dlkit.tensor import Tensor

_observers: list[Callable[[Module, tuple, Any], None]] = []
_unfolding: list[bool] = []


class Parameter(Tensor):
    """A tensor that is trained."""

    __slots__ = ()

    def __init__(self, data: Any, **kwargs: Any):
        if isinstance(data, np.ndarray):
            data = data.copy()  # optimisers write into it
        super().__init__(data, requires_grad=True, **kwargs)

    @classmethod
    def undrawn(cls, shape: tuple[int, ...]) -> Parameter:
        """A parameter with a shape and no values."""
        self: Any = cls.wrap(MetaArray(shape), "meta")
        self.requires_grad = True
        return self


class Buffer(Tensor):
    """A tensor that belongs to a module's state but is not trained: running averages."""

    __slots__ = ()


class Module:
    """Base of every layer and network: define `forward`, assign parameters and parts to attributes."""

    training = True

    def forward(self, *args: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *args: Any) -> Any:
        for x in args:
            if x.__class__ is not Tensor and has_symbol(x):
                return self._on_symbols(args)
        y = self.forward(*args)
        if _observers:
            for observer in _observers:
                observer(self, args, y)
        return y

    def _on_symbols(self, args: tuple) -> Any:
        """The call as one step of a graph; inside `unfolded` every layer in it is a step of its own."""
        if _unfolding and next(self.named_children(), None) is not None:
            return self.forward(*args)
        try:
            y = self.forward(*mapped(lambda x: x.plain() if isinstance(x, Symbol) else x, args))
        except ShapeError as error:
            shapes = " and ".join(str(x.shape) for x in leaves(args) if isinstance(x, Symbol))
            raise ShapeError(f"{layer_of(error) or self.label()} on {shapes} in {user_line()}: {error}") from None
        return recorded(self, args, {}, y)

    # -- walking ------------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple)):
                for i, item in enumerate(value):
                    if isinstance(item, Module):
                        yield f"{name}.{i}", item

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Itself ("") and everything below, each module once, depth first."""
        seen: set[int] = set()

        def walk(module: Module, name: str) -> Iterator[tuple[str, Module]]:
            if id(module) in seen:
                return
            seen.add(id(module))
            yield name, module
            for child, part in module.named_children():
                yield from walk(part, f"{name}.{child}" if name else child)

        yield from walk(self, prefix)

    def modules(self) -> Iterator[Module]:
        return (m for _, m in self.named_modules())

    def _named(self, kind: type) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, kind) and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{prefix}.{name}" if prefix else name, value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        return self._named(Parameter)

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        return self._named(Buffer)

    def parameters(self) -> list[Parameter]:
        return [p for _, p in self.named_parameters()]

    # -- modes ----------------------------------------------------------------------------------------------------

    def train(self, training: bool = True) -> Module:
        """Training mode (dropout drops, batch norm uses the batch); returns itself."""
        for module in self.modules():
            module.training = training
        return self

    def eval(self) -> Module:
        """Inference mode; returns itself."""
        return self.train(False)

    def zero_grad(self) -> None:
        for p in self.parameters():
            p.grad = None

    def to(self, device: str) -> Module:
        """Moves parameters and buffers to a device, in place; returns itself."""
        for _, t in [*self.named_parameters(), *self.named_buffers()]:
            if t.device != device:
                t.data = Tensor(t.numpy(), device=device).data
                t.device, t.grad = device, None
        return self

    def astype(self, dtype: Any) -> Module:
        """Converts float parameters and buffers, in place; returns itself."""
        for _, t in [*self.named_parameters(), *self.named_buffers()]:
            t.data = Tensor(t.numpy(), dtype=dtype, device=t.device).data
            t.grad = None
        return self

    # -- state ----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """name -> host copy of every parameter and buffer."""
        return {name: np.array(t.numpy()) for name, t in [*self.named_parameters(), *self.named_buffers()]}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Takes over all values.  Raises : CheckpointError naming each missing, extra or wrong-shaped tensor."""
        own: dict[str, Tensor] = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        wrong = [f"missing {n!r}" for n in own if n not in state]
        wrong += [f"unexpected {n!r}" for n in state if n not in own]
        wrong += [
            f"{n!r} has shape {np.shape(state[n])}, expected {t.shape}"
            for n, t in own.items()
            if n in state and tuple(np.shape(state[n])) != t.shape
        ]
        if wrong:
            shown = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
            raise CheckpointError(f"the weights do not fit this network: {shown}")
        for name, t in own.items():
            t.data = Tensor(np.array(state[name], dtype=t.dtype), device=t.device).data

    def parameter_count(self) -> int:
        return sum(p.size for p in self.parameters())

    # -- printing ---------------------------------------------------------------------------------------------------

    def extra(self) -> str:
        """What stands in the brackets of a layer's repr."""
        return ""

    def label(self) -> str:
        """The layer on one line: Conv2d(3, 16, 3×3)."""
        return f"{type(self).__name__}({self.extra()})"

    def __repr__(self) -> str:
        lines = [f"  ({name}): " + repr(part).replace("\n", "\n  ") for name, part in self.named_children()]
        inside = self.extra() + ("\n" + "\n".join(lines) + "\n" if lines else "")
        return f"{type(self).__name__}({inside})"


def layer_of(error: BaseException) -> str:
    """The label of the innermost module whose forward raised `error`; "" if none did."""
    label, trace = "", error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_locals.get("self")
        if trace.tb_frame.f_code.co_name == "forward" and isinstance(module, Module):
            label = module.label()
        trace = trace.tb_next
    return label


class unfolded:
    """In a `with` block a module that is made of others and called on symbols records their calls, not its own."""

    def __enter__(self) -> None:
        _unfolding.append(True)

    def __exit__(self, *exc: object) -> None:
        _unfolding.pop()


class observe_modules:
    """Calls `observer(module, inputs, output)` after every module's forward in a `with` block."""

    def __init__(self, observer: Callable[[Module, tuple, Any], None]):
        self.observer = observer

    def __enter__(self) -> None:
        _observers.append(self.observer)

    def __exit__(self, *exc: object) -> None:
        _observers.remove(self.observer)


def inference(module: Module) -> _Inference:
    """`with inference(model):` no tape, inference mode; the mode before returns afterwards."""
    return _Inference(module)


class _Inference:
    def __init__(self, module: Module):
        self.module = module

    def __enter__(self) -> Module:
        self.modes = [(m, m.training) for m in self.module.modules()]
        self.module.eval()
        self.no_grad = tape.no_grad()
        self.no_grad.__enter__()
        return self.module

    def __exit__(self, *exc: Any) -> None:
        self.no_grad.__exit__(*exc)
        for module, training in self.modes:
            module.training = training
