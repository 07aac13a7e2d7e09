"""List the networks that can be trained."""

from __future__ import annotations

import click
from dlkit.cli.output import json_option, print_json, table


@click.command(name="models")
@json_option
def command(as_json: bool) -> None:
    """List the networks, their options and where they come from.

    \b
    Example:
      dlkit models
    """
    from dlkit.models import MODELS

    if as_json:
        print_json({m.name: {"summary": m.summary, "source": m.source, "options": m.options} for m in MODELS.values()})
    else:
        rows = [
            (m.name, m.summary, ", ".join(m.options), m.source) for m in sorted(MODELS.values(), key=lambda m: m.name)
        ]
        click.echo(table(rows, ("model", "", "options", "source")))
