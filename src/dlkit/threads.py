"""How many CPU threads work: one number for the native kernels, Numba and NumPy's BLAS."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from typing import Any

from dlkit.errors import ConfigError

MOST = 256  # threads; the OpenMP runtime crashes where the system has no memory for so many

_requested = 0  # 0: nobody asked; each library then decides for itself


def set_num_threads(n: int) -> None:
    """n : threads, 1 to MOST; 0 means OMP_NUM_THREADS, or one per core that this process may use.

    Raises : ConfigError if n or OMP_NUM_THREADS is not such a number.
    """
    global _requested
    if not 0 <= n <= MOST:
        raise ConfigError(f"threads (={n}) must be 0 to {MOST}; 0 is one per core")
    _requested = n or _from_environment() or cores()
    if "numba" in sys.modules:
        apply_to_numba()
    _apply_to_native(_requested)
    import threadpoolctl  # noqa: F401 - so that it counts as loaded

    _blas(len(sys.modules)).limit(limits=_requested)


@functools.lru_cache(maxsize=1)
def _blas(modules: int) -> Any:
    """The BLAS libraries in this process. A look through them takes milliseconds: only where a module came since."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@contextlib.contextmanager
def limited(n: int) -> Iterator[None]:
    """n threads inside the block, unless OMP_NUM_THREADS or an earlier call asked for a number; as before after it."""
    before = _requested
    if not before and not _from_environment():
        set_num_threads(n)
    try:
        yield
    finally:
        if _requested != before:
            set_num_threads(before)
            _forget()


def _forget() -> None:
    global _requested
    _requested = 0


def num_threads() -> int:
    """The number that `set_num_threads` settled on; before any call, what it would settle on for 0."""
    return _requested or _from_environment() or cores()


def _from_environment() -> int:
    text = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if text and not (text.isdigit() and 0 < int(text) <= MOST):
        raise ConfigError(f"OMP_NUM_THREADS (={text!r}) must be a whole number from 1 to {MOST}; correct or unset it")
    return int(text or 0)


def apply_to_numba() -> None:
    """Tells Numba the number asked for; also called when the numba backend is loaded after that."""
    if wanted := _requested or _from_environment():
        import numba

        limit: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(min(wanted, limit))
        _apply_to_native(wanted)  # Numba, starting its threads, sets the OpenMP runtime that both use to all cores


def _apply_to_native(n: int) -> None:
    try:
        from dlkit._native import matrix
    except ImportError:
        return
    matrix.set_num_threads(n)


def cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
