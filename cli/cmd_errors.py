"""Look through the mistakes of a trained network: a contact sheet, a table to tag, what fixing each tag would gain."""

from __future__ import annotations

from typing import Any

import click
from dlkit.cli.output import json_option, percent, print_json, table

from dlkit.train.splits import SPLITS


@click.command(name="errors")
@click.argument("run")
@click.option("--data", help="Another data set with the same classes, instead of the run's own.")
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False), help="The table to write [default: RUN/errors.csv].")
@click.option("--sample", type=click.IntRange(1), help="At most this many mistakes in the table, drawn at random.")
@click.option("--tags", metavar="FILE", help="The table with its column 'tags' filled in: what each tag would gain.")
@json_option
def command(
    run: str, data: str | None, split: str, out: str | None, sample: int | None, tags: str | None, as_json: bool
) -> None:
    """Look through the mistakes that the best network of RUN makes on its test set.

    Writes a picture of them, grouped by confusion, and a table. Fill in its column `tags` (several with ; between them)
    and give it back: fixing all mistakes with a tag cannot gain more than the table then says.

    \b
    Example:
      dlkit errors runs/photos-cnn-001
      dlkit errors runs/photos-cnn-001 --tags runs/photos-cnn-001/errors.csv
    """
    if tags is not None:
        if out or sample:
            raise click.UsageError("--tags reads a table; --out and --sample are for writing one")
        from dlkit.train.tags import gains

        gained = gains(run, tags, data=data, split=split)
        print_json(gained.to_dict()) if as_json else _print_gains(gained)
        return
    from dlkit.train.mistakes import analyse

    found = analyse(run, data=data, split=split, out=out, sample=sample)
    print_json(found.to_dict()) if as_json else _print_mistakes(found)


def _print_mistakes(found: Any) -> None:
    click.echo(
        f"{found.data} {found.split}: {found.mistakes:,} mistakes in {found.examples:,} examples, "
        f"error {percent(found.error)}"
    )
    if found.suspects:
        click.echo(f"\nlabels that may be wrong, surest first ({len(found.suspects)})")
        rows = [(m.example, m.name, m.true, m.predicted, percent(m.confidence)) for m in found.suspects[:10]]
        click.echo(table(rows, ("example", "name", "label", "network says", "probability"), right=(0, 4)))
    if found.confusions:
        click.echo(f"\nconfusions, most frequent first ({len(found.confusions)})")
        counts = [(c.true, c.predicted, c.count, percent(c.share)) for c in found.confusions[:10]]
        click.echo(table(counts, ("true", "taken for", "mistakes", "share"), right=(2, 3)))
    click.echo("")
    if found.picture:
        click.echo(f"picture: {found.picture}")
    size = f"{found.rows:,} of them, drawn at random" if found.rows < found.mistakes else f"{found.rows:,} rows"
    click.echo(f"table to tag: {found.table} ({size})")


def _print_gains(found: Any) -> None:
    click.echo(
        f"{found.data} {found.split}: error {percent(found.error)}, accuracy {percent(found.accuracy)}; "
        f"{found.tagged:,} of {found.mistakes:,} mistakes tagged"
        + ("; they stand for the rest" if found.tagged < found.mistakes else "")
        + "\n"
    )
    rows = [
        (g.tag, g.mistakes, percent(g.share), percent(g.gain), percent(g.error), percent(g.accuracy))
        for g in found.gains
    ]
    header = ("tag", "mistakes", "share", "gains at most", "error then", "accuracy then")
    click.echo(table(rows, header, right=(1, 2, 3, 4, 5)))
