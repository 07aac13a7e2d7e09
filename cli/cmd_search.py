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

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.bar: Any = None

    def __call__(self, trials: list[Any]) -> None:
        from dlkit.search.run import done

        if self.bar is None:
            self.bar = bar(len(trials), "trial")
        self.bar.total = len(trials)
        for trial in done(trials):
            if trial.number not in self.seen:
                self.seen.add(trial.number)
                self.bar.clear()
                click.echo(f"trial {trial.number:3d}   {outcome(trial)}   {values_text(trial.values)}", err=True)
                self.bar.update()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def outcome(trial: Any) -> str:
    if trial.state == "failed":
        return f"failed: {trial.why}"
    text = f"validation accuracy {percent(trial.row['val_accuracy'])}" if "val_accuracy" in trial.row else ""
    stopped = f" (stopped after epoch {trial.epochs})" if trial.state == "pruned" else ""
    return f"{text or 'score ' + number(trial.score[0])} loss {trial.row['val_loss']:.4f}{stopped}"


def number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def values_text(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else number(value)


@click.command(name="search")
@click.option(
    "--config", "config_file", type=click.Path(), help="TOML file: options of dlkit train, and [search] ranges."
)
@click.option("--method", metavar="[random|halving|grid]", help="How trials are chosen.  [default: random]")
@click.option("--trials", type=int, help="How many.  [default: 20]")
@click.option("--refine", type=int, help="Then so many more, in ranges narrowed around the best ones.")
@click.option("--around", type=int, help="How many best ones --refine looks at.  [default: 4]")
@click.option("--points", type=int, help="Values of each range in a grid.  [default: 3]")
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Trials at the same time.")
@click.option("--resume", metavar="FOLDER", help="Go on with a search; a larger --trials, or --refine, adds to it.")
@options_of(TrainConfig)
@json_option
def command(config_file: str | None, jobs: int, resume: str | None, as_json: bool, **flags: Any) -> int:
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
    from dlkit.search.run import new_folder, search
    from dlkit.search.study import SearchFolder

    given = {name: value for name, value in flags.items() if value is not None}
    method = {name: given.pop(name) for name in ("method", "trials", "refine", "around", "points") if name in given}
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
    progress = TrialBar()
    with folder:
        try:
            result = search(folder, jobs, progress)
        finally:
            progress.close()
    if as_json:
        print_json(result.to_dict())
    elif result.interrupted:
        finished = sum(t.state in ("complete", "pruned", "failed") for t in result.trials)
        click.echo(
            f"stopped after {finished} of {len(result.trials)} trials; go on with: dlkit search --resume {folder.path}"
        )
    else:
        report(result)
    return 130 if result.interrupted else 0


def report(result: Any) -> None:
    names = list(result.trials[0].values)
    rows = [
        (t.number, number(t.score[0]) if t.score else "–", t.state, *(shown(t.values[n]) for n in names))
        for t in result.trials[:SHOWN]
    ]
    click.echo(table(rows, ("trial", "score", "", *names), right=(0, 1, *range(3, 3 + len(names)))))
    if len(result.trials) > SHOWN:
        click.echo(f"... and {len(result.trials) - SHOWN} more in {result.folder}/results.csv")
    click.echo(f"\nbest: trial {result.best.number}, {outcome(result.best)}")
    if "test_accuracy" in result.test:
        click.echo(f"its test accuracy, looked at once: {percent(result.test['test_accuracy'])}")
    if result.importances:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in result.importances.items())
        click.echo(f"of the differences between trials explains {shares}")
    click.echo(
        f"{len(result.trials)} trials in {result.seconds:.1f} s; train it again: dlkit train --config {result.files[1]}"
    )
    click.echo(f"saved in {result.folder}: {', '.join(Path(f).name for f in result.files)}")
