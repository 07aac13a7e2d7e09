"""Fillings compared: PSNR in the hole, two measures of looks, seconds, and the pictures.

    python benchmarks/inpaint.py --data ../shared/data --methods auto,biharmonic --size 256 --sheets sheets/
    python benchmarks/inpaint.py --peers --methods "" --json peers.json         # once, where OpenCV and scikit-image are
    python benchmarks/inpaint.py --methods patchmatch --masks disc,brush --merge peers.json

Ten photos of bsd68 by default, the same masks for every method. A method runs once untimed first, so that compiling is
not counted. `--merge` shows figures kept earlier by `--json` beside the new ones.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from inpainting import sheet
from inpainting.masks import MASKS, mask_of
from inpainting.measures import gradient_ratio, psnr, sliced_wasserstein
from inpainting.peers import PEERS, available
from PIL import Image, ImageOps

from dlkit.inpaint import METHODS, QUALITIES, inpaint


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("DLKIT_DATA_DIR", Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(data), help="folder that holds bsd68/")
    parser.add_argument("--methods", default="auto", help=f"auto, {', '.join(METHODS.names())} or all")
    parser.add_argument("--masks", default=",".join(MASKS), help="kinds of masks")
    parser.add_argument("--photos", type=int, default=10, help="how many of bsd68, spread over all")
    parser.add_argument("--skip", type=int, default=0, help="begin with another photo: other ones for tuning")
    parser.add_argument("--files", type=Path, nargs="+", help="these photos instead")
    parser.add_argument("--size", type=int, default=256, help="side of the square cut from the middle; 0: whole photos")
    parser.add_argument(
        "--resize", type=int, help="instead of cutting: the largest square in the middle, reduced to this"
    )
    parser.add_argument("--grey", action="store_true", help="turn the photos grey")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quality", choices=QUALITIES, default="normal")
    parser.add_argument("--timeout", type=float, help="seconds for each filling")
    parser.add_argument("--weights", help="run folder for the method net")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--peers", action="store_true", help="also OpenCV and scikit-image")
    parser.add_argument("--json", type=Path, help="keep all figures here")
    parser.add_argument("--merge", type=Path, nargs="*", default=[], help="show these kept figures too")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    return parser.parse_args()


def photos(options: argparse.Namespace) -> dict[str, np.ndarray]:
    """name -> uint8 [H, W, 3] or [H, W]"""
    paths = options.files
    if not paths:
        every = sorted((options.data / "bsd68").glob("*.jpg"))
        paths = every[options.skip :: max(len(every) // options.photos, 1)][: options.photos]
    return {path.stem: cut(np.asarray(opened(path, options)), 0 if options.resize else options.size) for path in paths}


def opened(path: Path, options: argparse.Namespace) -> Image.Image:
    image = Image.open(path)
    image = image.convert("L") if options.grey or image.mode == "L" else image.convert("RGB")
    if options.resize:
        size = (options.resize, options.resize)
        image = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    return image


def cut(image: np.ndarray, size: int) -> np.ndarray:
    if not size:
        return image
    i, j = (max(n - size, 0) // 2 for n in image.shape[:2])
    return np.ascontiguousarray(image[i : i + size, j : j + size])


def fill(name: str, image: np.ndarray, hole: np.ndarray, options: argparse.Namespace) -> tuple[np.ndarray, float, str]:
    """(filled, seconds, what "auto" chose)"""
    damaged = image.copy()
    damaged[hole] = 0
    start = time.perf_counter()
    if name in PEERS:
        return PEERS[name](damaged, hole), time.perf_counter() - start, name
    result = inpaint(
        damaged,
        hole,
        name,
        quality=options.quality,
        seed=options.seed,
        threads=options.threads,
        timeout=options.timeout,
        weights=options.weights,
    )
    return result.image, time.perf_counter() - start, result.method


def measured(options: argparse.Namespace) -> tuple[list[dict], dict[str, list]]:
    """(one row of figures for each filling, contact sheet rows for each kind of mask)"""
    without = () if options.weights else ("net",)
    everything = [name for name in METHODS.names() if name not in without]
    wanted = everything if options.methods == "all" else [m for m in options.methods.split(",") if m]
    names = wanted + (available() if options.peers else [])
    rows: list[dict] = []
    sheets: dict[str, list] = {}
    warm: set[tuple] = set()
    for number, (photo, image) in enumerate(photos(options).items()):
        for kind in options.masks.split(","):
            hole = mask_of(kind, image.shape[:2], options.seed + number)
            line = [("truth", image), (f"{kind} {100 * hole.mean():.0f} %", sheet.masked(image, hole))]
            for name in names:
                if (name, kind, image.shape) not in warm and name not in PEERS:
                    warm.add((name, kind, image.shape))
                    fill(name, image, hole, argparse.Namespace(**{**vars(options), "timeout": 1.0}))
                filled, seconds, ran = fill(name, image, hole, options)
                row = {
                    "photo": photo,
                    "mask": kind,
                    "method": name,
                    "ran": ran,
                    "shape": list(image.shape),
                    "hole": float(hole.mean()),
                    "psnr": psnr(filled, image, hole),
                    "gradient_ratio": gradient_ratio(filled, hole),
                    "wasserstein": sliced_wasserstein(filled, image, hole),
                    "seconds": seconds,
                }
                rows.append(row)
                line.append((f"{name} {row['psnr']:.1f} dB {row['wasserstein']:.1f}", filled))
                print(
                    f"{photo:>10} {kind:>9} {name:>20} {row['psnr']:6.2f} dB  gradients {row['gradient_ratio']:.2f}"
                    f"  distance {row['wasserstein']:5.2f}  {seconds:8.3f} s  {ran if ran != name else ''}",
                    flush=True,
                )
            sheets.setdefault(kind, []).append(line)
    return rows, sheets


def table(rows: list[dict], figure: str, digits: int) -> str:
    """Means over the photos, a line for each kind of mask, a column for each method."""
    kinds, methods = (list(dict.fromkeys(row[key] for row in rows)) for key in ("mask", "method"))
    lines = [f"| {figure} | {' | '.join(methods)} |", "|---" * (len(methods) + 1) + "|"]
    for kind in kinds:
        cells = []
        for method in methods:
            values = [row[figure] for row in rows if row["mask"] == kind and row["method"] == method]
            cells.append(f"{np.mean(values):.{digits}f}" if values else "–")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    options = arguments()
    rows, sheets = measured(options)
    for path in options.merge:
        rows += json.loads(path.read_text())
    for figure, digits in (("psnr", 2), ("gradient_ratio", 2), ("wasserstein", 2), ("seconds", 3)):
        print("\n" + table(rows, figure, digits))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    if options.sheets:
        for kind, lines in sheets.items():
            sheet.save(options.sheets / f"{kind}.png", lines)
        print(f"\npictures in {options.sheets}")


if __name__ == "__main__":
    main()
