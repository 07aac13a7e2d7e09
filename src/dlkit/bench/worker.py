"""One side of a training step in a process of its own.

    python -m dlkit.bench.worker dlkit|torch NAME VARIANT THREADS INPUTS ANSWER

NAME is the case for dlkit's side and the peer for PyTorch's, which must not load dlkit's kernels: they tell the C
library to keep freed memory. The first step's answer goes into the file ANSWER. Then every line on stdin, a number of
steps, is followed by one JSON line on stdout: seconds and page faults; the end of stdin ends the process.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from pathlib import Path

from dlkit.backends import kernels
from dlkit.bench.case import CASES, Inputs, Work
from dlkit.bench.measure import block_of
from dlkit.bench.parcel import read_inputs, write_arrays


def load(side: str, threads: int) -> None:
    """Imports what the side needs; the network is not built yet."""
    if side == "torch":
        from dlkit.bench import peers

        peers.set_num_threads(threads)
    else:
        from dlkit.bench import cases  # noqa: F401 - fills CASES
        from dlkit.threads import set_num_threads

        set_num_threads(threads)
        kernels()


def build(side: str, name: str, variant: str, inputs: Inputs) -> Work:
    if side == "torch":
        from dlkit.bench.peers import PEERS

        return PEERS[name].build(inputs, variant)
    return CASES[name].ours(inputs)


def resident(field: str) -> float:
    """VmRSS (now) or VmHWM (peak) in MB; where there is no /proc, the peak since the process began."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return int(status.partition(field + ":")[2].split()[0]) / 1024


def forget_peak() -> None:
    """From here on VmHWM counts anew, where Linux allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def main(side: str, name: str, variant: str, threads: str, inputs: str, answer: str) -> None:
    load(side, int(threads))
    loaded = resident("VmRSS")
    work = build(side, name, variant, read_inputs(inputs))
    write_arrays(answer, work.answer(work.run()))
    forget_peak()
    block = block_of(work.run)
    print(json.dumps({"ready": name}), flush=True)
    for line in sys.stdin:
        count = int(line)
        before = page_faults()
        seconds = block(count)
        faults = (page_faults() - before) / (count + 1)  # a block begins with a step that is not timed
        report = {"seconds": seconds, "faults": faults, "peak_mb": resident("VmHWM"), "loaded_mb": loaded}
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
