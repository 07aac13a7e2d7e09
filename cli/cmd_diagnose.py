"""Say where the error of a trained network comes from: bias, variance, data mismatch, overfitting to the dev set."""

from __future__ import annotations

import click
from dlkit.cli.output import json_option, percent, print_json, table


@click.command(name="diagnose")
@click.argument("run")
@click.option("--human", type=float, help="Error of people, or the least possible one, such as 0.01 [default: 0].")
@click.option(
    "--examples", type=click.IntRange(1), default=10_000, show_default=True, help="At most this many of each set."
)
@json_option
def command(run: str, human: float | None, examples: int, as_json: bool) -> None:
    """Compare the errors of the best network of RUN on its train, train-dev, dev and test sets, name the largest gap and
    what usually helps.

    \b
    Example:
      dlkit diagnose runs/photos-cnn-001 --human 0.01
    """
    from dlkit.train.diagnose import diagnose

    found = diagnose(run, human=human, examples=examples)
    if as_json:
        print_json(found.to_dict())
        return
    gap_to = {g.after: g for g in found.gaps}
    rows = []
    for e in found.errors:
        error = percent(e.error) + (f" ± {100 * e.deviation:.2f}" if e.deviation else "")
        gap = gap_to.get(e.name)
        step = ("", "") if gap is None else (f"{100 * gap.value:+.2f}", gap.name)
        rows.append((e.name, f"{e.examples:,}" if e.examples else "", error, *step))
    click.echo(table(rows, ("set", "examples", "error", "gap", "which is"), right=(1, 2, 3)))
    click.echo("")
    if found.largest is None:
        click.echo("no gap is larger than what chance does to sets of this size")
    else:
        value = max(g.value for g in found.gaps)
        click.echo(f"largest gap: {found.largest}, {100 * value:.2f} points. What usually helps:")
        for advice in found.helps:
            click.echo(f"  - {advice}")
    for note in found.notes:
        click.echo(note)
