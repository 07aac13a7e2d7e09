"""Writing so that nothing is ever half there: a temporary name in the same folder, synced, then renamed."""

from __future__ import annotations

import contextlib
import math
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dlkit.errors import DlkitError

TEMPORARY = ".dlkit-unfinished-"  # how the names of files begin that are being written


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
    """Like `write_atomically`, for a library that wants to write the file itself: `save(temporary name)`.

    A link stays and what it points to is replaced; a file that is replaced keeps its permissions.
    """
    with says_why(path):
        path = path.resolve()
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
        handle, name = tempfile.mkstemp(prefix=TEMPORARY, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        try:
            save(name)
            with open(name, "rb+") as file:
                os.fsync(file.fileno())
            os.chmod(name, mode)
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
    """Deletes what a killed process was writing in `folder`; only for who is about to write there."""
    for path in folder.glob(TEMPORARY + "*"):
        path.unlink(missing_ok=True)


def finite(value: Any) -> Any:
    """`value` with NaN and infinities as None: JSON has no word for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return value
