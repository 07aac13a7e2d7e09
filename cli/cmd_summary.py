"""Show a network's layers, shapes, parameters, FLOPs and memory."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import click
from dlkit.cli.options import Shape, options_of
from dlkit.cli.output import json_option, print_json

from dlkit.train.config import TrainConfig

_model_fields = [f for f in dataclasses.fields(TrainConfig) if f.metadata["group"] == "model" and f.name != "model"]
ModelOptions = dataclasses.make_dataclass(
    "ModelOptions",
    [
        (f.name, TrainConfig.__annotations__[f.name], dataclasses.field(default=None, metadata=f.metadata))
        for f in _model_fields
    ],
    namespace={"__module__": TrainConfig.__module__},
)


@click.command(name="summary")
@click.argument("model")
@click.option(
    "--input", "input_shape", type=Shape(), default="32x32x3", show_default=True, help="Shape of one example."
)
@click.option("--classes", type=click.IntRange(1, 1_000_000), default=10, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True, help="For the memory figures.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Also draw its graph: an SVG file.")
@options_of(ModelOptions)
@json_option
def command(
    model: str,
    input_shape: tuple[int, ...],
    classes: int,
    batch_size: int,
    plot: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Show the layers of MODEL, with shapes, parameters, FLOPs and memory; nothing is computed.

    MODEL is a name (dlkit models), or a function in a file of yours, file.py:build.

    \b
    Examples:
      dlkit summary resnet20 --input 32x32x3
      dlkit summary my_net.py:build --input 28x28x1 --plot graph.svg
    """
    from dlkit.models.user import is_user_model
    from dlkit.nn import undrawn
    from dlkit.nn.summary import summarize

    given = {name: value for name, value in options.items() if value is not None}
    drawn = contextlib.nullcontext() if is_user_model(model) else undrawn()  # a user's own may compute with its weights
    with drawn:
        network = TrainConfig(model=model, **given).build(input_shape, classes)
    result = summarize(network, input_shape, batch_size)
    if plot is not None:
        _draw(network, input_shape, plot)
    if as_json:
        print_json({"model": model, **result.to_dict(), **({"picture": plot} if plot else {})})
        return
    click.echo(result.table())
    if plot is not None:
        click.echo(f"graph: {plot}")


def _draw(network: Any, input_shape: tuple[int, ...], plot: str) -> None:
    from pathlib import Path

    from dlkit.errors import ConfigError
    from dlkit.nn.plot import graph_svg
    from dlkit.train.files import write_atomically

    if not plot.lower().endswith(".svg"):
        raise ConfigError(f"--plot {plot}: the picture is an SVG file; its name ends in .svg")
    write_atomically(Path(plot), graph_svg(network, input_shape))
