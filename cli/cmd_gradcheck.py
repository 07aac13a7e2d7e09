"""Check every gradient against finite differences."""

from __future__ import annotations

import time

import click
from dlkit.cli.output import bar, json_option, print_json, table


@click.command(name="gradcheck")
@click.option("-k", "pattern", metavar="PATTERN", help="Only names that contain PATTERN (or match it, with * and ?).")
@click.option("--backend", metavar="NAME", help="Who computes.")
@click.option("--models/--no-models", default=True, help="Also the networks, not only the ops.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--eps", type=float, default=1e-5, show_default=True, help="Step of the central difference.")
@click.option("--tolerance", type=float, default=1e-5, show_default=True, help="Largest relative error.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first wrong gradient.")
@click.option("--list", "only_list", is_flag=True, help="Show what would be checked.")
@json_option
def command(
    pattern: str | None,
    backend: str | None,
    models: bool,
    seed: int,
    eps: float,
    tolerance: float,
    fail_fast: bool,
    only_list: bool,
    as_json: bool,
) -> int:
    """Check the gradient of every op and network against central differences in float64. Exit status 1 if any is wrong.

    \b
    Example:
      dlkit gradcheck -k conv
    """
    from dlkit import gradcheck
    from dlkit.backends import use_backend

    if backend:
        use_backend(backend)
    chosen = gradcheck.names(pattern, models)
    if only_list:
        print_json({"names": [name for _, name in chosen]}) if as_json else click.echo(
            "\n".join(name for _, name in chosen)
        )
        return 0
    began, reports = time.perf_counter(), []
    with bar(len(chosen), "op") as progress:
        for report in gradcheck.check_all(pattern, models=models, seed=seed, step=eps, tolerance=tolerance):
            reports.append(report)
            progress.set_description(report.name)
            progress.update()
            if fail_fast and not report.passed:
                break
    failed = [r for r in reports if not r.passed]
    worst = max(reports, key=lambda r: r.worst.error)
    seconds = time.perf_counter() - began
    if as_json:
        print_json(
            {
                "checked": len(reports),
                "failed": len(failed),
                "seconds": seconds,
                "worst": worst.to_dict(),
                "ops": [r.to_dict() for r in reports],
            }
        )
    else:
        rows = [
            (
                r.name,
                r.kind,
                r.samples,
                r.elements,
                f"{r.worst.error:.1e}",
                f"{r.seconds:.2f}",
                "ok" if r.passed else "WRONG: " + r.failure,
            )
            for r in reports
        ]
        header = ("name", "", "samples", "elements", "worst error", "s", "")
        click.echo(table(rows, header, right=(2, 3, 4, 5)))
        click.echo(
            f"\n{len(reports)} checked on {worst.backend}, {len(failed)} wrong, in {seconds:.1f} s; "
            f"worst relative error {worst.worst.error:.1e} in {worst.name}"
        )
    return 1 if failed else 0
