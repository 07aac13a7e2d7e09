"""From a Python loop to a kernel, and from a caller's arrays to the arrays a kernel takes.

A kernel has two variants from the same source: with one thread, for little work (and in a
fraction of the time), and with `prange` over all threads. Which one runs follows from the work alone, so
the bits of a result do not depend on the number of threads.

Numba keeps machine code beside the source, in the user's cache directory where that is read-only, or in
NUMBA_CACHE_DIR. It keys it by argument types, CPU model and CPU features, and by the file of the kernel; names here
carry a digest of all files of this folder too, as kernels call into several.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import itertools
import logging
import math
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numba.core import event

from dlkit.backends.contract import Decline

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


DIGEST = hashlib.sha1(b"".join(p.read_bytes() for p in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()[:10]


# -- compiling -------------------------------------------------------------------------------------


def jit(function: Callable, parallel: bool = False, reassociate: bool = False) -> Any:
    """The function through Numba, compiled when first called.

    1/0 is inf; NaN stays NaN; fused multiply-add may be used. `reassociate` lets a sum be taken in several
    lanes, NaN and infinity still honoured.
    """
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


def loop_over(formula: Any, loop: Any) -> Kernel:
    """The loop, with `formula` for the name `formula` in it, as a Kernel of its own."""
    plain = getattr(formula, "py_func", formula)  # those of `_functions` are compiled functions already
    name = f"{plain.__name__}_{loop.__name__}"
    return Kernel(renamed(loop, name, plain, formula=formula if plain is not formula else jit(formula)))


def renamed(function: Any, name: str, place: Any, **names: Any) -> FunctionType:
    """A copy called `name`, seeing `names` beside its globals. Numba's cache knows it by qualified name and place."""
    code = function.__code__.replace(
        co_name=name,
        co_qualname=name,
        co_filename=place.__code__.co_filename,
        co_firstlineno=place.__code__.co_firstlineno,
    )
    copy = FunctionType(code, {**function.__globals__, **names} if names else function.__globals__, name)
    copy.__module__, copy.__qualname__ = place.__module__, f"{name}_{DIGEST}"
    return copy


class _Clock(event.Listener):
    """Times compilations. A kernel compiles what it calls; those seconds count for the kernel."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.unreported: dict[str, float] = {}
        self._running: list[float] = []

    def on_start(self, event: Any) -> None:
        self._running.append(perf_counter())

    def on_end(self, event: Any) -> None:
        start = self._running.pop()
        function = event.data["dispatcher"].py_func
        if not self._running and function.__module__.startswith(__package__ + "."):
            name, seconds = function.__name__, perf_counter() - start
            for total in (self.seconds, self.unreported):
                total[name] = total.get(name, 0.0) + seconds
            log.info("compiled %s in %.1f s", name, seconds)


_clock = _Clock()
event.register("numba:compile", _clock)  # Numba compiles under one lock, so starts and ends nest


def compile_seconds() -> dict[str, float]:
    """kernel -> seconds this process spent compiling it, both dtypes together; not what its cache held."""
    return dict(_clock.seconds)


@jit
def nothing():  # type: ignore[no-untyped-def]
    """Never called: knows where Numba keeps what it compiles for this folder."""


def cache_folder() -> Path | None:
    """Where compiled kernels are kept; None if nowhere can be written to."""
    path = nothing.stats.cache_path
    return Path(path) if path else None


def cached() -> dict[str, Any]:
    """What is kept of these kernels for other processes: folder, number of kernels, size."""
    folder = cache_folder()
    files = list(folder.glob(f"*_{DIGEST}-*")) if folder else []
    return {
        "folder": str(folder or "none: no folder can be written to"),
        "kernels": sum(file.suffix == ".nbi" for file in files),
        "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 1),
    }


def compile_report() -> str | None:
    """One line on what was compiled since the last report, or None if nothing was."""
    seconds = _clock.unreported
    if not seconds:
        return None
    _clock.unreported = {}
    kept = f"kept in {cache_folder()} for next time" if cache_folder() else "nowhere to keep them: set NUMBA_CACHE_DIR"
    return f"numba: compiled {len(seconds)} kernel{'s' * (len(seconds) != 1)} in {sum(seconds.values()):.0f} s ({kept})"


# -- arguments -------------------------------------------------------------------------------------

REAL = (np.dtype(np.float32), np.dtype(np.float64))


def ready(x: Any) -> Any:
    """x C-contiguous, aligned and writeable (read-only is another type to Numba); copied where it is not."""
    return x if x.flags.carray else np.array(x, order="C")


def unfit(*arrays: Any) -> Decline | None:
    """Why these arrays are not all float32 or all float64; None stands for an array left out."""
    dtype = None
    for x in arrays:
        if x is not None:
            if dtype is None:
                dtype = x.dtype
                if dtype not in REAL:
                    return Decline(f"dtype {dtype}; float32 and float64 only")
            elif x.dtype != dtype:
                return Decline(f"dtypes {dtype} and {x.dtype} together")
    return None


def in_place(*arrays: Any) -> Decline | None:
    """Why these arrays cannot be updated where they are."""
    for x in arrays:
        if x is not None and not x.flags.carray:
            return Decline("updates in place only contiguous, writeable arrays")
    return unfit(*arrays)


def real_but(*others: str) -> Callable:
    """Decorator: the function gets its arrays ready, all of one real dtype except `others`, or declines."""

    def decorate(f: Any) -> Any:
        names = tuple(inspect.signature(f).parameters)
        free = tuple(name in others for name in names)

        @functools.wraps(f)
        def checked(*args: Any, **kwargs: Any) -> Any:
            if kwargs:
                args += tuple(kwargs.pop(name) for name in names[len(args) :] if name in kwargs)
                if kwargs:
                    raise TypeError(f"{f.__name__}() has no argument {next(iter(kwargs))!r}")
            dtype, taken = None, []
            for a, any_dtype in zip(args, free):
                if isinstance(a, np.ndarray):
                    if a.dtype is not dtype and not any_dtype:
                        if why := unfit(*([] if dtype is None else [np.empty(0, dtype)]), a):
                            return why
                        dtype = a.dtype
                    a = ready(a)
                taken.append(a)
            return f(*taken)

        return checked

    return decorate


real = real_but()


def or_empty(x: Any, like: Any) -> Any:
    """x, or an array of size 0 for None: to Numba both are one type."""
    return np.empty(0, like.dtype) if x is None else x


class _Kept(threading.local):
    memory = np.empty(0, np.uint8)


_kept = _Kept()


def workspace(dtype: Any, *shapes: tuple[int, ...]) -> list[Any]:
    """Arrays for use inside one call, in memory that this thread keeps: fresh memory costs a page fault every 4 KB."""
    sizes = [-(-math.prod(shape) * dtype.itemsize // 64) * 64 for shape in shapes]
    if sum(sizes) > _kept.memory.size:
        _kept.memory = np.empty(sum(sizes), np.uint8)
    starts = itertools.accumulate(sizes, initial=0)
    return [np.ndarray(shape, dtype, _kept.memory, start) for shape, start in zip(shapes, starts)]
