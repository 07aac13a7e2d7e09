"""The numba backend: the contract's hot kernels as Python loops that LLVM compiles on first use.

It stands in for `native` where no C compiler built that, and computes in float32 and float64; anything else
is declined. Importing it compiles nothing. The first call of a kernel takes up to a few seconds, kept in Numba's
cache for the next process. `compile_report()` says in one line what was compiled, `cached()` what is kept, and
the logger "dlkit.numba" names each kernel at level INFO.

    _compile      from a Python loop to a kernel, serial and parallel; which arguments a kernel takes
    _functions    exp and its relatives, without a branch
    _formulas     one scalar formula per function: no arrays, no loops
    _tile         hand-laid machine code: a small tile of a matrix product, held in registers
    _vector       hand-laid machine code: a constant matrix times a column of vectors
    elementwise, activation    a formula in a loop          matmul, conv, narrow, winograd   tiles in loops
    reduce, loss, norm, pool, resample, optim               loops

Threads split the output, or fixed chunks that are added up in order: any number of them gives the same bits.
"""

# ruff: noqa: F403 - each file's kernels become attributes of this module
from dlkit.backends.numba._compile import cached as cached
from dlkit.backends.numba._compile import compile_report as compile_report
from dlkit.backends.numba._compile import compile_seconds as compile_seconds
from dlkit.backends.numba.activation import *
from dlkit.backends.numba.conv import *
from dlkit.backends.numba.elementwise import *
from dlkit.backends.numba.loss import *
from dlkit.backends.numba.matmul import *
from dlkit.backends.numba.norm import *
from dlkit.backends.numba.optim import *
from dlkit.backends.numba.pool import *
from dlkit.backends.numba.reduce import *
from dlkit.backends.numba.resample import *
