"""From a Python loop to a kernel, and from a caller's arrays to the arrays a kernel takes.

`dlkit.jit` compiles; this adds loops over a formula, the checks on arguments, and memory to work in.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.backends.contract import Decline
from dlkit.jit import Kernel, digest, kept_in, renamed
from dlkit.jit import compile_report as compile_report
from dlkit.jit import compile_seconds as compile_seconds
from dlkit.jit import jit as jit
from dlkit.jit import kernel as kernel

# -- compiling -------------------------------------------------------------------------------------


def loop_over(formula: Any, loop: Any) -> Kernel:
    """The loop, with `formula` for the name `formula` in it, as a Kernel of its own."""
    plain = getattr(formula, "py_func", formula)  # those of `_functions` are compiled functions already
    name = f"{plain.__name__}_{loop.__name__}"
    return Kernel(renamed(loop, name, plain, formula=formula if plain is not formula else jit(formula)))


@jit
def nothing():  # type: ignore[no-untyped-def]
    """Never called: knows where Numba keeps what it compiles for this folder."""


def cached() -> dict[str, Any]:
    """What is kept of these kernels for other processes: folder, number of kernels, size."""
    folder = kept_in(nothing)
    files = list(folder.glob(f"*_{digest(Path(__file__).parent)}-*")) if folder else []
    return {
        "folder": str(folder or "none: no folder can be written to"),
        "kernels": sum(file.suffix == ".nbi" for file in files),
        "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 1),
    }


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
