"""List the networks that can be trained."""

from __future__ import annotations

import click
from dlkit.cli.output import json_option, print_json


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
        return
    for m in sorted(MODELS.values(), key=lambda m: m.name):
        click.echo(f"{m.name:12s} {m.summary}")
        click.echo(f"{'':12s} options: {', '.join(m.options) or 'none'}")
        click.echo(f"{'':12s} source: {m.source}")
