"""Colour (and grey with alpha) of 16 bits a channel, in PNG and TIFF: what Pillow does not do."""

from __future__ import annotations

import importlib
import logging
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from dlkit.inpaint.photo import Photo

BITS_PER_SAMPLE, ORIENTATION = 258, 274
ASSOCIATED = 1  # an extra sample: alpha by which the colours are multiplied already
PNG_SIGNATURE, PNG_HEADER = 8, 25  # bytes


def is_deep(image: Any, data: bytes) -> bool:
    """Whether a file holds more than Pillow's `image` of it will: 16 bits in two channels or more."""
    if image.format == "PNG":  # IHDR: bit depth, then colour type: 2 RGB, 4 grey and alpha, 6 RGBA
        return data[24] == 16 and data[25] in (2, 4, 6)
    if image.format == "TIFF":
        bits = image.tag_v2.get(BITS_PER_SAMPLE, (1,))
        return len(bits) >= 2 and set(bits) == {16} and image.mode in ("RGB", "RGBA", "LA")
    return False


def decode(data: bytes, image: Any, path: Path) -> tuple[np.ndarray, int]:
    """(uint16 [H, W, C], EXIF orientation of a TIFF, else 1)"""
    if image.format == "PNG":
        return _checked(_needs("imagecodecs", path).png_decode(data), path), 1
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it has to say is raised, or does not matter
    with _needs("tifffile", path).TiffFile(BytesIO(data)) as file:
        page = file.pages[0]
        pixels = page.asarray()
        if ASSOCIATED in page.extrasamples:
            raise DataError(f"{path}: its colours are multiplied by their opacity; save it with straight alpha first")
        separate = page.planarconfig == 2 and pixels.ndim == 3
        orientation = page.tags.get(ORIENTATION)
        return _checked(
            np.moveaxis(pixels, 0, -1) if separate else pixels, path
        ), orientation.value if orientation else 1


def _checked(pixels: np.ndarray, path: Path) -> np.ndarray:
    if pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[2] not in (2, 3, 4):
        raise DataError(f"{path}: holds {pixels.dtype}{list(pixels.shape)}; expected 16-bit colour, convert it first")
    return pixels


def encode(name: str, kind: str, photo: Photo) -> None:
    """Writes uint16 [H, W, C] as PNG or TIFF. A TIFF gets the colour profile, no EXIF."""
    path, pixels = Path(name), photo.pixels
    if kind == "PNG":
        path.write_bytes(_with_metadata(_needs("imagecodecs", path).png_encode(pixels, level=4), photo))
        return
    _needs("tifffile", path).imwrite(
        path,
        pixels,
        photometric="minisblack" if pixels.shape[2] == 2 else "rgb",
        planarconfig="contig",
        extrasamples=None if photo.alpha is None else ["unassalpha"],
        compression="zlib",
        predictor=True,
        iccprofile=photo.icc,
        metadata=None,
        software=False,
        **({"resolution": photo.dpi, "resolutionunit": "INCH"} if photo.dpi else {}),
    )


def _with_metadata(png: bytes, photo: Photo) -> bytes:
    """The same PNG with the chunks iCCP, pHYs and eXIf behind its header, where readers look first."""
    start = PNG_SIGNATURE + PNG_HEADER
    chunks = b""
    if photo.icc:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(photo.icc))
    if photo.dpi:
        chunks += _chunk(b"pHYs", struct.pack(">IIB", *(round(n / 0.0254) for n in photo.dpi), 1))  # per metre
    if photo.exif:
        chunks += _chunk(b"eXIf", photo.exif.removeprefix(b"Exif\0\0"))
    return png[:start] + chunks + png[start:]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _needs(library: str, path: Path) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError:
        raise ConfigError(
            f'{path}: colour of 16 bits a channel needs {library}: pip install "dlkit[deep]", or convert to 8 bits'
        ) from None
