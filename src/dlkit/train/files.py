"""Writing so that nothing is ever half there: a temporary name in the same folder, synced, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from dlkit.errors import DlkitError


class OutputError(DlkitError):
    """A file or folder that cannot be written."""


@contextlib.contextmanager
def says_why(path: Path) -> Iterator[None]:
    """Turns an OSError into one line that names the path."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); what was there before is unharmed"
        ) from None


def write_atomically(path: Path, data: bytes | str) -> None:
    """Replaces `path` by `data` completely or not at all, also across a crash or power cut.

    Raises : OutputError (no permission, no space, ...); the old file is then still there.
    """
    content = data.encode() if isinstance(data, str) else data

    def write(name: str) -> None:
        Path(name).write_bytes(content)

    save_atomically(path, write)


def save_atomically(path: Path, save: Callable[[str], None]) -> None:
    """Like `write_atomically`, for a library that wants to write the file itself: `save(temporary name)`."""
    with says_why(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        try:
            save(name)
            with open(name, "rb+") as file:
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(folder: Path) -> None:
    """Deletes temporary files that a killed process left in `folder`."""
    for path in folder.glob(".*-*"):
        if path.suffix in (".safetensors", ".toml", ".csv", ".json", ".png"):
            path.unlink(missing_ok=True)
