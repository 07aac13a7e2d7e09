"""Bringing published weights to this machine: by name, checked by SHA256, safetensors only."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlkit.data.download import fetch
from dlkit.errors import DataError
from dlkit.weights.published import FILE, PUBLISHED, Published


@dataclass
class Fetched:
    """first : there was nothing to compare the checksum with, so it was recorded for the next time."""

    name: str
    file: str
    model: str
    bytes: int
    sha256: str
    first: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def folder() -> Path:
    import pooch

    return Path(pooch.os_cache("dlkit")) / "weights"


def get(name: str, *, mirror: str | None = None, into: Path | None = None) -> Fetched:
    """Downloads published weights into the user's cache, unless they are there already.

    mirror : address of a folder that holds NAME.safetensors, instead of the published address.
    Raises : ConfigError for an unknown name, DataError if the file cannot be had, has another checksum, or is no
        safetensors file.
    """
    published = PUBLISHED[name]
    place = into or folder()
    record = place / f"{published.file}.sha256"
    expected = published.sha256 or (record.read_text().strip() if record.exists() else None)
    bases = (mirror,) if mirror else (published.folder,)
    path = fetch(bases, published.file, place, expected, remote=published.file if mirror else FILE)
    _require_safetensors(path, published)
    digest = _sha256(path)
    if expected is None:
        record.write_text(digest + "\n")
    return Fetched(name, str(path), published.model, path.stat().st_size, digest, expected is None)


def find(name: str) -> Path | None:
    """Where published weights lie on this machine; None if they were not fetched."""
    path = folder() / PUBLISHED[name].file
    return path if path.is_file() else None


def _require_safetensors(path: Path, published: Published) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        path.unlink(missing_ok=True)
        raise DataError(
            f"{published.name}: what was sent is no safetensors file ({error}); try another mirror"
        ) from None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
