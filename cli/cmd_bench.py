"""Time kernels and training steps, alone or against PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from dlkit.cli.output import bar, percent, print_json, table

from dlkit.threads import MOST

if TYPE_CHECKING:
    from dlkit.bench import Machine, Result
    from dlkit.errors import BenchmarkError


@click.command(name="bench")
@click.argument("kind", type=click.Choice(["kernels", "models", "all"]), default="all")
@click.option("-k", "pattern", metavar="PATTERN", help="Only names that contain PATTERN (or match it, with * and ?).")
@click.option("--against", type=click.Choice(["torch"]), help="Also time PyTorch, in turn, in its faster variant.")
@click.option(
    "--threads",
    type=click.IntRange(0, MOST),
    default=0,
    help="Threads of both sides; 0: OMP_NUM_THREADS or one per core.",
)
@click.option("--backend", metavar="NAME", help="Who computes.")
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="Alternating blocks per side.")
@click.option("--tuned-malloc", is_flag=True, help="PyTorch's training steps keep freed memory, as dlkit's do.")
@click.option("--list", "only_list", is_flag=True, help="Show what would be timed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list on stdout, an object for each case.")
def command(
    kind: str,
    pattern: str | None,
    against: str | None,
    threads: int,
    backend: str | None,
    rounds: int,
    tuned_malloc: bool,
    only_list: bool,
    as_json: bool,
) -> int:
    """Time kernels, training steps (models) or all; every answer is checked first. Exit status 1 if one is wrong.

    Times are medians of alternating blocks. GFLOP/s count the plain method's operations, so that a faster algorithm may
    pass the machine's peak. Ratio is PyTorch's time over dlkit's: above 1, dlkit is faster.

    \b
    Examples:
      dlkit bench
      dlkit bench kernels -k "conv resnet20" --against torch
      dlkit bench models --against torch --tuned-malloc
    """
    from dlkit.backends import use_backend
    from dlkit.bench import Benchmark, Options, select

    chosen = select(kind, pattern)
    if only_list:
        names = [case.name for case in chosen]
        print_json(names) if as_json else click.echo("\n".join(names))
        return 0
    if backend:
        use_backend(backend)
    bench = Benchmark(Options(against=against, threads=threads, rounds=rounds, tuned_malloc=tuned_malloc))
    click.echo(heading(bench.machine), err=as_json)
    results, wrong, interrupted = measured(bench, chosen)
    if as_json:
        print_json([{**r.to_dict(), "machine": bench.machine.to_dict()} for r in results])
    elif results:
        click.echo(tables(results, against is not None))
    for error in wrong:
        click.echo(f"dlkit: {error}", err=True)
    if interrupted:
        click.echo(f"dlkit: interrupted after {len(results)} of {len(chosen)}", err=True)
    return 130 if interrupted else 1 if wrong else 0


def measured(bench: Any, chosen: list[Any]) -> tuple[list[Result], list[BenchmarkError], bool]:
    """(results, wrong answers, whether Ctrl-C cut it short)"""
    from dlkit.errors import BenchmarkError

    results, wrong = [], []
    try:
        with bar(len(chosen), "case") as progress:
            for case in chosen:
                progress.set_description(case.name)
                try:
                    results.append(bench.run(case))
                except BenchmarkError as error:
                    wrong.append(error)
                progress.update()
    except KeyboardInterrupt:
        return results, wrong, True
    return results, wrong, False


def heading(m: Machine) -> str:
    peer = f", PyTorch {m.torch}" if m.torch else ""
    peak = (
        f"{m.peak_gflops:.0f} GFLOP/s multiply-add, {m.copy_gbytes:.0f} GB/s copy" if m.peak_gflops else "not measured"
    )
    return (
        f"{m.cpu}, {m.isa}, {m.threads} thread{'s' * (m.threads > 1)}; peak {peak}\n"
        f"dlkit {m.dlkit} ({m.backend}){peer}, Python {m.python}, NumPy {m.numpy}; float32, NHWC\n"
    )


def tables(results: list[Result], compared: bool) -> str:
    """Kernels and training steps, each in a table of its own."""
    steps = [r for r in results if r.faults is not None]
    kernels = [r for r in results if r.faults is None]
    return "\n\n".join(_table(rows, compared) for rows in (kernels, steps) if rows)


def _table(results: list[Result], compared: bool) -> str:
    """Columns that say nothing about any of these cases are left out."""
    columns: list[tuple[str, bool, list[str]]] = [  # header, to the right, cells
        ("case", False, [r.case for r in results]),
        ("algorithm", False, [r.algorithm or "" for r in results]),
        ("ms", True, [_ms(r.dlkit_ms) for r in results]),
        ("±", True, [f"{100 * r.dlkit_spread:.0f} %" for r in results]),
        ("GFLOP/s", True, [_number(r.gflops) for r in results]),
        ("of peak", True, [percent(r.peak_fraction) if r.peak_fraction else "" for r in results]),
        ("GB/s", True, [_number(r.gbytes) for r in results]),
        ("faults", True, [_number(r.faults, 0) for r in results]),
        ("peak MB", True, [_number(r.peak_mb, 0) for r in results]),
    ]
    if compared:
        columns += [
            ("torch ms", True, [_ms(r.torch_ms) for r in results]),
            ("variant", False, [r.torch_variant or "" for r in results]),
            ("faults", True, [_number(r.torch_faults, 0) for r in results]),
            ("peak MB", True, [_number(r.torch_peak_mb, 0) for r in results]),
            ("ratio", True, [_number(r.ratio, 2) for r in results]),
            ("", False, [f"({r.ratio_low:.2f}-{r.ratio_high:.2f})" for r in results if r.ratio_low is not None]),
        ]
    shown = [c for c in columns if any(c[2])]
    right = tuple(i for i, (_, aligned, _) in enumerate(shown) if aligned)
    return table(list(zip(*(cells for _, _, cells in shown))), tuple(name for name, _, _ in shown), right)


def _ms(x: float | None) -> str:
    return "" if x is None else f"{x:.4f}" if x < 1 else f"{x:.2f}"


def _number(x: float | None, digits: int = 1) -> str:
    return "" if x is None else f"{x:.{digits}f}"
