"""scikit-learn's 1,797 handwritten digits, 8×8 grey. They come with the package: there is no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import DataError
from ..dataset import Dataset
from . import Options
from .common import assemble

NAME = "scikit-learn's digits"
OPTIONS = frozenset({"image_size", "grey"})
BUILTIN = Path("<digits>")


def accepts(path: Path) -> bool:
    return path == BUILTIN


def read(path: Path, options: Options) -> Dataset:
    """The split is always drawn by seed 0 (80/20 unless asked otherwise), so that results compare."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(f"digits need scikit-learn, which does not import ({error}); install it") from None
    raw = load_digits()
    pixels = np.rint(raw.images * (255 / 16)).astype(np.uint8)
    classes = [str(name) for name in raw.target_names]
    train = (pixels, raw.target.astype(np.int64))
    return assemble(options, train, None, classes, [], seed=0)
