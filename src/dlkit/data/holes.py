"""Random holes of any shape, to learn filling from.

    strokes     a brush that wanders and turns, from a scratch to a finger wide
    boxes       rectangles: what is cut out, an object
    text        rows of small marks of one height, as a caption or watermark
    scattered   single pixels, a tenth to seven tenths of all
    mixed       one of these, or two laid over each other

A hole is drawn from a generator and nothing else, so the same generator makes the same hole.
Source : in the manner of Liu et al. 2018, section 4.1, and Yu et al. 2019 (free-form masks), appendix; no masks of theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

KINDS: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {}
MOST = 0.75  # of the pixels: a hole that takes more is drawn again


def kind(draw: Callable[[int, int, np.random.Generator], np.ndarray]) -> Callable:
    KINDS[draw.__name__] = draw
    return draw


def kinds() -> list[str]:
    return ["mixed", *KINDS]


def random_hole(name: str, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """bool [height, width], True = unknown; at least one pixel is and at least a quarter are not."""
    while True:
        hole = _mixed(height, width, rng) if name == "mixed" else KINDS[name](height, width, rng)
        if 0 < hole.mean() <= MOST:
            return hole


def _mixed(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    names = list(KINDS)
    hole = KINDS[names[rng.integers(len(names))]](height, width, rng)
    if rng.random() < 0.25:
        hole = hole | KINDS[names[rng.integers(len(names))]](height, width, rng)
    return hole


@kind
def strokes(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    canvas, pen = _canvas(height, width)
    side = min(height, width)
    thickness = np.exp(rng.uniform(0, np.log(max(side / 5, 2))))  # as many thin as broad
    share = rng.uniform(0.05, 0.3)
    for _ in range(40):
        _stroke(pen, height, width, max(1, round(thickness * rng.uniform(0.7, 1.4))), rng)
        if np.asarray(canvas).mean() >= 255 * share:
            break
    return np.asarray(canvas) > 0


@kind
def boxes(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    for _ in range(rng.integers(1, 4)):
        h, w = (max(1, round(n * rng.uniform(0.1, 0.5))) for n in (height, width))
        i, j = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        hole[i : i + h, j : j + w] = True
    return hole


@kind
def text(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    canvas, pen = _canvas(height, width)
    tall = int(rng.integers(8, max(10, min(height, width) // 4)))  # a letter's height
    bold = max(1, round(tall * rng.uniform(0.08, 0.2)))
    top = -int(rng.integers(0, tall))
    while top < height:
        left = -int(rng.integers(0, tall))
        while left < width:
            if rng.random() < 0.85:  # else the gap between two words
                _letter(pen, top, left, tall, bold, rng)
            left += round(0.65 * tall)
        top += round(tall * rng.uniform(1.2, 2.5))
    return np.asarray(canvas) > 0


@kind
def scattered(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    return rng.random((height, width)) < rng.uniform(0.1, 0.7)


def _canvas(height: int, width: int) -> tuple[Any, Any]:
    from PIL import Image, ImageDraw

    canvas = Image.new("L", (width, height))
    return canvas, ImageDraw.Draw(canvas)


def _stroke(pen: Any, height: int, width: int, thickness: int, rng: np.random.Generator) -> None:
    y, x, angle = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0, 2 * np.pi)
    step, turn = max(height, width) / 12, rng.uniform(0.2, 0.9)
    for _ in range(rng.integers(3, 13)):
        angle += rng.normal(0, turn)
        to_y, to_x = y + step * np.sin(angle), x + step * np.cos(angle)
        pen.line((x, y, to_x, to_y), fill=255, width=thickness)
        if thickness > 3:  # a round joint
            r = thickness / 2
            pen.ellipse((to_x - r, to_y - r, to_x + r, to_y + r), fill=255)
        y, x = to_y, to_x


def _letter(pen: Any, top: int, left: int, tall: int, bold: int, rng: np.random.Generator) -> None:
    """Two or three lines or arcs between the corners of a letter's box: nothing to read, but what reading leaves."""
    wide = round(0.5 * tall)
    for _ in range(rng.integers(2, 4)):
        if rng.random() < 0.4:
            start = int(rng.integers(0, 360))
            span = int(rng.integers(120, 360))
            pen.arc((left, top, left + wide, top + tall), start, start + span, fill=255, width=bold)
        else:
            xs, ys = left + wide * rng.integers(0, 2, 2), top + tall * rng.integers(0, 3, 2) // 2
            pen.line((int(xs[0]), int(ys[0]), int(xs[1]), int(ys[1])), fill=255, width=bold)
