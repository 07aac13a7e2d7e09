"""From a Python loop to machine code, by Numba: how dlkit compiles, keeps and reports.

Numba keeps machine code beside the source, in the user's cache directory where that is read-only, or in
NUMBA_CACHE_DIR. It keys it by argument types, CPU model and CPU features, and by the file of the function; names here
carry a digest of all files of the function's folder too, as functions call into several.

A kernel has two variants from the same source: with one thread, for little work (and in a
fraction of the time), and with `prange` over all threads. Which one runs follows from the work alone, so
the bits of a result do not depend on the number of threads.

Importing this module imports Numba (0.4 s) and compiles nothing.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import logging
import os
from pathlib import Path
from time import perf_counter
from types import FunctionType
from typing import Any

import numba
from numba.core import event

from dlkit.errors import ConfigError
from dlkit.threads import apply_to_numba

PARALLEL = 100_000  # simple operations, some 30 µs: less is not worth waking threads for

log = logging.getLogger("dlkit.numba")

settings: Any = numba.config
if settings.THREADING_LAYER == "default":
    try:
        importlib.import_module("numba.np.ufunc.omppool")  # unlike workqueue, safe in several threads
    except ImportError:
        pass
    else:
        settings.THREADING_LAYER = "omp"

with contextlib.suppress(ConfigError):  # a wrong OMP_NUM_THREADS is said by who sets the threads, and by dlkit doctor
    apply_to_numba()  # a number of threads asked for before Numba was there


@functools.cache
def digest(folder: Path) -> str:
    """Ten letters that change with any Python file of the folder."""
    return hashlib.sha1(b"".join(p.read_bytes() for p in sorted(folder.glob("*.py")))).hexdigest()[:10]


def jit(function: Any = None, *, parallel: bool = False, reassociate: bool = False) -> Any:
    """The function through Numba, compiled when first called; also a decorator, `@jit` or `@jit(parallel=True)`.

    1/0 is inf; NaN stays NaN; fused multiply-add may be used. `reassociate` lets a sum be taken in several
    lanes, NaN and infinity still honoured.
    """
    if function is None:
        return functools.partial(jit, parallel=parallel, reassociate=reassociate)
    fast = {"contract", "reassoc"} if reassociate else {"contract"}
    function = renamed(function, function.__name__, function)
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fast, "parallel": parallel}
    try:
        return numba.njit(function, cache=True, **options)
    except RuntimeError:  # nowhere to write a cache: compile anew in each process
        return numba.njit(function, **options)


class Kernel:
    """A loop in both variants; called with the amount of work before the loop's own arguments."""

    __slots__ = ("parallel", "serial")

    def __init__(self, function: Any, reassociate: bool = False, threads: bool = True, serial: bool = True):
        if threads:
            twin = renamed(function, function.__name__ + "_parallel", function)
            self.parallel = jit(twin, parallel=True, reassociate=reassociate)
        self.serial = jit(function, reassociate=reassociate) if serial else self.parallel
        if not threads:
            self.parallel = self.serial

    def __call__(self, work: int, *args: Any) -> None:
        (self.parallel if work >= PARALLEL else self.serial)(*args)


def kernel(function: Any = None, *, reassociate: bool = False, threads: bool = True, serial: bool = True) -> Any:
    """Decorator: a function that loops over `prange` becomes a Kernel.

    threads : False where they gain less than the second or two that compiling for them takes.
    serial : False where a second variant takes longer to compile than it will ever save.
    """
    if function is None:
        return functools.partial(Kernel, reassociate=reassociate, threads=threads, serial=serial)
    return Kernel(function, reassociate, threads, serial)


def renamed(function: Any, name: str, place: Any, **names: Any) -> FunctionType:
    """A copy called `name`, seeing `names` beside its globals. Numba's cache knows it by qualified name and place."""
    code = function.__code__.replace(
        co_name=name,
        co_qualname=name,
        co_filename=place.__code__.co_filename,
        co_firstlineno=place.__code__.co_firstlineno,
    )
    copy = FunctionType(code, {**function.__globals__, **names} if names else function.__globals__, name)
    folder = Path(place.__code__.co_filename).parent
    copy.__module__, copy.__qualname__ = place.__module__, f"{name}_{digest(folder)}"
    return copy


class _Clock(event.Listener):
    """Times compilations. A function compiles what it calls; those seconds count for the function."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.unreported: dict[str, float] = {}
        self.folders: set[Path] = set()
        self._running: list[float] = []

    def on_start(self, event: Any) -> None:
        self._running.append(perf_counter())

    def on_end(self, event: Any) -> None:
        start = self._running.pop()
        function = event.data["dispatcher"].py_func
        if not self._running and function.__module__.startswith("dlkit."):
            name, seconds = function.__name__, perf_counter() - start
            for total in (self.seconds, self.unreported):
                total[name] = total.get(name, 0.0) + seconds
            if folder := kept_in(event.data["dispatcher"]):
                self.folders.add(folder)
            log.info("compiled %s in %.1f s", name, seconds)


_clock = _Clock()
event.register("numba:compile", _clock)  # Numba compiles under one lock, so starts and ends nest


def compile_seconds() -> dict[str, float]:
    """kernel -> seconds this process spent compiling it, both dtypes together; not what its cache held."""
    return dict(_clock.seconds)


def kept_in(function: Any) -> Path | None:
    """Where Numba keeps what it compiles for the folder of this compiled function; None if nowhere can be written to."""
    path = function.stats.cache_path
    return Path(path) if path else None


def compile_report() -> str | None:
    """One line on what was compiled since the last report, or None if nothing was."""
    seconds = _clock.unreported
    if not seconds:
        return None
    _clock.unreported = {}
    folders, _clock.folders = _clock.folders, set()
    kept = (
        f"kept in {os.path.commonpath(folders)} for next time"
        if folders
        else "nowhere to keep them: set NUMBA_CACHE_DIR"
    )
    return f"numba: compiled {len(seconds)} kernel{'s' * (len(seconds) != 1)} in {sum(seconds.values()):.0f} s ({kept})"
