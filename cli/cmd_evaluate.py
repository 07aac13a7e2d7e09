"""Measure a trained network: accuracy, per-class figures, confusion matrix, pictures."""

from __future__ import annotations

import click
from dlkit.cli.output import json_option, percent, print_json, table

from dlkit.train.splits import SPLITS


@click.command(name="evaluate")
@click.argument("run")
@click.option("--data", help="Another data set with the same classes, instead of the run's own.")
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True)
@click.option(
    "--mistakes", type=click.IntRange(0, 200), default=24, show_default=True, help="How many mistakes to picture."
)
@json_option
def command(run: str, data: str | None, split: str, mistakes: int, as_json: bool) -> None:
    """Measure the best network of RUN on its test set.

    \b
    Example:
      dlkit evaluate runs/digits-cnn-001
    """
    from dlkit.train.assess import assess

    result = assess(run, data=data, split=split, mistakes=mistakes)
    if as_json:
        print_json(result.to_dict())
        return
    click.echo(
        f"{result.data} {result.split}: {result.examples:,} examples   accuracy {percent(result.accuracy)}   "
        f"loss {result.loss:.4f}\n"
    )
    rows = [
        (name, *(f"{s[q]:.3f}" for q in ("precision", "recall", "f1")), int(s["support"]))
        for name, s in result.per_class.items()
    ]
    click.echo(table(rows, ("class", "precision", "recall", "F1", "examples"), right=(1, 2, 3, 4)))
    if len(result.classes) <= 20:
        click.echo("\nconfusion (rows: true, columns: predicted)")
        short = [c[:8] for c in result.classes]
        click.echo(table([(c, *r) for c, r in zip(short, result.confusion)], ("", *short), right=tuple(range(1, 21))))
    click.echo("\npictures: " + ", ".join(result.pictures))
