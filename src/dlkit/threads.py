"""How many CPU threads work: one number for the native kernels, Numba and NumPy's BLAS."""

from __future__ import annotations

import os
import sys


def set_num_threads(n: int) -> None:
    """n : threads, at least 1; 0 means one per core that this process may use.  OMP_NUM_THREADS sets the default."""
    n = n or cores()
    try:
        from dlkit._native import matrix
    except ImportError:
        pass
    else:
        matrix.set_num_threads(n)
    if "numba" in sys.modules:
        import numba

        numba.set_num_threads(min(n, numba.get_num_threads()))
    else:
        os.environ["NUMBA_NUM_THREADS"] = str(max(n, cores()))
    from threadpoolctl import threadpool_limits

    threadpool_limits(n, user_api="blas")


def cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
