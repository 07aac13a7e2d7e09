"""List published weights and fetch them, to start a training from."""

from __future__ import annotations

import click
from dlkit.cli.output import json_option, print_json, table


@click.command(name="weights")
@click.argument("action", type=click.Choice(["list", "get"]))
@click.argument("name", required=False)
@click.option("--mirror", help="Address of a folder that holds NAME.safetensors, instead of the published one.")
@json_option
def command(action: str, name: str | None, mirror: str | None, as_json: bool) -> None:
    """List published weights (`list`), or download one's safetensors file into the cache (`get NAME`); checksums are compared.

    \b
    Example:
      dlkit weights list
      dlkit weights get resnet18.a1_in1k
      dlkit train --data photos/ --from resnet18.a1_in1k --freeze all-but-head
    """
    from dlkit.weights.fetch import find, get
    from dlkit.weights.published import PUBLISHED

    if action == "list":
        if name or mirror:
            raise click.UsageError("list takes neither a name nor --mirror; to download use: dlkit weights get NAME")
        known = list(PUBLISHED.values())
        if as_json:
            keys = ("name", "model", "image_size", "licence", "sha256", "address")
            print_json({"weights": [{key: getattr(w, key) for key in keys} for w in known]})
            return
        rows = [
            (
                w.name,
                w.model,
                w.image_size,
                w.licence,
                w.sha256[:12] if w.sha256 else "not known",
                "yes" if find(w.name) else "",
            )
            for w in known
        ]
        click.echo(table(rows, ("name", "model", "pixels", "licence", "SHA256 begins", "here"), right=(2,)))
        click.echo(
            "\n--json shows addresses and whole checksums; one that is not known is recorded by the first download"
        )
        return
    if name is None:
        raise click.UsageError("get needs the NAME of published weights; dlkit weights list shows them")
    fetched = get(name, mirror=mirror)
    if as_json:
        print_json(fetched.to_dict())
        return
    click.echo(f"{fetched.name}: {fetched.bytes / 1e6:.1f} MB in {fetched.file}")
    if fetched.first:
        click.echo(
            f"its checksum was not known; from now on this one is expected: {fetched.sha256} (recorded beside the file)"
        )
    click.echo(f"use it with: dlkit train --from {fetched.name} --data ...")
