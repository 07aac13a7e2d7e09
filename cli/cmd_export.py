"""Write a trained network as an ONNX file."""

from __future__ import annotations

import click
from dlkit.cli.output import json_option, print_json


@click.command(name="export")
@click.argument("run")
@click.option("-o", "--output", metavar="FILE", help="The file to write.  [default: RUN/model.onnx]")
@json_option
def command(run: str, output: str | None, as_json: bool) -> None:
    """Write the best network of RUN as an ONNX file, for ONNX Runtime and others; checked, and asked back.

    Images go in as [N, C, H, W]. Class names and normalisation stand in the file's metadata_props.

    \b
    Example:
      dlkit export runs/digits-cnn-001 -o digits.onnx
    """
    from dlkit.train.export import export_run

    result = export_run(run, output)
    if as_json:
        print_json(result.to_dict())
        return
    click.echo(
        f"{result.file}: opset {result.opset}, {result.nodes} nodes, {result.parameters:,} parameters, "
        f"{result.bytes / 1e6:,.2f} MB"
    )
    click.echo(f"asked back: outputs differ by {result.difference:.1e}{_elsewhere(result.with_onnxruntime)}")


def _elsewhere(difference: float | None) -> str:
    return " (onnxruntime is not installed)" if difference is None else f", in onnxruntime by {difference:.1e}"
