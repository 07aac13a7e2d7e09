"""Windows sliding over images: the sizes and paddings that convolution and pooling share."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit.errors import ConfigError, ShapeError

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]
LARGEST = 1 << 20  # of a window, step, factor or border: far above any use, far below where sizes overflow


def pair(x: Any, name: str, least: int = 1) -> Pair:
    """(vertical, horizontal) from an int or a pair.  Raises : ConfigError."""
    try:
        result = (x, x) if is_whole(x) else tuple(x)
    except TypeError:
        result = ()
    if len(result) != 2 or not all(map(is_whole, result)) or min(result) < least:
        raise ConfigError(f"{name} (={x}) must be a whole number of at least {least}, or a pair of them")
    if max(result) > LARGEST:
        raise ConfigError(f"{name} (={x}) must be at most {LARGEST}")
    return int(result[0]), int(result[1])


def is_whole(n: object) -> bool:
    return isinstance(n, (int, np.integer)) and not isinstance(n, bool)


def resolve_padding(padding: int | str | tuple, size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Padding:
    """(top, bottom, left, right) from "valid", "same", an int, a (vertical, horizontal) pair or all four.

    "same" gives ceil(size / stride) output pixels, the odd pixel of padding at the bottom and right (TensorFlow's
    rule).  Raises : ConfigError.
    """
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        out = []
        for n, r, s, d in zip(size, kernel, stride, dilation):
            total = max((-(-n // s) - 1) * s + d * (r - 1) + 1 - n, 0)
            out += [total // 2, total - total // 2]
        return tuple(out)  # type: ignore[return-value]
    if isinstance(padding, str):
        raise ConfigError(f"padding {padding!r} is unknown; expected 'same', 'valid' or pixels")
    four = (padding,) * 4 if is_whole(padding) else tuple(padding) if isinstance(padding, (tuple, list)) else ()
    if len(four) == 2:
        four = (four[0], four[0], four[1], four[1])
    if len(four) != 4 or not all(map(is_whole, four)) or min(four) < 0 or max(four) > LARGEST:
        raise ConfigError(f"padding (={padding}) must be 'same', 'valid', pixels, a pair or (top, bottom, left, right)")
    return tuple(int(p) for p in four)  # type: ignore[return-value]


def window_output(size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1)) -> Pair:
    """(OH, OW), floor((n + padding - dilation·(kernel-1) - 1) / stride) + 1.  Raises : ShapeError if no window fits."""
    out = []
    for n, r, s, d, before, after in zip(size, kernel, stride, dilation, padding[::2], padding[1::2]):
        reach = d * (r - 1) + 1
        if n + before + after < reach:
            raise ShapeError(f"a window of {reach} does not fit into {n} pixels with padding {before} + {after}")
        out.append((n + before + after - reach) // s + 1)
    return out[0], out[1]


def check_image(x: tuple, name: str = "x") -> tuple[int, int, int, int]:
    if len(x) != 4:
        raise ShapeError(f"{name} must be a batch of images [N, H, W, C]; it has shape {x}")
    return x  # type: ignore[return-value]
