"""The gallery of docs/inpaint.md: every method on the three pictures of Deep Image Prior's own figures, and on a photo.

    python benchmarks/gallery.py --data ../shared/data --out docs/gallery [--weights RUN]

The masks of kate (text), library and vase (objects) come with the pictures, black = hole; barbara loses every second
pixel. Pictures are reduced to --size pixels first. What has no truth (library, vase) is only looked at.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from inpainting import sheet
from inpainting.masks import mask_of
from inpainting.measures import psnr
from PIL import Image

from dlkit.errors import DataError
from dlkit.inpaint import METHODS, inpaint

COLUMNS = 4


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("DLKIT_DATA_DIR", Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(data), help="folder that holds inpaint-dip/")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "gallery")
    parser.add_argument("--size", type=int, default=320, help="longest side in pixels")
    parser.add_argument("--only", default="kate,library,vase,barbara")
    parser.add_argument("--methods", default="auto," + ",".join(METHODS.names()))
    parser.add_argument("--fast", default="deep-prior", help="methods with --quality fast")
    parser.add_argument("--weights", help="run folder for the method net, which is left out without")
    return parser.parse_args()


def reduced(image: Image.Image, size: int, how: Image.Resampling) -> Image.Image:
    scale = min(size / max(image.size), 1)
    return image.resize((round(image.width * scale), round(image.height * scale)), how)


def pictures(options: argparse.Namespace) -> dict[str, tuple[np.ndarray, np.ndarray, bool]]:
    """name -> (uint8 [H, W, 3], hole, whether what lies in the hole is the truth)"""
    folder, found = options.data / "inpaint-dip", {}
    for name in ("kate", "library", "vase"):
        image = Image.open(folder / "inpainting" / f"{name}.png").convert("RGB")
        mask = Image.open(folder / "inpainting" / f"{name}_mask.png").convert("L")
        small = np.asarray(reduced(image, options.size, Image.Resampling.LANCZOS))
        # a pixel of the small mask is hole if any of the pixels that it was made of is
        hole = np.asarray(reduced(mask, options.size, Image.Resampling.BOX)) < 254
        found[name] = small, hole, name == "kate"
    image = Image.open(folder / "restoration" / "barbara.png").convert("RGB")
    small = np.asarray(reduced(image, options.size, Image.Resampling.LANCZOS))
    found["barbara"] = small, mask_of("random", small.shape[:2], 0), True
    return {name: found[name] for name in options.only.split(",")}


def main() -> None:
    options = arguments()
    methods = [m for m in options.methods.split(",") if m != "net" or options.weights]
    for name, (image, hole, known) in pictures(options).items():
        cells = [(f"{name}, {100 * hole.mean():.0f} % hole", sheet.masked(image, hole))]
        damaged = np.where(hole[..., None], 0, image).astype(np.uint8)
        for method in methods:
            began = time.perf_counter()
            try:
                weights = options.weights if method == "net" else None
                quality = "fast" if method in options.fast.split(",") else "normal"
                result = inpaint(damaged, hole, method, quality=quality, weights=weights)
            except DataError as error:  # patchmatch among scattered pixels
                print(f"{name:>8} {error}")
                continue
            title = method if result.method == method else f"{method}: {result.method}"
            title += ", fast" if quality == "fast" else ""
            title += f" {psnr(result.image, image, hole):.1f} dB" if known else ""
            print(f"{name:>8} {title:32} {time.perf_counter() - began:7.1f} s", flush=True)
            cells.append((title, result.image))
        rows = [cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
        sheet.save(options.out / f"{name}.jpg", rows)


if __name__ == "__main__":
    main()
