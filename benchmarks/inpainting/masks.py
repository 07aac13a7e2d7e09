"""Masks by seed, True = hole: the five kinds of damage that fillings are judged on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WORDS = (
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "mix",
    "potions",
)


def text(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Lines of words all over the photo, as a caption or watermark."""
    canvas, pen = _canvas(shape)
    y = int(rng.integers(0, 8))
    while y < shape[0]:
        size = int(rng.integers(16, 25))
        line = " ".join(rng.choice(WORDS, 40))
        pen.text((-int(rng.integers(0, 30)), y), line, fill=255, font=ImageFont.load_default(size))
        y += int(1.5 * size)
    return np.asarray(canvas) >= 128


def scratches(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Thin cracks, 1 to 3 pixels wide, across the photo: one for every 4,000 pixels."""
    canvas, pen = _canvas(shape)
    for _ in range(max(4, shape[0] * shape[1] // 4000)):
        _walk(pen, shape, rng, width=int(rng.integers(1, 4)), steps=12, step=max(shape) / 20, turn=0.35)
    return np.asarray(canvas) >= 128


def random_half(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Every second pixel, at random."""
    return rng.random(shape) < 0.5


def brush(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Strokes of a brush as wide as a fifteenth of the photo, until a fifth of it is gone."""
    canvas, pen = _canvas(shape)
    while np.asarray(canvas).mean() < 0.2 * 255:
        width = max(3, int(min(shape) / 15 * rng.uniform(0.7, 1.3)))
        _walk(pen, shape, rng, width, steps=6, step=max(shape) / 12, turn=0.7)
    return np.asarray(canvas) >= 128


def disc(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A round hole of a tenth of the photo."""
    radius = np.sqrt(0.1 * shape[0] * shape[1] / np.pi)
    centre = [rng.uniform(1.2 * radius, max(1.2 * radius, n - 1.2 * radius)) for n in shape]
    i, j = np.indices(shape)
    return (i - centre[0]) ** 2 + (j - centre[1]) ** 2 <= radius**2


MASKS: dict[str, Callable[[tuple[int, int], np.random.Generator], np.ndarray]] = {
    "text": text,
    "scratches": scratches,
    "random": random_half,
    "brush": brush,
    "disc": disc,
}


def mask_of(kind: str, shape: tuple[int, int], seed: int) -> np.ndarray:
    """The mask of this kind, shape and seed: always the same."""
    return MASKS[kind](shape, np.random.default_rng((seed, list(MASKS).index(kind))))


def _canvas(shape: tuple[int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    canvas = Image.new("L", shape[::-1])
    return canvas, ImageDraw.Draw(canvas)


def _walk(
    pen: ImageDraw.ImageDraw,
    shape: tuple[int, int],
    rng: np.random.Generator,
    width: int,
    steps: int,
    step: float,
    turn: float,
) -> None:
    """A random walk with round joints, whose direction changes by about `turn` radians at each step."""
    y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
    angle = rng.uniform(0, 2 * np.pi)
    for _ in range(steps):
        angle += rng.normal(0, turn)
        to_y, to_x = y + step * np.sin(angle), x + step * np.cos(angle)
        pen.line((x, y, to_x, to_y), fill=255, width=width)
        if width > 3:
            r = width / 2
            pen.ellipse((to_x - r, to_y - r, to_x + r, to_y + r), fill=255)
        y, x = to_y, to_x
