"""Contact sheets: the pictures beside the figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP, TITLE = 6, 18


def masked(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The photo with its hole in magenta."""
    shown = as_rgb(image).copy()
    shown[hole] = (255, 0, 255)
    return shown


def as_rgb(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., :3]


def save(path: Path, rows: list[list[tuple[str, np.ndarray]]]) -> None:
    """One row of (title, picture) for each photo."""
    heights = [max(p.shape[0] for _, p in row) + TITLE + GAP for row in rows]
    width = max(sum(p.shape[1] + GAP for _, p in row) for row in rows)
    sheet = Image.new("RGB", (width, sum(heights)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    y = 0
    for row, height in zip(rows, heights):
        x = 0
        for title, picture in row:
            pen.text((x + 2, y + 2), title, fill="black", font=font)
            sheet.paste(Image.fromarray(as_rgb(picture)), (x, y + TITLE))
            x += picture.shape[1] + GAP
        y += height
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, **({"quality": 88} if path.suffix == ".jpg" else {}))
