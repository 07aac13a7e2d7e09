"""Which function runs a kernel: the backends, their order, and the lookup `kernels(device)`.

    k = kernels("cpu")          a namespace with one callable per kernel of the contract
    y = k.relu(x)               asks the chosen backend first; one that declines hands on to the next

On the CPU the order is `native` (C), then `reference` (NumPy). `numba` is chosen by name, or stands in for `native`
where the compiled extension is missing; it is not asked for the odd call that `native` declines, because importing
and compiling it would take seconds where the reference takes microseconds. No lookup ever crosses devices.

`use_backend(name)`, the option `--backend` and the variable DLKIT_BACKEND choose; `trace()` shows what ran and why
another declined; `strict=True` turns a decline by the chosen backend into an error.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from dlkit.backends.contract import NAMES, Decline, Kernels
from dlkit.errors import BackendError, ConfigError
from dlkit.registry import Registry

__all__ = [
    "BACKENDS",
    "Backend",
    "Decline",
    "Kernels",
    "TraceEntry",
    "available_backends",
    "current_backend",
    "kernels",
    "register_backend",
    "support",
    "trace",
    "use_backend",
]


@dataclass
class Backend:
    """A bag of kernels for one device. `load` returns the module (or object) that holds them."""

    name: str
    device: str
    load: Callable[[], Any]
    _kernels: dict[str, Callable] | None = field(default=None, repr=False)
    _missing: str | None = field(default=None, repr=False)

    def available(self) -> str | None:
        """None, or the reason why this backend cannot be used here."""
        if self._kernels is None and self._missing is None:
            try:
                module = self.load()
            except ImportError as error:
                self._missing = str(error)
            else:
                self._kernels = {name: getattr(module, name) for name in NAMES if hasattr(module, name)}
        return self._missing

    def kernels(self) -> dict[str, Callable]:
        if (why := self.available()) is not None:
            raise BackendError(f"backend {self.name!r} is not available here: {why}")
        assert self._kernels is not None
        return self._kernels


BACKENDS: Registry[Backend] = Registry("backend")
_FALLBACK = {"native": ("reference",), "numba": ("reference",)}


def register_backend(name: str, device: str, load: Callable[[], Any]) -> Backend:
    """Adds a backend; a new device's first backend becomes that device's current one."""
    backend = BACKENDS.add(name, Backend(name, device, load))
    _chosen.setdefault(device, name)
    return backend


_chosen: dict[str, str] = {}  # device -> backend name
_strict = False
_log: list[TraceEntry] | None = None
_tables: dict[str, Any] = {}  # device -> namespace of dispatchers


@dataclass(frozen=True)
class TraceEntry:
    """One kernel call: who ran it, and who declined before and why."""

    kernel: str
    backend: str
    declined: tuple[tuple[str, str], ...] = ()


def _module(path: str) -> Callable[[], Any]:
    return lambda: importlib.import_module(path)


for _name in ("reference", "native", "numba"):
    register_backend(_name, "cpu", _module(f"dlkit.backends.{_name}"))


def _default_cpu() -> str:
    asked = os.environ.get("DLKIT_BACKEND")
    if asked:  # an unknown or missing one is an error, not a silent other choice
        try:
            BACKENDS[asked].kernels()
        except (BackendError, ConfigError) as error:
            raise type(error)(f"DLKIT_BACKEND: {error}") from None
        return asked
    return next(name for name in ("native", "numba", "reference") if BACKENDS[name].available() is None)


_chosen["cpu"] = ""  # found on first use: importing dlkit loads no kernels


def current_backend(device: str = "cpu") -> str:
    """The name of the backend that is asked first."""
    if device not in _chosen:
        raise BackendError(f"no backend for device {device!r}; known devices: {', '.join(sorted(_chosen))}")
    if not _chosen[device]:
        _chosen[device] = _default_cpu()
    return _chosen[device]


class _Switch(contextlib.AbstractContextManager):
    """What use_backend returns: the choice is already made; leaving a `with` block undoes it."""

    def __init__(self, device: str, before: tuple[str, bool]):
        self._device, self._before = device, before

    def __exit__(self, *exc: object) -> None:
        _choose(self._device, *self._before)


def _choose(device: str, name: str, strict: bool) -> None:
    global _strict
    _chosen[device], _strict = name, strict
    _tables.clear()


def use_backend(name: str, strict: bool = False) -> _Switch:
    """Makes backend `name` the first choice of its device, for good or for a `with` block.

    strict : a kernel that the backend offers but declines for this call is a BackendError instead of a fallback.
    Raises : ConfigError for an unknown name, BackendError if it is not available on this machine.
    """
    backend = BACKENDS[name]
    backend.kernels()
    before = (_chosen[backend.device], _strict)
    _choose(backend.device, name, strict)
    return _Switch(backend.device, before)


def available_backends(device: str = "cpu") -> list[str]:
    return [b.name for b in BACKENDS.values() if b.device == device and b.available() is None]


def kernels(device: str = "cpu") -> Kernels:
    """The namespace of all kernels on a device, under the current choice of backend."""
    table = _tables.get(device)
    if table is None:
        first = current_backend(device)
        order = [first, *_FALLBACK.get(first, ())]
        table = _tables[device] = SimpleNamespace(
            **{name: _dispatcher(name, [BACKENDS[b] for b in order], _strict) for name in NAMES}
        )
    return table


def _dispatcher(name: str, order: list[Backend], strict: bool) -> Callable:
    candidates = [(b.name, b.kernels()[name]) for b in order if name in b.kernels()]
    if not candidates:

        def missing(*args: Any, **kwargs: Any) -> Any:
            raise BackendError(f"no kernel {name!r} in backend {' or '.join(b.name for b in order)}")

        return missing
    if strict:
        candidates = candidates[:1]
    first_name, first = candidates[0]
    others = candidates[1:]

    def call(*args: Any) -> Any:
        result = first(*args)
        if result.__class__ is not Decline:
            return result
        return _first_taker(name, others, args, ((first_name, result.why),))[0]

    if (log := _log) is None:
        return call

    def traced(*args: Any) -> Any:
        result, backend, declined = _first_taker(name, candidates, args)
        log.append(TraceEntry(name, backend, declined))
        return result

    return traced


def _first_taker(
    kernel: str, candidates: list, args: tuple, declined: tuple[tuple[str, str], ...] = ()
) -> tuple[Any, str, tuple]:
    """The result of the first candidate that does not decline, its name, and who declined before and why."""
    for backend, function in candidates:
        result = function(*args)
        if type(result) is not Decline:
            return result, backend, declined
        declined = (*declined, (backend, result.why))
    raise BackendError(f"kernel {kernel!r} declined: " + "; ".join(f"{b}: {why}" for b, why in declined))


@contextlib.contextmanager
def trace() -> Iterator[list[TraceEntry]]:
    """Collects every kernel call made inside the block.

    >>> with trace() as calls:
    ...     y = model(x)
    >>> {c.kernel: c.backend for c in calls}
    """
    global _log
    before, _log = _log, []
    _tables.clear()
    try:
        yield _log
    finally:
        _log = before
        _tables.clear()


def support() -> dict[str, list[str]]:
    """kernel -> the available CPU backends that offer it, for `dlkit doctor`."""
    names = available_backends("cpu")
    return {kernel: [b for b in names if kernel in BACKENDS[b].kernels()] for kernel in NAMES}
