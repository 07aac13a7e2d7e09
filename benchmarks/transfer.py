"""What transfer learning gains where examples are few: CIFAR-10, five classes to learn from, 50 examples each of the others.

    python benchmarks/transfer.py [--seeds 3] [--keep FOLDER]

Pretrains a small network on 15,000 photos of classes A, then learns classes B from 50 photos each, by each of WAYS and from
scratch, for each seed (which draws the photos, too). Prints the accuracy on the 5,000 test photos of B. The data are found in
$DLKIT_DATA_DIR. All trainings are the command line's.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

A, B = "airplane,bird,cat,horse,truck", "automobile,deer,dog,frog,ship"
NETWORK = "--model cnn --width 8 --dropout 0.1"
PRETRAINING = (
    f"--data cifar10 --classes {A} --limit-per-class 3000 {NETWORK} --epochs 6 --augment flip,crop=4 --val-split 0"
)
FEW = f"--data cifar10 --classes {B} --limit-per-class 50 --val-split 0 --batch-size 32 --augment flip,crop=4"
WAYS = {
    "from scratch": f"{FEW} {NETWORK} --epochs 60",
    "new head alone": f"{FEW} --from PRETRAINED --freeze all-but-head --lr 0.01 --epochs 30",
    "all layers": f"{FEW} --from PRETRAINED --epochs 30",
    "all layers, the backbone slower": f"{FEW} --from PRETRAINED --lr 0.01 --lr-backbone 0.001 --epochs 30",
    "head first, then part by part": f"{FEW} --from PRETRAINED --freeze all-but-head --unfreeze-every 1 --epochs 30",
}


def train(options: str, out: Path, seed: int) -> dict:
    """One training in a process of its own; the JSON object it ends with."""
    command = [sys.executable, "-c", "from dlkit.cli.main import main; main()", "train", *shlex.split(options)]
    done = subprocess.run(
        [*command, "--seed", str(seed), "--out", str(out), "--json"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


def compare(folder: Path, seeds: int) -> dict[str, list[float]]:
    """Test accuracies in per cent by way, one for each seed."""
    began = time.perf_counter()
    pretrained = train(PRETRAINING, folder / "pretrained", 0)
    print(
        f"pretrained: {100 * pretrained['test_accuracy']:.2f} % on A, {time.perf_counter() - began:.0f} s\n", flush=True
    )
    found = {}
    for way, options in WAYS.items():
        began = time.perf_counter()
        command = options.replace("PRETRAINED", shlex.quote(str(folder / "pretrained")))
        runs = [train(command, folder / f"{way.replace(' ', '-')}-{seed}", seed) for seed in range(seeds)]
        found[way] = [100 * run["test_accuracy"] for run in runs]
        each = ", ".join(f"{a:.2f}" for a in found[way])
        seconds = time.perf_counter() - began
        print(f"{way:32} {statistics.mean(found[way]):.2f} %   ({each})   {seconds:.0f} s", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="repetitions of each (3)")
    parser.add_argument("--keep", type=Path, help="leave the run folders here")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        compare(options.keep, options.seeds)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), options.seeds)


if __name__ == "__main__":
    main()
