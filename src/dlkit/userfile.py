"""A user's own Python file, run because its path was given: `path/to/file.py:thing`."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from dlkit.errors import ConfigError


def split_target(text: str) -> tuple[str, str]:
    """("path/to/file.py", "thing"); the thing is "" where none is named."""
    path, _, name = text.rpartition(":") if text.rpartition(":")[0].endswith(".py") else (text, "", "")
    return path, name


def import_file(path: Path) -> ModuleType:
    """Runs a file as a module of its own; its folder can be imported from.  Raises : ConfigError."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file" if path.suffix == ".py" else f"{path}: expected file.py:thing")
    spec = importlib.util.spec_from_file_location(f"dlkit_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: no Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    with _importable(path.resolve().parent):
        sys.modules[spec.name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[spec.name]
            raise ConfigError(f"{path} does not import: {where_in(error, str(path))}") from None
    return module


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def where_in(error: BaseException, file: str | None) -> str:
    """ "line 12: NameError: ..." with the last line of the user's own file."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {type(error).__name__}: {error.msg}"
    lines = [
        f.lineno for f in traceback.extract_tb(error.__traceback__) if file and f.filename.endswith(Path(file).name)
    ]
    text = " ".join(str(error).split())[:300]
    return (f"line {lines[-1]}: " if lines else "") + type(error).__name__ + (f": {text}" if text else "")
