"""Explain an op or a network: formulas, shapes, code, an example."""

from __future__ import annotations

from typing import Any

import click
from dlkit.cli.options import Shape
from dlkit.cli.output import json_option, print_json


@click.command(name="explain")
@click.argument("op", required=False)
@click.option(
    "--model",
    metavar="MODEL",
    help="A network (or your own, file.py:build) instead: a line for each layer, forward and backward.",
)
@click.option(
    "--input", "input_shape", type=Shape(), default="28x28x1", show_default=True, help="With --model: one example."
)
@click.option("--classes", type=click.IntRange(1, 1_000_000), default=10, show_default=True, help="With --model.")
@json_option
def command(op: str | None, model: str | None, input_shape: tuple[int, ...], classes: int, as_json: bool) -> None:
    """Explain OP: its formula forward and backward, shapes, the code that is read, its source, an example with numbers.

    Without OP: one line for each.

    \b
    Examples:
      dlkit explain max_pool2d
      dlkit explain --model lenet5
    """
    if op and model:
        raise click.UsageError("give an OP or --model, not both")
    result: Any
    if model:
        from dlkit.explain import explain_model
        from dlkit.models import MODELS, build_model

        network = build_model(model, input_shape, classes)
        about = (MODELS[model].description, MODELS[model].source) if model in MODELS else ("your own network", "")
        result = explain_model(network, input_shape, model, *about)
    elif op:
        from dlkit.explain import explain_op

        result = explain_op(op)
    else:
        _all_ops(as_json)
        return
    print_json(result.to_dict()) if as_json else click.echo(result)


def _all_ops(as_json: bool) -> None:
    from dlkit.ops import OPS

    if as_json:
        print_json(
            {name: {"signature": o.signature, "forward": o.formula, "backward": o.slope} for name, o in OPS.items()}
        )
        return
    width = max(map(len, OPS))
    click.echo("\n".join(f"{name.ljust(width)}  {o.formula}" for name, o in OPS.items()))
