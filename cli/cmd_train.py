"""Train a network on a data set."""

from __future__ import annotations

import sys
import time
from typing import Any

import click
from dlkit.cli.options import options_of
from dlkit.cli.output import bar, json_option, print_json

from dlkit.errors import ConfigError
from dlkit.train.config import TrainConfig, read_toml

RESUMABLE = ("epochs", "patience", "lr", "clip_norm", "threads", "backend", "tensorboard")


class ProgressBar:
    """One bar for each epoch on a terminal; one line for each finished epoch in any case, on stderr."""

    def start(self, trainer: Any) -> None:
        click.echo(trainer.task.describe(), err=True)
        for note in trainer.remarks():
            click.echo(f"  {note}", err=True)
        click.echo(f"{trainer.task.model_name}: {trainer.model.parameter_count():,} parameters", err=True)
        self.bar: Any = None
        self.shown = 0.0

    def step(self, trainer: Any, batch: int, batches: int, loss: float) -> None:
        if self.bar is None:
            self.bar = bar(batches, "batch")
            self.bar.set_description(f"epoch {trainer.state.epoch + 1}/{trainer.config.epochs}")
        self.bar.update(batch - self.bar.n)
        if (now := time.monotonic()) - self.shown > 0.2:
            self.shown = now
            self.bar.set_postfix(loss=f"{loss:.4f}", refresh=False)

    def epoch(self, trainer: Any, row: dict[str, Any]) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        click.echo(
            f"epoch {row['epoch']:3d}/{trainer.config.epochs}   {trainer.task.describe_row(row)}   "
            f"{trainer.state.seconds:.1f} s",
            err=True,
        )


@click.command(name="train")
@click.option(
    "--config", "config_file", type=click.Path(), help="TOML file with any of these options; flags win over it."
)
@click.option("--resume", metavar="RUN", help="Go on with an interrupted run.")
@options_of(TrainConfig)
@json_option
def command(config_file: str | None, resume: str | None, as_json: bool, **flags: Any) -> int:
    """Train a network on a data set.

    \b
    Examples:
      dlkit train
      dlkit train --data mnist --model lenet5 --epochs 3
      dlkit train --data photos/ --model resnet20 --augment flip,crop=4 --epochs 30
      dlkit train --data photos/ --from resnet18.onnx --lr 0.0005 --epochs 5
      dlkit train --task inpaint --data photos/ --epochs 30
      dlkit train --resume runs/photos-resnet20-001
    """
    from dlkit.train.loop import Trainer

    given = {name: value for name, value in flags.items() if value is not None}
    if resume is not None:
        if fixed := [n for n in given if n not in RESUMABLE] + (["config"] if config_file else []):
            raise ConfigError(
                f"--{fixed[0].replace('_', '-')} cannot change when a run is resumed; only "
                f"{', '.join('--' + n.replace('_', '-') for n in RESUMABLE)} can"
            )
        trainer = Trainer.resume(resume, **given)
    else:
        values = {**(read_toml(config_file) if config_file else {}), **given}
        trainer = Trainer(TrainConfig.from_dict(values, config_file or "options"))
    result = trainer.fit(ProgressBar())
    if as_json:
        print_json(result.to_dict())
    elif result.stopped == "interrupted":
        state = trainer.state
        click.echo(
            f"stopped in epoch {state.epoch + 1} after {state.batch} of {len(trainer.loader)} batches; "
            f"go on with: dlkit train --resume {result.run}"
        )
    else:
        early = " (stopped early)" if result.stopped == "early" else ""
        if (tested := trainer.task.describe_test(result.metrics)) is not None:
            click.echo(tested)
        if missed := result.metrics.get("missed"):
            click.echo(f"no epoch meets all conditions; the best of them, which is kept, misses {', '.join(missed)}")
        click.echo(
            f"{result.epochs} epochs{early}, best {result.best_epoch}, in {result.seconds:.1f} s on {result.backend}"
        )
        click.echo(f"saved in {result.run}")
    sys.stdout.flush()
    return 130 if result.stopped == "interrupted" else 0
