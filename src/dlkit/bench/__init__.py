"""Benchmarks: every case checks its answer, then is timed, alone or in turn with PyTorch.

case.py      what a case is, and the list of them; cases/ declares them, one file for each kind of work
peers/       PyTorch's side of each case, imported only for a comparison
measure.py   alternating blocks, medians, spread
peak.py      the machine's measured limits
isolated.py  training steps: each side in a process of its own (worker.py), inputs and answers as files (parcel.py)
run.py       all of it together

>>> from dlkit.bench import Benchmark, Options, select
>>> bench = Benchmark(Options(against="torch", threads=2))
>>> bench.run(select("kernels", "conv vgg")[0]).ratio
"""

from dlkit.bench.case import CASES, Case, Work
from dlkit.bench.run import KINDS, Benchmark, Machine, Options, Result, select

__all__ = ["CASES", "KINDS", "Benchmark", "Case", "Machine", "Options", "Result", "Work", "select"]
