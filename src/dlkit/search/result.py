"""What came of a search: results.csv, best.toml and two pictures, made from the storage as often as wanted."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from dlkit.search.study import SearchFolder, Trial, ranked
from dlkit.train.files import write_atomically


def write_csv(folder: SearchFolder, trials: list[Trial]) -> Path:
    """One line for each trial, best first."""
    names = list(folder.definition.space.ranges)
    quantities = list(dict.fromkeys(name for t in trials for name in t.row if name not in ("epoch", *names)))
    columns = ["trial", "state", *names, "epochs", "best_epoch", "seconds", *quantities, "why"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    for trial in ranked(trials):
        facts = {"trial": trial.number, "state": trial.state, "epochs": trial.epochs, "why": trial.why}
        facts |= {"seconds": round(trial.seconds, 3), "best_epoch": trial.row.get("epoch", "")}
        row = {k: v for k, v in trial.row.items() if k in quantities}
        labels = {name: folder.definition.space.ranges[name].label(trial.values[name]) for name in names}
        writer.writerow({**row, **labels, **facts})
    path = folder.path / "results.csv"
    write_atomically(path, text.getvalue())
    return path


def write_best(folder: SearchFolder, best: Trial) -> Path:
    """The options of the best trial, as `dlkit train --config` takes them."""
    path = folder.path / "best.toml"
    write_atomically(path, folder.definition.config(best.values).to_toml())
    return path


def draw(folder: SearchFolder, trials: list[Trial], importances: dict[str, float]) -> list[Path]:
    """parallel.png, and importance.png where there is anything to say about it."""
    from dlkit.train.pictures import Axis, save_bars, save_parallel_coordinates

    ranges = folder.definition.space.ranges
    axes = [
        Axis(
            name,
            [(found.place(v), str(found.label(v))) for v in found.marks()],
            [found.place(t.values[name]) for t in trials],
        )
        for name, found in ranges.items()
    ]
    paths = [folder.path / "parallel.png"]
    scores = [t.value if t.state == "complete" else None for t in trials]
    sign = (
        "" if all(t.value == folder.definition.measured(t.row, t.value) for t in trials if t.value is not None) else "-"
    )
    save_parallel_coordinates(axes, scores, f"{sign}{folder.definition.metric}", paths[0])
    if importances:
        paths.append(folder.path / "importance.png")
        save_bars(importances, f"share of the variance of {folder.definition.metric}", paths[1])
    return paths


def importances(folder: SearchFolder) -> dict[str, float]:
    """How much of the score's variance each option explains, by fANOVA (Hutter, Hoos & Leyton-Brown 2014); {} where
    fewer than two trials came to their end or all came to the same."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    done = folder.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len({t.value for t in done}) < 2:
        return {}
    found: dict[str, Any] = get_param_importances(folder.study, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(value) for name, value in found.items()}
