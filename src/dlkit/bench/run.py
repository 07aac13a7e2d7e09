"""Runs cases: answers are checked first, then the sides are timed in turn."""

from __future__ import annotations

import contextlib
import fnmatch
import platform
import tempfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from dlkit.backends import current_backend
from dlkit.bench import cases as _cases  # noqa: F401 - fills CASES
from dlkit.bench import measure
from dlkit.bench.algorithm import algorithm
from dlkit.bench.case import CASES, Case, Inputs
from dlkit.bench.isolated import Process, Task
from dlkit.bench.measure import Timing
from dlkit.bench.parcel import write_inputs
from dlkit.bench.peak import Peak, measure_peak
from dlkit.errors import ConfigError
from dlkit.threads import num_threads, set_num_threads

KINDS = ("kernels", "models", "all")
STEP_SECONDS = 0.2  # a block of training steps: longer, because processes take turns
OURS = "dlkit"


@dataclass(frozen=True)
class Machine:
    """Where and with what the figures were measured."""

    cpu: str
    isa: str
    threads: int
    backend: str
    python: str
    numpy: str
    dlkit: str
    torch: str | None
    peak_gflops: float | None  # multiply-adds that stay in registers, on these threads
    copy_gbytes: float | None  # a second, read and written, beyond every cache

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Result:
    """One case. Milliseconds are medians; `*_spread` is the interquartile range relative to them; `error` the largest
    difference of the answer from the expected one.

    gflops and peak_fraction where the work is arithmetic, gbytes and copy_fraction (of the machine's copy from memory;
    more than 1 in a cache) where it is memory. ratio : torch_ms / dlkit_ms, above 1 dlkit is faster; ratio_low and
    ratio_high the smallest and largest of neighbouring blocks. Training steps also state page faults of a step, and in MB the
    peak of resident memory with the share that was there before the network (libraries).
    """

    case: str
    group: str
    threads: int
    layout: str
    dlkit_ms: float
    dlkit_spread: float
    error: float
    algorithm: str | None = None
    gflops: float | None = None
    peak_fraction: float | None = None
    gbytes: float | None = None
    copy_fraction: float | None = None
    torch_ms: float | None = None
    torch_spread: float | None = None
    torch_error: float | None = None
    torch_variant: str | None = None
    torch_all_ms: dict[str, float] | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    faults: float | None = None
    peak_mb: float | None = None
    loaded_mb: float | None = None
    torch_faults: float | None = None
    torch_peak_mb: float | None = None
    torch_loaded_mb: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Options:
    """against : None or "torch"; tuned_malloc : PyTorch's processes keep freed memory as dlkit does; tiny : test sizes."""

    against: str | None = None
    threads: int = 0
    rounds: int = measure.ROUNDS
    block_seconds: float | None = None
    tuned_malloc: bool = False
    tiny: bool = False


def select(kind: str = "all", pattern: str | None = None) -> list[Case]:
    """The cases of a kind whose name contains `pattern` or matches it as a shell pattern.

    Raises : ConfigError if there are none.
    """
    chosen = [c for c in CASES.values() if kind == "all" or c.isolated == (kind == "models")]
    if pattern:
        matching = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
        chosen = [c for c in chosen if fnmatch.fnmatchcase(c.name, matching) or c.group == pattern]
    if not chosen:
        raise ConfigError(f"no benchmark of {kind} matches {pattern!r}; `dlkit bench --list` shows all names")
    return chosen


def load_peers() -> ModuleType:
    """The package of PyTorch's sides.  Raises : ConfigError if PyTorch is not installed."""
    try:
        from dlkit.bench import peers
    except ImportError as error:
        raise ConfigError(
            f"--against torch needs PyTorch, which cannot be imported here ({error}): pip install torch"
        ) from None
    return peers


class Benchmark:
    """`machine` says where; `run(case)` measures one case.

    >>> bench = Benchmark(Options(against="torch"))
    >>> [bench.run(case).ratio for case in select("kernels", "matmul")]
    """

    def __init__(self, options: Options = Options()):
        if options.against not in (None, "torch"):
            raise ConfigError(f"unknown peer {options.against!r}; known: torch")
        if options.rounds < 1:
            raise ConfigError(f"rounds (={options.rounds}) must be at least 1")
        self.options = options
        self.peers = load_peers() if options.against else None
        set_num_threads(options.threads)
        self.threads = num_threads()
        if self.peers:
            self.peers.set_num_threads(self.threads)
        self.peak: Peak | None = measure_peak(self.threads)
        self.machine = self._machine()

    def run(self, case: Case) -> Result:
        """Raises : BenchmarkError if a side's answer is wrong."""
        rng = np.random.default_rng(zlib.crc32(case.name.encode()))  # the same numbers in every run
        inputs = (case.tiny if self.options.tiny else case.inputs)(rng)
        expected = case.expected(inputs)
        if case.isolated:
            timings, errors, memory = self._isolated(case, inputs, expected)
        else:
            timings, errors = self._together(case, inputs, expected)
            memory = {}
        return Result(
            case.name,
            case.group,
            self.threads,
            "NHWC",
            **_side("dlkit", timings[OURS]),
            error=errors[OURS],
            algorithm=algorithm(case, inputs),
            **self._rates(case, inputs, timings[OURS].median),
            **_comparison(timings, errors),
            **_memory(memory, timings),
        )

    # -- kernels: all sides in this process ---------------------------------------------------------------------------

    def _together(
        self, case: Case, inputs: Inputs, expected: list[np.ndarray]
    ) -> tuple[dict[str, Timing], dict[str, float]]:
        works = {OURS: case.ours(inputs)}
        if self.peers:
            peer = self.peers.PEERS[case.peer]
            works.update({variant: peer.build(inputs, variant) for variant in peer.variants})
        errors = {name: case.check(_called(name), work.answer(work.run()), expected) for name, work in works.items()}
        return self._time({name: measure.block_of(work.run) for name, work in works.items()}), errors

    def _time(self, blocks: dict[str, measure.Block], seconds: float = measure.BLOCK_SECONDS) -> dict[str, Timing]:
        given = self.options.block_seconds
        return measure.alternate(blocks, self.options.rounds, seconds if given is None else given)

    # -- training steps: each side in a process of its own ------------------------------------------------------------

    def _isolated(
        self, case: Case, inputs: Inputs, expected: list[np.ndarray]
    ) -> tuple[dict[str, Timing], dict[str, float], dict[str, dict[str, float]]]:
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            parcel = Path(folder) / "inputs.npz"
            write_inputs(parcel, inputs)
            processes, errors = {}, {}
            for i, (name, task) in enumerate(self._tasks(case).items()):  # one after the other: each builds undisturbed
                process = stack.enter_context(Process(task, parcel, Path(folder) / f"answer{i}.npz"))
                errors[name] = case.check(_called(name), process.answer(), expected)
                processes[name] = process
            timings = self._time({name: p.block for name, p in processes.items()}, STEP_SECONDS)
            return timings, errors, {name: p.last for name, p in processes.items()}

    def _tasks(self, case: Case) -> dict[str, Task]:
        tasks = {OURS: Task("dlkit", case.name, "", self.threads)}
        if self.peers:
            for variant in self.peers.PEERS[case.peer].variants:
                tasks[variant] = Task("torch", case.peer, variant, self.threads, self.options.tuned_malloc)
        return tasks

    # -- figures --------------------------------------------------------------------------------------------------------

    def _rates(self, case: Case, inputs: Inputs, seconds: float) -> dict[str, Any]:
        flops, moved = case.flops(inputs), case.bytes(inputs)
        rates: dict[str, Any] = {}
        if flops is not None:
            rates["gflops"] = flops / seconds / 1e9
            rates["peak_fraction"] = flops / seconds / self.peak.flops if self.peak else None
        if moved is not None:
            rates["gbytes"] = moved / seconds / 1e9
            rates["copy_fraction"] = moved / seconds / self.peak.copy if self.peak else None
        return rates

    def _machine(self) -> Machine:
        import dlkit

        return Machine(
            cpu=cpu_name(),
            isa=_isa(),
            threads=self.threads,
            backend=current_backend(),
            python=platform.python_version(),
            numpy=np.__version__,
            dlkit=dlkit.__version__,
            torch=self.peers.VERSION if self.peers else None,
            peak_gflops=self.peak.flops / 1e9 if self.peak else None,
            copy_gbytes=self.peak.copy / 1e9 if self.peak else None,
        )


def _called(name: str) -> str:
    return name if name == OURS else f"PyTorch ({name})"


def _side(name: str, timing: Timing) -> dict[str, Any]:
    return {f"{name}_ms": 1e3 * timing.median, f"{name}_spread": timing.spread}


def _fastest(timings: dict[str, Timing]) -> str | None:
    return min((n for n in timings if n != OURS), key=lambda n: timings[n].median, default=None)


def _comparison(timings: dict[str, Timing], errors: dict[str, float]) -> dict[str, Any]:
    """PyTorch's better variant against dlkit."""
    best = _fastest(timings)
    if best is None:
        return {}
    ratio, low, high = measure.ratios(timings[best], timings[OURS])
    return {
        **_side("torch", timings[best]),
        "torch_error": errors[best],
        "torch_variant": best,
        "torch_all_ms": {name: 1e3 * t.median for name, t in timings.items() if name != OURS},
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
    }


def _memory(reports: dict[str, dict[str, float]], timings: dict[str, Timing]) -> dict[str, Any]:
    if not reports:
        return {}
    best = _fastest(timings)
    sides = {"": reports[OURS], **({"torch_": reports[best]} if best else {})}
    return {side + field: r[field] for side, r in sides.items() for field in ("faults", "peak_mb", "loaded_mb")}


def cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _isa() -> str:
    try:
        from dlkit._native import matrix
    except ImportError:
        return "none: the native kernels are not built"
    return matrix.isa_name()
