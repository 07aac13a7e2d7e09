"""Deep Image Prior over time: PSNR of the whole image while a network is fitted to half of its pixels.

    python benchmarks/deep_prior.py --data ../shared/data --quality normal --minutes 20 --out curve.png

By default barbara (512×512, grey) with 50 % of the pixels missing, known pixels kept, as in table 1 of Ulyanov, Vedaldi &
Lempitsky 2018 (32.22 dB there). `held back` is the error of the known pixels that the network is not shown, by which
dlkit inpaint stops. Writes the curve, and beside it a csv.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

import numpy as np
from inpainting.masks import mask_of
from PIL import Image

from dlkit import threads
from dlkit.inpaint import QUALITIES, Job, inpaint
from dlkit.inpaint.methods.deep_prior import LOOK, SIZES, Prior


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("DLKIT_DATA_DIR", Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(data), help="folder that holds inpaint-dip/")
    parser.add_argument("--file", type=Path, help="another photo")
    parser.add_argument("--crop", type=int, default=0, help="only a square of this many pixels from its middle")
    parser.add_argument("--colour", action="store_true", help="do not turn it grey")
    parser.add_argument("--mask", default="random")
    parser.add_argument("--quality", choices=QUALITIES, default="normal")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--iterations", type=int, help="plan for so many, and stop there")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("deep-prior.png"), help="picture of the curve")
    return parser.parse_args()


def decibels(error: float) -> float:
    return float(10 * np.log10(1 / max(error, 1e-12)))


def whole(drawn: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> float:
    """PSNR of the whole image, known pixels kept."""
    return decibels(float(np.where(hole[..., None], (drawn.clip(0, 1) - truth) ** 2, 0).mean()))


def curve(truth: np.ndarray, hole: np.ndarray, options: argparse.Namespace) -> list[dict]:
    known = np.where(hole[..., None], np.float32(0), truth)
    prior = Prior(
        known, hole, SIZES[options.quality], Job(options.quality, options.seed, iterations=options.iterations)
    )
    rows: list[dict] = []
    began, spent = time.monotonic(), 0.0
    while spent < 60 * options.minutes and prior.turns < (options.iterations or np.inf):
        prior.iterate()
        spent = time.monotonic() - began
        if prior.turns % LOOK == 0:
            rows.append(
                {
                    "iteration": prior.turns,
                    "seconds": round(spent, 1),
                    "whole_db": whole(prior.mean, truth, hole),
                    "hole_db": decibels(float(np.mean((prior.mean - truth)[hole] ** 2))),
                    "held_back_db": decibels(prior.missed()),
                }
            )
            if len(rows) % 4 == 0:
                print("  ".join(f"{key} {value:.2f}" for key, value in rows[-1].items()), flush=True)
    return rows


def plot(rows: list[dict], biharmonic: float, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    minutes = [row["seconds"] / 60 for row in rows]
    axes.plot(minutes, [row["whole_db"] for row in rows], label="whole image, known pixels kept")
    axes.plot(minutes, [row["hole_db"] for row in rows], label="hole")
    axes.plot(minutes, [row["held_back_db"] for row in rows], ":", label="known pixels held back")
    axes.axhline(biharmonic, color="gray", linewidth=0.8, label="biharmonic, whole image")
    axes.set(xlabel="minutes", ylabel="PSNR, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    options = arguments()
    threads.set_num_threads(options.threads)
    image = Image.open(options.file or options.data / "inpaint-dip" / "restoration" / "barbara.png")
    pixels = np.asarray(image.convert("RGB" if options.colour else "L"))
    if options.crop:
        top, left = (max(n - options.crop, 0) // 2 for n in pixels.shape[:2])
        pixels = pixels[top : top + options.crop, left : left + options.crop]
    truth = (pixels if pixels.ndim == 3 else pixels[..., None]).astype(np.float32) / 255
    hole = mask_of(options.mask, truth.shape[:2], options.seed)
    plate = inpaint(np.where(hole[..., None], np.float32(0), truth), hole, "biharmonic").image
    print(f"biharmonic: whole_db {whole(plate, truth, hole):.2f}", flush=True)
    rows = curve(truth, hole, options)
    with options.out.with_suffix(".csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    plot(rows, whole(plate, truth, hole), options.out)
    chosen = max(rows, key=lambda row: row["held_back_db"])
    print(
        f"stops at iteration {chosen['iteration']}: whole_db {chosen['whole_db']:.2f} hole_db {chosen['hole_db']:.2f}"
    )


if __name__ == "__main__":
    main()
