"""Show what a trained network sees in an image: filters, feature maps, saliency, Grad-CAM."""

from __future__ import annotations

from pathlib import Path

import click
from dlkit.cli.output import json_option, percent, print_json


@click.command(name="visualize")
@click.argument("run")
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--out", metavar="FOLDER", help="Where the pictures go.  [default: RUN/visualize]")
@click.option("--layers", metavar="NAME,...", help="Whose maps to show, or all.  [default: the last of each size]")
@click.option("--class", "label", metavar="NAME", help="The class to explain.  [default: the likeliest three]")
@json_option
def command(
    run: str, files: tuple[str, ...], out: str | None, layers: str | None, label: str | None, as_json: bool
) -> None:
    """Show what the best network of RUN (or an ONNX file) sees in image FILES: the filters it begins with, the maps its
    layers make, which pixels move a class's score (saliency), and where it looks (Grad-CAM), as PNG files.

    \b
    Examples:
      dlkit visualize runs/photos-resnet20-001 holiday.jpg
      dlkit visualize runs/photos-cnn-001 a.jpg b.jpg --class cat -o pictures/
    """
    from dlkit.visualize import visualize

    result = visualize(run, list(files), out=out, layers=layers, label=label)
    if as_json:
        print_json(result.to_dict())
        return
    for note in result.notes:
        click.echo(note, err=True)
    for file, probabilities in result.predictions.items():
        click.echo(f"{file}: {', '.join(f'{name} {percent(p)}' for name, p in probabilities.items())}")
    if result.layers:
        click.echo(f"layers: {', '.join(result.layers)}")
    click.echo(
        f"saved in {result.folder}: {', '.join(Path(s).name for s in result.sheets)} and {len(result.files)} more"
    )
