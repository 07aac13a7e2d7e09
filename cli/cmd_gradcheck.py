"""Check every gradient against finite differences."""

from __future__ import annotations

import contextlib
import io
import time
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource
from dlkit.cli.output import bar, json_option, print_json, table

if TYPE_CHECKING:
    from dlkit.gradients.numeric import Settings
    from dlkit.gradients.report import GradientReport


@click.command(name="gradcheck")
@click.argument("target", required=False)
@click.option(
    "--input",
    "inputs",
    metavar="SHAPES",
    help="TARGET's inputs: 4x8x8x3,3x3x3x2; 16:10 is 16 labels below 10. With --model MODEL: one example, 32x32x3.",
)
@click.option(
    "--model",
    "run_path",
    metavar="RUN|MODEL",
    help="A trained network, layer by layer on its own test examples; or one by name, or your own file.py:build.",
)
@click.option("--plot", type=click.Path(dir_okay=False), help="With --model: where to draw the sizes of its gradients.")
@click.option("-k", "pattern", metavar="PATTERN", help="Only names that contain PATTERN (or match it, with * and ?).")
@click.option(
    "--backend", default="all", show_default=True, metavar="NAME", help="Who computes: a name, or all there are."
)
@click.option(
    "--dtype",
    type=click.Choice(["float64", "float32", "both"]),
    default="both",
    show_default=True,
    help="float32: scaled by what an op's conditioning allows.",
)
@click.option("--models/--no-models", default=True, help="Also the networks, not only ops and layers.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--eps", type=float, default=1e-5, show_default=True, help="Step of the difference, relative to each element."
)
@click.option("--tolerance", type=float, default=1e-5, show_default=True, help="Largest relative error.")
@click.option("--order", type=click.IntRange(1, 2), default=1, show_default=True, help="2: second derivatives too.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first wrong gradient.")
@click.option("--list", "only_list", is_flag=True, help="Show what would be checked.")
@json_option
def command(
    target: str | None,
    inputs: str | None,
    run_path: str | None,
    plot: str | None,
    pattern: str | None,
    backend: str,
    dtype: str,
    models: bool,
    seed: int,
    eps: float,
    tolerance: float,
    order: int,
    fail_fast: bool,
    only_list: bool,
    as_json: bool,
) -> int:
    """Check gradients against differences. Exit status 1 if any is wrong.

    TARGET is a thing in a file of yours, path/to/file.py:thing: an op class, a Module, a function of tensors, or a NumPy
    forward with its backward beside it. Its inputs come from --input, or from samples() in the file. Without TARGET every
    op, layer and network of dlkit is checked. All of it is small, so one thread works. TARGET and --model run on one
    backend, the usual one unless --backend names another.

    \b
    Examples:
      dlkit gradcheck -k conv                                        what has conv in its name
      dlkit gradcheck my_layers.py:conv_forward --input 2x6x6x3,3x3x3x4
      dlkit gradcheck --model runs/digits-cnn-001 --plot gradients.png
      dlkit gradcheck --model my_net.py:build --input 28x28x1
    """
    from dlkit.gradients.numeric import Settings

    if target and run_path:
        raise click.UsageError("give a TARGET or --model, not both")
    if target or run_path:
        _refuse(
            ("pattern", "dtype", "models", "fail_fast", "only_list"),
            "is for dlkit's own ops, not for " + (target or "--model"),
        )
    if not (eps > 0 and tolerance > 0):
        raise click.UsageError(f"--eps (={eps}) and --tolerance (={tolerance}) must be positive")
    settings = Settings(seed=seed, step=eps, tolerance=tolerance, order=order)
    by_name = run_path is not None and _is_model(run_path)
    if inputs and not target and not by_name:
        raise click.UsageError("--input needs a TARGET, or a --model that is no run")
    if plot and (not run_path or by_name):
        raise click.UsageError("--plot needs --model RUN")
    if run_path and by_name:
        _refuse(("order",), "is for ops, not for --model")
        return _model(run_path, inputs, backend, settings, as_json)
    if run_path:
        _refuse(("order",), "is for ops, not for --model")
        return _trained(run_path, plot, backend, settings, as_json)
    if target:
        return _target(target, inputs, backend, settings, as_json)
    return _registry(pattern, backend, dtype, models, settings, fail_fast, only_list, as_json)


def _refuse(options: tuple[str, ...], why: str) -> None:
    """UsageError for the first of `options` that was given: none is ignored in silence."""
    context = click.get_current_context()
    for parameter in context.command.params:
        if parameter.name in options and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[-1]} {why}")


def _target(target: str, inputs: str | None, backend: str, settings: Settings, as_json: bool) -> int:
    from dlkit.backends import use_backend
    from dlkit.gradients.target import check_target, load_target, parse_inputs
    from dlkit.threads import limited

    if backend != "all":
        use_backend(backend)
    shapes = parse_inputs(inputs) if inputs else None
    with (
        contextlib.redirect_stdout(io.StringIO()),
        limited(1),
    ):  # it is called hundreds of times: what it prints is dropped
        report = check_target(load_target(target), shapes, settings)
    if as_json:
        _print_json([report], report.seconds)
    else:
        click.echo(report)
    return int(not report.passed)


def _is_model(text: str) -> bool:
    """A network's name or a user's file; a run folder may be called like a network and comes first."""
    from pathlib import Path

    from dlkit.models import MODELS
    from dlkit.models.user import is_user_model

    return not Path(text).is_dir() and (text in MODELS or is_user_model(text))


def _model(name: str, inputs: str | None, backend: str, settings: Settings, as_json: bool) -> int:
    from dlkit.backends import current_backend
    from dlkit.gradients.models import check_model
    from dlkit.gradients.target import parse_inputs
    from dlkit.threads import limited

    shape = parse_inputs(inputs)[0].shape if inputs else None
    with limited(1):
        report = check_model(name, settings, [current_backend() if backend == "all" else backend], input_shape=shape)
    if as_json:
        _print_json([report], report.seconds)
    else:
        click.echo(report)
    return int(not report.passed)


def _trained(run_path: str, plot: str | None, backend: str, settings: Settings, as_json: bool) -> int:
    from pathlib import Path

    from dlkit.backends import use_backend
    from dlkit.gradients.trained import check_run
    from dlkit.train.pictures import save_gradients

    if backend != "all":
        use_backend(backend)
    report = check_run(run_path, settings)
    picture = Path(plot) if plot else Path(run_path) / "gradients.png"
    signal = [x.signal for x in report.layers]
    names = [f"{x.layer}  {x.kind.partition('(')[0]}" for x in report.layers]
    save_gradients(names, signal, [x.weight for x in report.layers], [x.gradient for x in report.layers], picture)
    if as_json:
        print_json({**report.to_dict(), "picture": str(picture)})
        return int(not report.passed)
    click.echo(f"{report.run} on {report.examples} examples of {report.data}, loss {report.loss:.4f}\n")
    rows = [
        (
            x.layer,
            x.kind,
            f"{x.signal:.1e}",
            _bar(x.signal, signal),
            *("" if v is None else f"{v:.1e}" for v in (x.weight, x.gradient, x.ratio, x.error)),
        )
        for x in report.layers
    ]
    header = ("layer", "", "‖dL/dy‖", "", "weights", "gradient", "ratio", "error")
    click.echo(table(rows, header, right=(2, 4, 5, 6, 7)))
    click.echo("\n" + "\n".join([*report.findings, str(report.check), f"picture: {picture}"]))
    return int(not report.passed)


def _bar(value: float, values: list[float]) -> str:
    """A bar on a logarithmic scale, one block for half a power of ten above the smallest."""
    from math import log10

    positive = [v for v in values if v > 0]
    return "█" * (1 + round(2 * log10(value / min(positive)))) if value > 0 else ""


def _registry(
    pattern: str | None,
    backend: str,
    dtype: str,
    models: bool,
    settings: Settings,
    fail_fast: bool,
    only_list: bool,
    as_json: bool,
) -> int:
    from dlkit.backends import BACKENDS, available_backends, current_backend
    from dlkit.gradients import registry
    from dlkit.gradients.ops import DTYPES
    from dlkit.threads import limited

    chosen = registry.names(pattern, models)
    if only_list:
        print_json({"names": [n for _, n in chosen]}) if as_json else click.echo("\n".join(n for _, n in chosen))
        return 0
    if backend != "all":
        BACKENDS[backend].kernels()  # an unknown or missing one is said now, not at the first op
    current_backend()  # nor a wrong DLKIT_BACKEND
    backends = available_backends() if backend == "all" else [backend]
    dtypes = DTYPES if dtype == "both" else (dtype,)
    began, reports = time.perf_counter(), []
    with bar(len(chosen), "gradient") as progress, limited(1):
        for report in registry.check_all(chosen, settings, backends, dtypes):
            reports.append(report)
            progress.set_description(report.name)
            progress.update()
            if fail_fast and not report.passed:
                break
    _show(reports, time.perf_counter() - began, as_json)
    return int(any(not r.passed for r in reports))


def _show(reports: list[GradientReport], seconds: float, as_json: bool) -> None:
    failed = [r for r in reports if not r.passed]
    worst = _worst(reports)
    if as_json:
        _print_json(reports, seconds)
        return
    header = ("name", "samples", "backends", "worst error", "where", "s", "")
    click.echo(table([_row(r) for r in reports], header, right=(1, 3, 5)))
    for report in failed:
        click.echo(f"\n{report}")
    click.echo(
        f"\n{len(reports)} checked on {', '.join(worst.backends)}: {len(failed)} wrong, in {seconds:.1f} s; nearest to its "
        f"tolerance is {worst.name}, {worst.worst.error:.1e} of {worst.worst.tolerance:.1e}"
    )


def _worst(reports: list[GradientReport]) -> GradientReport:
    return max(reports, key=lambda r: (not r.passed, r.worst.ratio))


def _print_json(reports: list[GradientReport], seconds: float) -> None:
    failed = sum(not r.passed for r in reports)
    print_json(
        {
            "checked": len(reports),
            "failed": failed,
            "seconds": seconds,
            "worst": _worst(reports).to_dict(),
            "ops": [r.to_dict() for r in reports],
        }
    )


def _row(report: GradientReport) -> tuple:
    w = report.worst
    values = (
        f"{w.input}{list(w.index) if w.index else ''} {w.analytic:.5g} | {w.numeric:.5g} h={w.step:.0e}"
        if w.input
        else ""
    )
    short = {"float64": "f64", "float32": "f32"}
    return (
        report.name,
        report.samples,
        ",".join(report.backends),
        f"{w.error:.1e}",
        f"{values} {w.backend} {short[w.dtype]}" if values else "",
        f"{report.seconds:.2f}",
        "ok" if report.passed else "WRONG",
    )
