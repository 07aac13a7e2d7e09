"""What convolutions and pools share: windows over any number of spatial axes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dlkit import ops
from dlkit.errors import OnnxError
from dlkit.ops.window import LARGEST

Border = tuple[int, int]


def numbers(given: list[int] | None, n: int, default: int, name: str, least: int) -> tuple[int, ...]:
    """An attribute with one number for each spatial axis."""
    found = (default,) * n if given is None else tuple(given)
    if len(found) != n or any(not least <= i <= LARGEST for i in found):
        raise OnnxError(f"{name} (={list(found)}) must be {n} numbers from {least} to {LARGEST}")
    return found


def borders(
    auto_pad: str, pads: list[int] | None, size: tuple, kernel: tuple, stride: tuple, dilation: tuple
) -> tuple[Border, ...]:
    """(before, after) for each spatial axis."""
    n = len(size)
    if auto_pad == "NOTSET":
        flat = numbers(pads, 2 * n, 0, "pads", 0)
        return tuple(zip(flat[:n], flat[n:]))
    if auto_pad == "VALID":
        return ((0, 0),) * n
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        raise OnnxError(f"auto_pad {auto_pad!r} must be NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    out = []
    for i, k, s, d in zip(size, kernel, stride, dilation):
        total = max((-(-i // s) - 1) * s + d * (k - 1) + 1 - i, 0)
        small, large = total // 2, total - total // 2
        out.append((small, large) if auto_pad == "SAME_UPPER" else (large, small))
    return tuple(out)


def pad_spatial(x: Any, border: tuple[Border, ...], value: float = 0.0) -> Any:
    """x [N, ..., C] with a border around its spatial axes."""
    if not any(map(any, border)):
        return x
    return ops.pad(x, widths=((0, 0), *border, (0, 0)), value=value)


def taps(x: Any, kernel: tuple, stride: tuple, dilation: tuple, out: tuple) -> Iterator[tuple[tuple, Any]]:
    """For each place in the window: (place, what each window sees there), x [N, ..., C] already padded."""
    for place in np.ndindex(*kernel):
        index = tuple(slice(p * d, p * d + (o - 1) * s + 1, s) for p, d, o, s in zip(place, dilation, out, stride))
        yield place, x[(slice(None), *index, slice(None))]
