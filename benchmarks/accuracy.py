"""Trains the networks of the README's accuracy table, from the command line, as a user would.

    python benchmarks/accuracy.py [--list] [--seeds 5] [NAME ...]

The data sets are found in $DLKIT_DATA_DIR. `--list` prints the commands. Each row states its own number of seeds; the
figure is the median of their test accuracies. `tests/test_accuracy.py` runs the quick rows, and all with `-m slow`.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Recipe:
    """options : of `dlkit train`; floor : the test accuracy to reach, in per cent; quick : part of the fast tests."""

    name: str
    options: str
    floor: float
    seeds: int = 1
    quick: bool = False


AFFINE = "flip,shift=0.1,scale=0.1,rotate=10"
RECIPES = [
    Recipe("digits cnn", "", 98.0, quick=True),
    Recipe(
        "cats logistic",
        "--data cats --model logistic --normalize scale --optimizer sgd --lr 0.005 --schedule constant --epochs 300 "
        "--batch-size 209 --val-split 0",
        70.0,
        seeds=5,
        quick=True,
    ),
    Recipe(
        "cats shallow",
        "--data cats --model shallow --hidden 16 --activation relu --lr 0.001 --epochs 150 --batch-size 32 --val-split 0",
        74.0,
        seeds=5,
        quick=True,
    ),
    Recipe(
        "cats mlp, 4 layers",
        f"--data cats --model mlp --hidden 64,32,16 --activation elu --lr 0.0005 --epochs 300 --batch-size 32 --augment {AFFINE} --val-split 0",
        80.0,
        seeds=5,
    ),
    Recipe(
        "cats cnn",
        f"--data cats --image-size 32 --model cnn --width 16 --lr 0.005 --epochs 100 --batch-size 32 --augment {AFFINE} --val-split 0",
        84.0,
        seeds=5,
    ),
    Recipe("mnist mlp", "--data mnist --model mlp --epochs 8", 98.0),
    Recipe("mnist lenet5", "--data mnist --model lenet5 --epochs 3 --val-split 0", 98.9, quick=True),
    Recipe(
        "mnist cnn",
        "--data mnist --model cnn --width 16 --dropout 0.1 --epochs 12 --augment shift=0.1,rotate=10,scale=0.1 --val-split 0",
        99.4,
    ),
    Recipe(
        "cifar10 resnet20",
        "--data cifar10 --model resnet20 --epochs 5 --optimizer nesterov --lr 0.1 --weight-decay 0.0005 "
        "--augment flip,crop=4 --val-split 0",
        79.0,
    ),
    Recipe(
        "cifar10 resnet20, 15 epochs",
        "--data cifar10 --model resnet20 --epochs 15 --optimizer muon --weight-decay 0.0005 --augment flip,crop=4 --val-split 0",
        87.0,
    ),
]


def run(recipe: Recipe, seed: int) -> dict:
    """One training in a process of its own; the JSON object it ends with."""
    with tempfile.TemporaryDirectory() as folder:
        options = [*shlex.split(recipe.options), "--seed", str(seed), "--out", str(Path(folder) / "run"), "--json"]
        code = "from dlkit.cli.main import main; main()"
        done = subprocess.run([sys.executable, "-c", code, "train", *options], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{recipe.name}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def measure(recipe: Recipe, seeds: int | None = None) -> tuple[float, list[float], float]:
    """(median test accuracy in per cent, all of them, median seconds)"""
    results = [run(recipe, seed) for seed in range(seeds or recipe.seeds)]
    accuracies = [100 * r["test_accuracy"] for r in results]
    return statistics.median(accuracies), accuracies, statistics.median(r["seconds"] for r in results)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows whose name contains NAME; all by default")
    parser.add_argument("--seeds", type=int, help="instead of each row's own number")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    short = 0
    for recipe in RECIPES:
        if options.names and not any(name in recipe.name for name in options.names):
            continue
        if options.list:
            print(f"{recipe.name:28s} ≥ {recipe.floor} %   dlkit train {recipe.options}")
            continue
        median, accuracies, seconds = measure(recipe, options.seeds)
        short += median < recipe.floor
        each = " ".join(f"{a:.2f}" for a in accuracies)
        print(f"{recipe.name:28s} {median:6.2f} % (≥ {recipe.floor})  {seconds:7.1f} s  [{each}]", flush=True)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
