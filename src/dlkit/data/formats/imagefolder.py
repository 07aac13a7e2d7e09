"""Images sorted into class folders, in a folder or in a .zip of one.

    train/<class>/*  with test/<class>/* (or val, valid, validation), or
    <class>/*        of which a part is held back for testing.
A single folder around all this is seen through. Only the first image is opened, for size and mode.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import DataError
from .. import images
from ..dataset import Dataset, hold_out
from ..sources import ImageFilesSource
from . import Options
from .common import explained

NAME = "class folders of images, or a .zip of them"
OPTIONS = frozenset({"image_size", "grey"})
TRAIN, TEST = "train", ("test", "val", "valid", "validation")
MAX_FILE_BYTES = 512 * 2**20

Parts = tuple[str, ...]


def accepts(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() == ".zip"


def read(path: Path, options: Options) -> Dataset:
    with explained(path, NAME):
        opener = FolderOpener(path) if path.is_dir() else ZipOpener(path)
        layout = arrange(opener.files, opener.folders, str(path))
    if opener.unsafe:
        layout.notes.append(f"ignored {opener.unsafe} unsafe names (absolute, or with ..)")
    classes = sorted(layout.train)
    unknown = sorted(set(layout.test) - set(layout.train))
    if unknown:
        raise DataError(f"{path}: test class '{unknown[0]}' is not among the training classes; add or remove it")
    files, labels = _flatten(layout.train, classes)
    shape = _shape(files[0], opener, options)
    train = ImageFilesSource(files, labels, shape, opener)
    if not layout.test:
        return hold_out(options.name, classes, train, options.test_split, options.seed, layout.notes)
    files, labels = _flatten(layout.test, classes)
    return Dataset(options.name, classes, train, ImageFilesSource(files, labels, shape, opener), layout.notes)


@dataclass
class Layout:
    """File names by class, for training and testing (empty if there is no test part)."""

    train: dict[str, list[str]]
    test: dict[str, list[str]]
    notes: list[str]


def arrange(files: list[str], folders: list[str], where: str) -> Layout:
    """Sort relative names (`/` between parts) into splits and classes; DataError for an unusable layout."""
    kept: list[tuple[Parts, str]] = []
    stray: list[str] = []
    for file in files:
        parts = tuple(file.split("/"))
        if _is_image(parts):
            kept.append((parts, file))
        else:
            stray.append(file)
    dirs = {parts for f in folders if (parts := tuple(f.strip("/").split("/"))) and not _has_junk(parts)}
    if not kept:
        raise DataError(f"{where}: holds no images; <class>/<image> or train/<class>/<image> is needed")
    skip = _wrappers([parts for parts, _ in kept], dirs)
    kept = [(parts[skip:], file) for parts, file in kept]
    dirs = {parts[skip:] for parts in dirs if len(parts) > skip}
    dirs |= {parts[:-1] for parts, _ in kept}

    tops = sorted({parts[0] for parts in dirs if parts})
    splits = {top.lower(): top for top in tops if top.lower() in (TRAIN, *TEST)}
    notes: list[str] = []
    if TRAIN in splits:
        test_name = next((splits[name] for name in TEST if name in splits), None)
        train = _classes(kept, dirs, (splits[TRAIN],), where)
        test = _classes(kept, dirs, (test_name,), where) if test_name else {}
        used = {splits[TRAIN], test_name}
        unused = sorted({parts[0] for parts, _ in kept if len(parts) > 1} - used)
        if unused:
            notes.append(f"ignored folder{'s' if len(unused) > 1 else ''} {', '.join(unused)}")
        stray += [file for parts, file in kept if len(parts) < (3 if parts[0] in used else 2)]
    elif splits and sorted(splits.values()) == tops:
        raise DataError(f"{where}: has {', '.join(splits.values())} but no train folder; name the training folder so")
    else:
        train, test = _classes(kept, dirs, (), where), {}
        stray += [file for parts, file in kept if len(parts) < 2]
    if stray:
        notes.append(f"ignored {len(stray)} stray file{'s' if len(stray) > 1 else ''} (such as {stray[0]})")
    return Layout(train, test, notes)


def _classes(kept: list[tuple[Parts, str]], dirs: set[Parts], prefix: Parts, where: str) -> dict[str, list[str]]:
    depth = len(prefix)
    found: dict[str, list[str]] = {d[depth]: [] for d in dirs if len(d) > depth and d[:depth] == prefix}
    for parts, file in kept:
        if len(parts) > depth + 1 and parts[:depth] == prefix:
            found[parts[depth]].append(file)
    inside = "/".join((where, *prefix))
    if not found:
        raise DataError(f"{inside}: has no class folders; sort the images into {inside}/<class>/")
    empty = sorted(name for name, members in found.items() if not members)
    if empty:
        raise DataError(f"{inside}/{empty[0]}: this class folder holds no images; add some or remove the folder")
    return found


def _wrappers(kept: list[Parts], dirs: set[Parts]) -> int:
    """How many single folders lie around everything."""
    skip = 0
    while True:
        tops = {parts[skip] for parts in kept} | {parts[skip] for parts in dirs if len(parts) > skip}
        # below a wrapper there is at least <class>/<image>; a split folder is no wrapper
        if len(tops) != 1 or min(map(len, kept)) < skip + 3 or next(iter(tops)).lower() in (TRAIN, *TEST):
            return skip
        skip += 1


def _is_image(parts: Parts) -> bool:
    return os.path.splitext(parts[-1])[1].lower() in images.SUFFIXES and not _has_junk(parts)


def _has_junk(parts: Parts) -> bool:
    return any(map(_is_junk, parts))


def _is_junk(name: str) -> bool:
    return name == "__MACOSX" or name[:1] == "."


def _flatten(by_class: dict[str, list[str]], classes: list[str]) -> tuple[list[str], np.ndarray]:
    """Files ordered by class and name, and their labels."""
    files = [file for name in classes for file in sorted(by_class.get(name, ()))]
    counts = [len(by_class.get(name, ())) for name in classes]
    return files, np.repeat(np.arange(len(classes), dtype=np.int64), counts)


def _shape(first: str, opener, options: Options) -> tuple[int, int, int]:
    if options.image_size and options.grey is not None:
        return (*options.image_size, 1 if options.grey else 3)
    height, width, channels = images.probe(opener(first), opener.where(first))
    size = options.image_size or (height, width)
    return (*size, channels if options.grey is None else 1 if options.grey else 3)


class FolderOpener:
    """Reads files below a folder. `files` and `folders` are the relative names, `/` between parts."""

    unsafe = 0

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: list[str] = []
        self.folders: list[str] = []
        for folder, subfolders, files in os.walk(root, onerror=_raise):
            subfolders[:] = [name for name in subfolders if not _is_junk(name)]
            inside = os.path.relpath(folder, root).replace(os.sep, "/")
            prefix = "" if inside == "." else inside + "/"
            self.files += [prefix + name for name in files]
            self.folders += [prefix + name for name in subfolders]

    def where(self, file: str) -> str:
        return str(self.root / file)

    def __call__(self, file: str) -> bytes:
        path = self.root / file
        with explained(path, "an image"):
            if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
                raise DataError(f"{path}: no plain file of at most {MAX_FILE_BYTES >> 20} MiB; remove it")
            return path.read_bytes()


class ZipOpener:
    """Reads members of a zip archive without extracting it. Unsafe names (absolute, `..`) are left out."""

    def __init__(self, path: Path) -> None:
        import zipfile

        self.path = path
        self._archive = zipfile.ZipFile(path)
        self._lock = threading.Lock()
        names = [name for name in self._archive.NameToInfo if _is_safe(name)]
        self.unsafe = len(self._archive.NameToInfo) - len(names)
        self.files = [name for name in names if not name.endswith("/")]
        self.folders = [name for name in names if name.endswith("/")]

    def where(self, file: str) -> str:
        return f"{self.path}: {file}"

    def __call__(self, file: str) -> bytes:
        with explained(f"{self.path}: {file}", "a zip member"), self._lock:  # zipfile is not thread-safe
            if self._archive.getinfo(file).file_size > MAX_FILE_BYTES:
                raise DataError(f"{self.path}: {file} is larger than {MAX_FILE_BYTES >> 20} MiB; remove it")
            return self._archive.read(file)


def _is_safe(name: str) -> bool:
    return not (name.startswith("/") or "\\" in name or name[1:2] == ":" or ".." in name.split("/"))


def _raise(error: OSError) -> None:
    raise error
