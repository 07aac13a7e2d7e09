"""Classify files with a trained network."""

from __future__ import annotations

import click
from dlkit.cli.output import json_option, percent, print_json, table


@click.command(name="predict")
@click.argument("run")
@click.argument("files", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="How many classes to show.")
@json_option
def command(run: str, files: tuple[str, ...], top: int, as_json: bool) -> int:
    """Classify image FILES (or rows of .csv / .npy files, for a network on features) with the best network of RUN, which is
    a run folder or an ONNX file.

    \b
    Examples:
      dlkit predict runs/photos-cnn-001 holiday.jpg garden.png
      dlkit predict resnet18.onnx holiday.jpg
    """
    from dlkit.train.predict import Predictor, predict_with

    predictor = Predictor.open(run)
    for note in predictor.notes:
        click.echo(note, err=True)
    results = predict_with(predictor, list(files))
    failed = [r for r in results if r.error]
    if as_json:
        print_json({"predictions": [r.to_dict() for r in results], "failed": len(failed)})
    else:
        rows = []
        for r in results:
            if not r.error:
                best = sorted(r.probabilities.items(), key=lambda item: -item[1])[:top]
                rows.append(
                    (r.file, r.label, percent(r.probability), ", ".join(f"{c} {percent(p)}" for c, p in best[1:]))
                )
        if rows:
            click.echo(table(rows, ("file", "class", "probability", "next"), right=(2,)))
    for r in failed:
        click.echo(f"dlkit: {r.error}", err=True)
    return 1 if failed else 0
