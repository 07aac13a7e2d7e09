"""What commands print with: one JSON object on stdout, tables for people, a progress bar on a terminal."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from dlkit.train.files import finite

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there."
)


def print_json(value: Any) -> None:
    click.echo(json.dumps(finite(value), allow_nan=False, default=str))


def table(rows: list[tuple], header: tuple, right: tuple[int, ...] = ()) -> str:
    """Text in columns; those numbered in `right` are aligned to the right."""
    cells = [tuple(map(str, r)) for r in [header, *rows]]
    widths = [max(len(r[i]) for r in cells) for i in range(len(header))]

    def line(r: tuple[str, ...]) -> str:
        return "  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths))).rstrip()

    return "\n".join([line(cells[0]), "─" * len(line(tuple("x" * w for w in widths))), *map(line, cells[1:])])


def percent(x: float | None) -> str:
    return "–" if x is None else f"{100 * x:.2f} %"


def bar(total: int, unit: str, leave: bool = False) -> Any:
    """A tqdm bar on stderr if that is a terminal, else one that shows nothing."""
    from tqdm import tqdm

    return tqdm(
        total=total, unit=unit, leave=leave, disable=not sys.stderr.isatty(), dynamic_ncols=True, file=sys.stderr
    )
