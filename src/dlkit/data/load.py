"""`load`: a data set by its name or its path."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError
from . import images
from .dataset import Dataset
from .download import fetch
from .formats import FORMATS, Options
from .names import KNOWN, Known


def load(
    what: str | os.PathLike[str],
    *,
    image_size: tuple[int, int] | None = None,
    grey: bool | None = None,
    label: str | None = None,
    test_split: float = 0.2,
    seed: int = 0,
    download: bool = True,
    mirror: str | None = None,
) -> Dataset:
    """The data set `what`: a known name ("digits", "mnist", ...) or a path in one of the known formats.

    image_size  (height, width) to bring every image to; default: as it is, or as the first image is
    grey        True for one channel, False for three; default: as it is, or as the first image is
    label       the label column of a table
    test_split  the part held back, stratified, where the data have no test set of their own; 0 for none
    seed        of that split
    download    whether a known name that is not on this machine may be fetched
    mirror      an http(s) address of a folder to fetch its files from instead

    A known name is looked for in $DLKIT_DATA_DIR/<name>/, then in the user's cache, then downloaded to there.
    Labels of the result are int64 in 0..len(classes)-1. ConfigError for an unknown name or an option that
    does not fit, DataError for data that cannot be used.
    """
    what = os.fspath(what)
    image_size = images.check_size(image_size)
    if grey not in (None, True, False):
        raise ConfigError(f"grey is {grey!r}; give True, False or None")
    if isinstance(test_split, bool) or not isinstance(test_split, (int, float)) or not 0 <= test_split < 1:
        raise ConfigError(f"test_split is {test_split!r}; give a number from 0 (no test set) to below 1, such as 0.2")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ConfigError(f"seed is {seed!r}; give a whole number, 0 or more")
    known = KNOWN.get(what)
    if mirror and not (known and known.files):
        raise ConfigError(f"mirror (={mirror!r}) was given, but {what!r} is not downloaded; leave it out")
    path = _find_known(what, known, download, mirror) if known else _existing(what)
    options = Options(
        name=what if known else Path(what).name or what,
        image_size=image_size,
        grey=grey,
        label=label,
        test_split=test_split,
        seed=seed,
        classes=known.classes if known else None,
    )
    return _read(path, options)


def _read(path: Path, options: Options) -> Dataset:
    try:
        fitting = next((form for form in FORMATS if form.accepts(path)), None)
    except OSError as error:
        raise DataError(f"{path}: cannot be looked at ({error.strerror}); check its permissions") from None
    if fitting is None:
        raise DataError(f"{path}: no known format; known are {', '.join(form.NAME for form in FORMATS)}")
    for option in ("image_size", "grey", "label"):
        if getattr(options, option) is not None and option not in fitting.OPTIONS:
            raise ConfigError(f"{option} was given for {path}, but {fitting.NAME} has no such option; leave it out")
    return fitting.read(path, options)


def _existing(what: str) -> Path:
    """`what` as a path, or the error that helps: a path that is not there, or a name mistyped."""
    path = Path(what).expanduser()
    try:
        if what and path.exists():
            return path
    except (OSError, ValueError):  # too long, or a NUL in it: no path at all
        pass
    if "/" in what or os.sep in what or path.suffix:
        raise DataError(f"{what}: no such file or folder; check the path")
    near = difflib.get_close_matches(what.lower().replace("_", "-"), KNOWN, n=1)
    meant = f"did you mean '{near[0]}'? " if near else ""
    raise ConfigError(f"unknown data set '{what}': {meant}Known names are {', '.join(KNOWN)}; or give a path")


def _find_known(name: str, known: Known, download: bool, mirror: str | None) -> Path:
    if known.builtin:
        return known.builtin
    import pooch

    cache = Path(pooch.os_cache("dlkit")) / name
    places = [cache]
    if own := os.environ.get("DLKIT_DATA_DIR"):
        if not Path(own).is_dir():
            raise ConfigError(f"DLKIT_DATA_DIR is '{own}', which is no folder; correct or unset it")
        places.insert(0, Path(own) / name)
    for place in places:
        if found := _complete(place, known):
            return found
    looked = " and ".join(map(str, places))
    if not known.files:
        raise DataError(f"{name} is not in {looked} and cannot be downloaded; put {', '.join(known.local[0])} there")
    if not download:
        raise DataError(f"{name} is not in {looked}; allow the download, or put its files there")
    for file in known.files:
        fetch((mirror,) if mirror else known.bases, file.name, cache, file.sha256)
    return cache / known.opens if known.opens else cache


def _complete(place: Path, known: Known) -> Path | None:
    """What to read in `place` if one group of the set's files is complete there."""
    official = tuple(file.name for file in known.files)
    for group in (*known.local, official):
        if group and all((place / name).is_file() for name in group):
            return place / group[0] if len(group) == 1 else place
    return None
