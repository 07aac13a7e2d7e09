"""Search for good options of `dlkit train`: many trainings, the best one kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dlkit.cli.options import options_of
from dlkit.cli.output import bar, json_option, percent, print_json, table

from dlkit.errors import ConfigError
from dlkit.train.config import TrainConfig, read_toml

SHOWN = 20  # trials in the table


class TrialBar:
    """A bar over the trials on a terminal; a line for each that is done in any case, on stderr."""

    def __init__(self, definition: Any) -> None:
        self.definition = definition
        self.seen: set[int] = set()
        self.bar: Any = None

    def __call__(self, trials: list[Any]) -> None:
        from dlkit.search.study import DONE

        if self.bar is None:
            self.bar = bar(len(trials), "trial")
        self.bar.total = len(trials)
        for trial in trials:
            if trial.state in DONE and trial.number not in self.seen:
                self.seen.add(trial.number)
                self.bar.clear()
                click.echo(
                    f"trial {trial.number:3d}   {outcome(self.definition, trial)}   {values_text(trial)}", err=True
                )
                self.bar.update()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def measured(definition: Any, trial: Any) -> str:
    """The metric of a trial: a share in per cent."""
    if trial.value is None:
        return "–"
    from dlkit.train.metrics import METRICS

    value = definition.measured(trial.row, trial.value)
    name = definition.metric.partition(":")[0]
    return percent(value) if name in METRICS and METRICS[name].share else shown(value)


def outcome(definition: Any, trial: Any) -> str:
    if trial.state == "failed":
        return f"failed: {trial.why}"
    early = f" after epoch {trial.epochs}, stopped there" if trial.state == "pruned" else ""
    missed = f" ({trial.why})" if trial.why else ""
    return (
        f"validation {definition.metric} {measured(definition, trial)} loss {trial.row['val_loss']:.4f}{early}{missed}"
    )


def values_text(trial: Any) -> str:
    return ", ".join(f"{name} {shown(value)}" for name, value in trial.values.items())


def shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@click.command(name="search")
@click.option(
    "--config", "config_file", type=click.Path(), help="TOML file: options of dlkit train, and [search] ranges."
)
@click.option("--method", metavar="[random|halving|grid]", help="How trials are chosen.  [default: random]")
@click.option("--trials", type=int, help="How many.  [default: 20]")
@click.option("--refine", type=int, help="Then so many more, in ranges narrowed around the best ones.")
@click.option("--around", type=int, help="How many best ones --refine looks at.  [default: 4]")
@click.option("--points", type=int, help="Values of each range in a grid.  [default: 3]")
@click.option(
    "--jobs", type=click.IntRange(1, 256), help="Trials at the same time.  [default: one for each core, at most 4]"
)
@click.option("--resume", metavar="FOLDER", help="Go on with a search; a larger --trials, or --refine, adds to it.")
@options_of(TrainConfig)
@json_option
def command(config_file: str | None, jobs: int | None, resume: str | None, as_json: bool, **flags: Any) -> int:
    """Search for good options of `dlkit train`, by validation; the test set is looked at once, for the best trial.

    Whatever stands in `[search]` is varied, every other option is that of all trials. Without `[search]` the learning
    rate, batch size, weight decay and what is known of the network are. The same command started again on the same --out
    helps a search that runs, and goes on with one that was stopped.

    \b
    Examples:
      dlkit search
      dlkit search --data mnist --model mlp --epochs 5 --method halving --trials 30 --jobs 2
      dlkit search --config space.toml --refine 10
      dlkit search --resume runs/digits-search-001
    """
    from dlkit.search.definition import Definition
    from dlkit.search.run import new_folder, search, usual_jobs
    from dlkit.search.study import SearchFolder

    given = {name: value for name, value in flags.items() if value is not None}
    method: dict[str, Any] = {
        name: given.pop(name) for name in ("method", "trials", "refine", "around", "points") if name in given
    }
    if resume is not None:
        if fixed := [n for n in (*given, *method) if n not in ("trials", "refine")] + (
            ["config"] if config_file else []
        ):
            raise ConfigError(
                f"--{fixed[0].replace('_', '-')} cannot change when a search is resumed; only --trials, --refine and "
                "--jobs can"
            )
        folder = SearchFolder.open(Path(resume), **method)
    else:
        values = {**(read_toml(config_file) if config_file else {}), **given}
        definition = Definition.parse(values, method, config_file or "options")
        folder = SearchFolder.create(new_folder(definition, values.get("out")), definition)
    progress = TrialBar(folder.definition)
    with folder:
        try:
            result = search(folder, jobs or usual_jobs(folder), progress)
        finally:
            progress.close()
    if as_json:
        print_json(result.to_dict())
    elif result.interrupted:
        click.echo(
            f"stopped after {result.finished} of {len(result.trials)} trials; go on with: "
            f"dlkit search --resume {folder.path}"
        )
    else:
        report(folder.definition, result)
    return 130 if result.interrupted else 0


def report(definition: Any, result: Any) -> None:
    names = list(result.trials[0].values)
    rows = [
        (t.number, measured(definition, t), t.state, *(shown(t.values[n]) for n in names))
        for t in result.trials[:SHOWN]
    ]
    header = ("trial", definition.metric, "", *names)
    click.echo(table(rows, header, right=(0, 1, *range(3, len(header)))))
    if len(result.trials) > SHOWN:
        click.echo(f"... and {len(result.trials) - SHOWN} more in {result.folder}/results.csv")
    click.echo(f"\nbest: trial {result.best.number}, {outcome(definition, result.best)}")
    if "test_accuracy" in result.test:
        click.echo(f"its test accuracy, looked at once: {percent(result.test['test_accuracy'])}")
    if result.importances:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in result.importances.items())
        click.echo(f"what explains the differences between trials: {shares}")
    click.echo(f"{len(result.trials)} trials in {result.seconds:.1f} s, saved in {result.folder}")
    click.echo(f"train the best again: dlkit train --config {result.folder}/best.toml")
