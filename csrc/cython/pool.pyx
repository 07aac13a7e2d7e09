"""The pool of memory behind large results (csrc/pool/): what it holds, and giving it back."""

from cpython.pycapsule cimport PyCapsule_New

cdef extern from "dl_pool.h":
    struct dl_block
    struct dl_pool_stats_ "dl_pool_stats":
        size_t in_use, peak, kept, fresh
    struct dl_pool_api:
        dl_block *(*take)(size_t)
        void (*give)(dl_block *)
    dl_block *dl_pool_take(size_t)
    void dl_pool_give(dl_block *)
    void dl_pool_release()
    dl_pool_stats_ dl_pool_stats()

cdef dl_pool_api table
table.take = dl_pool_take
table.give = dl_pool_give
api = PyCapsule_New(&table, "dlkit._native.pool.api", NULL)


def stats() -> dict[str, int]:
    """Bytes: in_use, peak (the most in use so far), kept (free, not given back); fresh: blocks taken from the system."""
    cdef dl_pool_stats_ s = dl_pool_stats()
    return {"in_use": s.in_use, "peak": s.peak, "kept": s.kept, "fresh": s.fresh}


def release() -> None:
    """Gives all free memory back to the system; `peak` starts anew."""
    dl_pool_release()
