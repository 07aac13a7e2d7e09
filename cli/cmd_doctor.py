"""Show CPU features, threads, backends and versions, and what is missing and why."""

from __future__ import annotations

import click
from dlkit.cli.output import json_option, print_json, table


@click.command(name="doctor")
@click.option("--kernels", is_flag=True, help="Also which backend offers which kernel.")
@json_option
def command(kernels: bool, as_json: bool) -> int:
    """Show what this machine and installation have. Exit status 1 if something should be mended.

    \b
    Example:
      dlkit doctor
    """
    from dlkit.doctor import diagnose

    found = diagnose()
    if as_json:
        print_json(found.to_dict())
        return 1 if found.problems else 0
    for title, values in (
        ("machine", found.machine),
        ("native kernels", found.native),
        ("compiled numba kernels", found.numba),
        ("backends", found.backends),
        ("versions", found.versions),
        ("environment", found.environment),
    ):
        if values:
            click.echo(title)
            for name, value in values.items():
                click.echo(f"  {name:<18}{value}")
    click.echo(f"chosen backend: {found.chosen or 'none'}")
    if kernels:
        click.echo(table([(k, ", ".join(b)) for k, b in found.kernels.items()], ("kernel", "backends")))
    for problem in found.problems:
        click.echo(f"dlkit: {problem}", err=True)
    return 1 if found.problems else 0
