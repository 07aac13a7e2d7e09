"""Fill the masked part of a photo, or of a folder of photos."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from dlkit.cli.output import bar, json_option, percent, print_json

from dlkit.threads import MOST

if TYPE_CHECKING:
    from dlkit.inpaint.file import Report, Settings


def method_names(ctx: Any = None, param: Any = None, text: str = "") -> list[str]:
    from dlkit.inpaint import METHODS

    return [name for name in ("auto", *METHODS.names()) if name.startswith(text)]


def checked_method(ctx: Any, param: Any, value: str) -> str:
    from dlkit.inpaint import METHODS

    return value if value == "auto" else METHODS[value].name


class WithMethods(click.Command):
    """Lists the methods below the options."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from dlkit.inpaint import METHODS

        with formatter.section("Methods"):
            formatter.write_dl(
                [("auto", "chosen by the shape of the hole"), *((n, METHODS[n].summary) for n in METHODS.names())]
            )


@click.command(name="inpaint", cls=WithMethods)
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("mask", required=False)
@click.option("--mask", "mask_option", metavar="[MASK|alpha]", help="The mask; alpha: the image's transparent part.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Result.  [default: IMAGE.inpainted.png]")
@click.option(
    "--method",
    default="auto",
    callback=checked_method,
    shell_complete=method_names,
    metavar="NAME",
    help="auto, or one of those below.  [default: auto]",
)
@click.option("--quality", type=click.Choice(["fast", "normal", "best"]), default="normal", show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Of all that is random.")
@click.option("--iterations", type=click.IntRange(1), help="For methods that iterate.  [default: by quality]")
@click.option("--weights", metavar="RUN", help="A network trained by `dlkit train --task inpaint`.")
@click.option("--device", default="cpu", show_default=True, help="For methods that compute with tensors.")
@click.option(
    "--threads",
    type=click.IntRange(0, MOST),
    default=0,
    help="0: OMP_NUM_THREADS or one per core; the result is the same.",
)
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Then the best so far.")
@click.option("--invert-mask", is_flag=True, help="Black is filled, not white.")
@click.option("--resize-mask", is_flag=True, help="A mask of another size is brought to the image's.")
@click.option("--grow", type=click.IntRange(0, 1000), default=0, metavar="N", help="Fill N pixels around the mask too.")
@click.option(
    "--feather", type=click.IntRange(0, 1000), default=0, metavar="N", help="Blend over N pixels inside the hole."
)
@click.option("--preview", type=click.Path(path_type=Path), metavar="PNG", help="Also before | mask | after.")
@json_option
def command(
    image: Path,
    mask: str | None,
    mask_option: str | None,
    output: Path | None,
    preview: Path | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Fill the part of IMAGE that is white in MASK. Pixels outside it stay as they are, bit for bit.

    IMAGE and MASK are files; or IMAGE is a folder and MASK one of masks with the same names, or one mask for all.

    \b
    Examples:
      dlkit inpaint photo.jpg mask.png                      writes photo.inpainted.png
      dlkit inpaint sticker.png --mask alpha --preview look.png
      dlkit inpaint photos/ watermark.png -o clean/         goes on where it was stopped
    """
    from dlkit.inpaint.file import ALPHA, Settings

    if (mask is None) == (mask_option is None):
        raise click.UsageError("give one mask: a file behind the image, or --mask FILE, or --mask alpha")
    given = mask or mask_option or ""
    where: Path | str = ALPHA if mask_option == ALPHA else Path(given)
    settings = Settings(**options)
    if image.is_dir():
        return many(image, where, output, preview, settings, as_json)
    if isinstance(where, Path) and where.is_dir():
        raise click.UsageError(f"{where} is a folder of masks, {image} is not a folder; give a folder of photos too")
    return single(image, where, output, preview, settings, as_json)


def single(
    image: Path, mask: Path | str, output: Path | None, preview: Path | None, settings: Settings, as_json: bool
) -> int:
    from dlkit.inpaint.file import inpaint_file

    with bar(100, "%") as progress:

        def show(fraction: float) -> None:
            progress.update(min(100, round(100 * fraction)) - progress.n)

        report = inpaint_file(image, mask, output, settings, preview=preview, progress=show)
    if as_json:
        print_json(asdict(report))
    else:
        click.echo(line(report))
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    return 0


def line(report: Report) -> str:
    """dlkit inpaint's one line about what it did."""
    if report.hole_fraction == 0:
        return f"{report.output}: {report.reason}"
    cut = "" if report.finished else ", cut short by --timeout"
    return (
        f"{report.output}: {percent(report.hole_fraction)} of the image filled by {report.method}"
        f" ({report.reason}) in {report.seconds:.1f} s{cut}"
    )


def many(
    images: Path, masks: Path | str, out: Path | None, preview: Path | None, settings: Settings, as_json: bool
) -> int:
    from dlkit.inpaint.folder import inpaint_folder, plan

    if out is None:
        raise click.UsageError("give a folder for the results with -o")
    if preview:
        raise click.UsageError("--preview is for one image, not for a folder")
    todo = plan(images, masks, out)
    outcomes = []
    with bar(len(todo.tasks) + len(todo.unmatched), "image") as progress:
        for outcome in inpaint_folder(todo, out, settings):
            outcomes.append(outcome)
            if outcome.report and not as_json:
                progress.write(line(outcome.report))
            progress.update()
    failed = [o for o in outcomes if o.error]
    filled = len(outcomes) - len(failed)
    if as_json:
        files = [{"image": str(o.image), **asdict(o.report)} for o in outcomes if o.report]
        errors = {str(o.image): o.error for o in failed}
        print_json({"filled": filled, "skipped": todo.done, "failed": len(failed), "files": files, "errors": errors})
    else:
        skipped = f", {todo.done} done before (delete a result to make it again)" if todo.done else ""
        click.echo(f"{out}: {filled} filled{skipped}, {len(failed)} failed")
    for o in failed:
        click.echo(f"dlkit: {o.error}", err=True)
    return 1 if failed else 0
