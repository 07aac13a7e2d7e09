"""The memory behind large arrays that the native kernels return: kept when freed, so that steps touch no new pages.

What is held stays near the most that was ever in use at one time. `release()` gives the free part back to the system:
after a big step, say, when a long-lived process turns to something else.
"""

from __future__ import annotations

__all__ = ["release", "stats"]


def stats() -> dict[str, int]:
    """Bytes `in_use`, `peak` (the most in use so far) and `kept` (free, not given back); `fresh` blocks made so far.

    All 0 where the compiled kernels are missing: NumPy's arrays come from malloc.
    """
    try:
        from dlkit._native import pool
    except ImportError:
        return dict.fromkeys(("in_use", "peak", "kept", "fresh"), 0)
    return pool.stats()


def release() -> None:
    """Gives all free memory of the pool back to the system; `peak` starts anew."""
    try:
        from dlkit._native import pool
    except ImportError:
        return
    pool.release()
