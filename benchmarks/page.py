"""Prints the tables of docs/performance.md from what `dlkit bench --against torch --json` kept.

dlkit bench all --against torch --json > results.json
python benchmarks/page.py results.json [more.json ...]
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def number(x: float | None, digits: int = 2) -> str:
    return "" if x is None else f"{x:.{digits}f}"


def milliseconds(x: float | None) -> str:
    return "" if x is None else f"{x:.3f}" if x < 1 else f"{x:.2f}" if x < 100 else f"{x:.0f}"


def kernels(rows: list[Row]) -> list[list[str]]:
    """One line a case."""
    table = [["case", "dlkit ms", "algorithm", "of peak", "PyTorch ms", "layout", "ratio", "blocks"]]
    for r in rows:
        table.append(
            [
                r["case"],
                milliseconds(r["dlkit_ms"]),
                r["algorithm"] or "",
                "" if r["peak_fraction"] is None else f"{100 * r['peak_fraction']:.0f} %",
                milliseconds(r["torch_ms"]),
                r["torch_variant"] or "",
                number(r["ratio"]),
                f"{number(r['ratio_low'])}-{number(r['ratio_high'])}",
            ]
        )
    return table


def steps(rows: list[Row]) -> list[list[str]]:
    table = [["training step", "dlkit ms", "PyTorch ms", "layout", "ratio", "blocks", "faults", "peak MB"]]
    for r in rows:
        table.append(
            [
                r["case"].removeprefix("step "),
                milliseconds(r["dlkit_ms"]),
                milliseconds(r["torch_ms"]),
                r["torch_variant"] or "",
                number(r["ratio"]),
                f"{number(r['ratio_low'])}-{number(r['ratio_high'])}",
                f"{number(r['faults'], 0)} / {number(r['torch_faults'], 0)}",
                f"{number(r['peak_mb'], 0)} / {number(r['torch_peak_mb'], 0)}",
            ]
        )
    return table


def markdown(table: list[list[str]]) -> str:
    head, *body = table
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body])


def main() -> None:
    rows = [row for path in sys.argv[1:] for row in json.loads(Path(path).read_text())]
    whole = [r for r in rows if r["faults"] is not None]
    parts = [r for r in rows if r["faults"] is None]
    for table in (steps(whole), kernels(parts)):
        if len(table) > 1:
            print(markdown(table), end="\n\n")
    ratios = [r["ratio"] for r in parts if r["ratio"]]
    if ratios:
        print(f"{len(ratios)} kernels, median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
