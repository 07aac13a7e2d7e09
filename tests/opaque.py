"""A device that is not the host: a test-only backend whose arrays show shape and dtype, and nothing else.

    import opaque                                        registers backend and device "opaque"
    x = Tensor(array, device="opaque")                   one transfer in
    with opaque.counting() as transfers: ...             transfers.to_host, transfers.from_host

Its kernels unwrap, call the reference kernel and wrap again. Everything above the backends that touches an
array itself (indexing, arithmetic, `np.asarray`) fails here, as it would on a GPU; so does a host array that
slips into a kernel without `from_host`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from dlkit.backends import reference, register_backend
from dlkit.backends.contract import NAMES

DEVICE = "opaque"


class OpaqueArray:
    """Shape and dtype of an array that is elsewhere."""

    __slots__ = ("__weakref__", "_elsewhere")
    __array_ufunc__ = None  # NumPy refuses it instead of making an object array of it

    def __init__(self, array: np.ndarray):
        self._elsewhere = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self._elsewhere.shape

    @property
    def dtype(self) -> np.dtype:
        return self._elsewhere.dtype

    def __bool__(self) -> bool:
        raise TypeError("the truth of an array on the device is not known to the host")


@dataclass
class Transfers:
    to_host: int = 0
    from_host: int = 0


_transfers = Transfers()


@contextlib.contextmanager
def counting() -> Iterator[Transfers]:
    """Counts transfers in the block, from zero."""
    global _transfers
    before, _transfers = _transfers, Transfers()
    try:
        yield _transfers
    finally:
        _transfers = before


def _unwrap(x: Any, host_arrays: bool) -> Any:
    if isinstance(x, OpaqueArray):
        return x._elsewhere
    if isinstance(x, (tuple, list)):
        return type(x)(_unwrap(item, host_arrays) for item in x)
    if isinstance(x, np.ndarray) and not host_arrays:
        raise TypeError("a host array was given to a kernel of another device; use from_host")
    return x


def _unwrap_index(index: tuple) -> tuple:
    """An index may hold host arrays, and nothing that is on the device (contract.py)."""
    if any(isinstance(part, OpaqueArray) for part in index):
        raise TypeError("an array on the device was given as an index; the contract promises host integers")
    return index


def _wrap(y: Any) -> Any:
    if isinstance(y, tuple):
        return tuple(_wrap(part) for part in y)
    return OpaqueArray(y) if isinstance(y, np.ndarray) else y


def _lifted(name: str) -> Callable:
    kernel = getattr(reference, name)

    @functools.wraps(kernel)
    def lifted(*args: Any, **kwargs: Any) -> Any:
        if name in ("take", "take_backward"):
            x, index, *rest = args
            return _wrap(kernel(_unwrap(x, False), _unwrap_index(index), *rest, **kwargs))
        return _wrap(kernel(*_unwrap(args, False), **{k: _unwrap(v, False) for k, v in kwargs.items()}))

    return lifted


def from_host(x: np.ndarray) -> OpaqueArray:
    _transfers.from_host += 1
    return OpaqueArray(np.array(x))


def to_host(x: OpaqueArray) -> np.ndarray:
    _transfers.to_host += 1
    return np.array(x._elsewhere)


def _load() -> SimpleNamespace:
    kernels = {name: _lifted(name) for name in NAMES}
    return SimpleNamespace(**{**kernels, "from_host": from_host, "to_host": to_host})


register_backend("opaque", DEVICE, _load)
