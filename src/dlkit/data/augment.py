"""Random changes to training pictures that leave their label true."""

from __future__ import annotations

from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from math import floor, isfinite
from typing import Any

import numpy as np

from dlkit.errors import ConfigError

_WHOLE = ("crop", "cutout")
_LIMITS = {"crop": 65535, "shift": 1.0, "rotate": 180.0, "scale": 0.9, "cutout": 65535}


@dataclass(frozen=True)
class Augment:
    """What to vary, each picture by its own draw; applied in this order:

    flip     mirror left-right with probability 1/2
    crop     pad this many pixels on every side, cut the old size out at a random place (He et al. 2016, "Deep
             Residual Learning", 4.2); the padding mirrors the picture, for black borders would be part of the batch
             statistics that the network normalises by, and whole pictures have none
    rotate   turn about the centre by up to this many degrees either way (positive: anticlockwise)
    scale    enlarge about the centre by 1 ± this fraction
    shift    move by up to this fraction of the height and of the width
    cutout   paint one square of this side, its centre anywhere in the picture, in the mean colour of
             the batch given (DeVries & Taylor 2017, arXiv:1708.04552)

    Rotation, scale and shift make one affine map, sampled bilinearly once, with zeros outside.
    """

    flip: bool = False
    crop: int = 0
    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    cutout: int = 0

    def __post_init__(self) -> None:
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            whole = name in _WHOLE
            number = isinstance(value, (int, np.integer) if whole else (int, float, np.number))
            if not number or isinstance(value, bool) or not (isfinite(value) and 0 <= value <= limit):
                raise ConfigError(
                    f"augment {name}={value!r}: expected a {'whole ' if whole else ''}number "
                    f"from 0 to {limit:g}; change it or leave {name} out"
                )
            # Plain Python numbers: str() and a saved configuration must not depend on NumPy's repr.
            object.__setattr__(self, name, int(value) if whole else float(value))
        object.__setattr__(self, "flip", bool(self.flip))

    @classmethod
    def parse(cls, text: str) -> Augment:
        """Read "flip,crop=4,rotate=10,shift=0.1,cutout=8"; "none" or "" changes nothing.

        Raises ConfigError for an unknown word, a word given twice, or a value missing or out of range.
        """
        if text.strip() in ("", "none"):
            return cls()
        names = [f.name for f in fields(cls)]
        found: dict[str, Any] = {}
        for part in text.split(","):
            word, equals, value = (piece.strip() for piece in part.partition("="))
            if word not in names:
                near = get_close_matches(word, names, 1, 0.5)
                hint = f"did you mean {near[0]!r}?" if near else "use one of those, or 'none' alone"
                raise ConfigError(f"augment {word!r}: expected one of {', '.join(names)}; {hint}")
            if word in found:
                raise ConfigError(f"augment {text!r}: {word!r} is given twice, expected once; remove one")
            found[word] = True if word == "flip" and not equals else _number(word, value)
        return cls(**found)

    def __str__(self) -> str:
        """The text that `parse` reads back to an equal Augment."""
        words = ["flip"] * self.flip
        for name in _LIMITS:
            if value := getattr(self, name):
                words.append(f"{name}={repr(value).removesuffix('.0')}")
        return ",".join(words) or "none"

    def __bool__(self) -> bool:
        """False if nothing would ever change."""
        return self != Augment()

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Vary a batch: x uint8[B,H,W,C] -> a new uint8[B,H,W,C]; x is left as it is.

        Raises ConfigError if x is no such batch, or `crop` could cut a picture away whole.
        """
        if x.ndim != 4 or x.dtype != np.uint8:
            raise ConfigError(
                f"augment: got {x.dtype}{x.shape}, expected pictures uint8[B,H,W,C]; "
                "set augment to 'none' for data that are not pictures"
            )
        B, H, W, _ = x.shape
        if self.crop >= min(H, W):
            raise ConfigError(f"augment crop={self.crop}: expected less than the pictures' {H}x{W}; lower it")
        source = np.array(x, order="C")  # writable and contiguous, so that one compiled kernel fits all
        out = source
        if self.flip or self.crop:
            mirror = rng.random(B) < 0.5 if self.flip else np.zeros(B, bool)
            corner = rng.integers(0, 2 * self.crop, (B, 2), endpoint=True) - self.crop
            out = np.empty_like(source)
            _compiled(_flip_crop)(source, mirror, corner, out)
        if self.rotate or self.scale or self.shift:
            warped = np.empty_like(source)
            _compiled(_warp)(out, self._maps(B, H, W, rng), warped)
            out = warped
        if self.cutout:
            centre = rng.integers(0, (H, W), (B, 2))
            _compiled(_cutout)(source, centre, self.cutout, out)
        return out

    def _maps(self, B: int, H: int, W: int, rng: np.random.Generator) -> np.ndarray:
        """float64[B,2,3]: from a pixel (x, y, 1) of the result to the place (x, y) it is taken from.

        Drawn: angle, scale and the shifts in y and x, in this order, for every picture at a time. A
        point p goes to c + s R (p - c) + d, so the result at q is taken from c + R^-1 (q - c - d) / s.
        """
        draw = rng.uniform(-1, 1, (B, 4))
        angle, grow = np.deg2rad(self.rotate * draw[:, 0]), 1 + self.scale * draw[:, 1]
        move_y, move_x = self.shift * H * draw[:, 2], self.shift * W * draw[:, 3]
        centre_y, centre_x = (H - 1) / 2, (W - 1) / 2
        cos, sin = np.cos(angle) / grow, np.sin(angle) / grow
        maps = np.empty((B, 2, 3))
        # y points down, hence the sign of the sine: this turns anticlockwise as one looks at it.
        maps[:, 0, 0], maps[:, 0, 1], maps[:, 1, 0], maps[:, 1, 1] = cos, -sin, sin, cos
        maps[:, 0, 2] = centre_x - cos * (centre_x + move_x) + sin * (centre_y + move_y)
        maps[:, 1, 2] = centre_y - sin * (centre_x + move_x) - cos * (centre_y + move_y)
        return maps


def _number(word: str, value: str) -> int | float:
    """The value written for `word`; __post_init__ checks its range."""
    if word != "flip":
        try:
            return int(value) if word in _WHOLE else float(value)
        except ValueError:
            pass
    if word == "flip":
        expected, example = "no value", "flip"
    elif word in _WHOLE:
        expected, example = "a whole number", f"{word}=4"
    else:
        expected, example = "a number", f"{word}=0.1"
    raise ConfigError(f"augment {word}={value}: expected {expected}; write {example!r}")


@cache
def _compiled(kernel: Any) -> Any:
    """The kernel through Numba, which is imported only now; without the GIL, beside training."""
    import numba

    try:
        return numba.njit(kernel, cache=True, nogil=True)
    except RuntimeError:  # nowhere to write a cache: compile anew in each process
        return numba.njit(kernel, nogil=True)


def _flip_crop(x: Any, mirror: Any, corner: Any, out: Any) -> None:
    """out[b,i,j] = x[b, i + corner[b,0], j + corner[b,1]], x mirrored first where mirror[b], and at its edges."""
    B, H, W, C = x.shape
    for b in range(B):
        for i in range(H):
            y = H - 1 - abs(H - 1 - abs(i + corner[b, 0]))
            for j in range(W):
                along = W - 1 - abs(W - 1 - abs(j + corner[b, 1]))
                if mirror[b]:
                    along = W - 1 - along
                for c in range(C):
                    out[b, i, j, c] = x[b, y, along, c]


def _warp(x: Any, maps: Any, out: Any) -> None:
    """out[b,i,j] = x[b] read bilinearly at maps[b] @ (j, i, 1), 0 outside; rounded half up to uint8."""
    B, H, W, C = x.shape
    for b in range(B):
        for i in range(H):
            for j in range(W):
                fx = maps[b, 0, 0] * j + (maps[b, 0, 1] * i + maps[b, 0, 2])
                fy = maps[b, 1, 0] * j + (maps[b, 1, 1] * i + maps[b, 1, 2])
                x0, y0 = floor(fx), floor(fy)
                u, v = fx - x0, fy - y0
                left, right, top, bottom = 1.0 - u, u, 1.0 - v, v
                x1, y1 = x0 + 1, y0 + 1
                # A neighbour outside weighs nothing; its index is then pointed anywhere inside.
                if x0 < 0 or x0 >= W:
                    left, x0 = 0.0, 0
                if x1 < 0 or x1 >= W:
                    right, x1 = 0.0, 0
                if y0 < 0 or y0 >= H:
                    top, y0 = 0.0, 0
                if y1 < 0 or y1 >= H:
                    bottom, y1 = 0.0, 0
                for c in range(C):
                    upper = left * x[b, y0, x0, c] + right * x[b, y0, x1, c]
                    lower = left * x[b, y1, x0, c] + right * x[b, y1, x1, c]
                    out[b, i, j, c] = int(top * upper + bottom * lower + 0.5)


def _cutout(x: Any, centre: Any, side: int, out: Any) -> None:
    """Paint on out[b] the square of `side` about centre[b] in x's mean per channel, rounded half up."""
    B, H, W, C = x.shape
    flat = x.reshape(B * H * W, C)
    for c in range(C):
        total = 0
        for p in range(B * H * W):
            total += flat[p, c]
        level = int(total / max(1, B * H * W) + 0.5)
        for b in range(B):
            y, z = centre[b, 0] - side // 2, centre[b, 1] - side // 2
            for i in range(max(0, y), min(H, y + side)):
                for j in range(max(0, z), min(W, z + side)):
                    out[b, i, j, c] = level
