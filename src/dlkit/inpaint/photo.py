"""Photos from and to files, without losing what a file holds: depth, alpha, colour profile, EXIF.

Pillow reads and writes everything but colour of 16 bits a channel, which it cuts to 8: that goes through
imagecodecs (PNG) and tifffile (TIFF), the extra `dlkit[deep]`.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.data.images import EXIF_ORIENTATION, FORMATS
from dlkit.errors import ConfigError, DataError
from dlkit.inpaint import deep
from dlkit.train.files import OutputError, save_atomically

MAX_PIXELS = 160_000_000  # the largest cameras have 151 megapixels; above 179 Pillow refuses by itself
WRITERS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
}
MAX_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
HOLDS = {  # what a format can hold: bits, and whether grey and colour may have alpha
    "PNG": (16, True, True),
    "TIFF": (16, True, True),
    "WEBP": (8, True, True),
    "BMP": (8, False, False),
    "JPEG": (8, False, False),
}
EXACTLY: dict[str, dict[str, Any]] = {  # how a format keeps every pixel
    "PNG": {"compress_level": 4},
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "WEBP": {"lossless": True, "exact": True, "method": 2},
    "BMP": {},
}
JPEG: dict[str, Any] = {"quality": 95, "subsampling": 0}  # where the source was no JPEG
PHOTOMETRIC = 262  # of a TIFF; 0: white is 0
# Tags that say how one TIFF file is laid out; nothing in them is about the photo.
LAYOUT_TAGS = {
    254,
    255,
    256,
    257,
    258,
    259,
    262,
    263,
    264,
    265,
    266,
    273,
    277,
    278,
    279,
    282,
    283,
    284,
    296,
    301,
    317,
    318,
    319,
    320,
}
LAYOUT_TAGS |= {322, 323, 324, 325, 330, 332, 338, 339, 347, 512, 513, 514, 529, 530, 531, 532, 700, 34675}


@dataclass
class Photo:
    """pixels : uint8 or uint16, [H, W] grey or [H, W, C], C = 2 grey and alpha, 3 RGB, 4 RGBA; upright
    format : Pillow's name of the file's format        icc, exif : as stored, EXIF without the orientation
    jpeg : how a JPEG was quantised, to write another one alike        notes : what a user should know"""

    pixels: np.ndarray
    format: str = "PNG"
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    jpeg: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def alpha(self) -> np.ndarray | None:
        """[H, W], a view; None without transparency"""
        return self.pixels[..., -1] if self.pixels.ndim == 3 and self.pixels.shape[2] in (2, 4) else None


# -- reading ---------------------------------------------------------------------------------------


def read(path: Path) -> Photo:
    """The photo in a file.  Raises : DataError naming the file if it is broken, animated, too large or of no use here."""
    data = content(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on broken metadata, of which `notes` says more
        try:
            with _opened(data, path) as image:
                return _photo(image, data, path)
        except (DataError, ConfigError):
            raise
        except MemoryError:
            raise DataError(f"{path}: there is no memory left to decode this image; make it smaller") from None
        except Exception as error:  # decoders raise nearly anything on broken input
            reason = "no known image format" if type(error).__name__ == "UnidentifiedImageError" else str(error)
            reason = " ".join(reason.split()) or type(error).__name__
            raise DataError(f"{path}: not a readable image ({reason}); replace this file") from None


def read_mask(path: Path) -> np.ndarray:
    """uint8 [H, W]: the brightness of a mask image, times its opacity where it has alpha."""
    pixels = read(path).pixels
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 2:
        return pixels
    value = pixels[..., 0] if pixels.shape[2] == 2 else _luminance(pixels)
    if pixels.shape[2] == 3:
        return value
    return (value.astype(np.uint16) * pixels[..., -1] // 255).astype(np.uint8)


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give an image file") from None


def _opened(data: bytes, path: Path) -> Any:
    from PIL import Image

    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise _too_large(path, "far too many") from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise _too_large(path, f"{width}×{height}")
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:  # MPO: a phone's JPEG with a second view behind it
        frames = image.n_frames  # type: ignore[attr-defined]
        image.close()
        raise DataError(f"{path}: holds {frames} pictures (animated, or pages); give a file with one")
    return image


def _too_large(path: Path, size: str) -> DataError:
    return DataError(f"{path}: has {size} pixels, more than {MAX_PIXELS // 10**6} megapixels; make it smaller")


def _photo(image: Any, data: bytes, path: Path) -> Photo:
    notes: list[str] = []
    orientation = image.getexif().get(EXIF_ORIENTATION, 1) if image.format != "TIFF" else 1
    if deep.is_deep(image, data):
        pixels, turn = deep.decode(data, image, path)
        orientation = turn if image.format == "TIFF" else orientation
    else:
        image.load()  # Pillow turns a TIFF upright by itself
        pixels = _pixels(image, path, notes)
    return Photo(
        upright(pixels, orientation),
        "JPEG" if image.format == "MPO" else image.format,
        image.info.get("icc_profile"),
        _exif(image, notes),
        _dpi(image),
        _quantised(image),
        notes,
    )


def _pixels(image: Any, path: Path, notes: list[str]) -> np.ndarray:
    keyed = "transparency" in image.info
    target = {
        "1": "L",
        "L": "LA" if keyed else "L",
        "La": "LA",
        "LA": "LA",
        "P": "RGBA" if keyed else "RGB",
        "PA": "RGBA",
        "RGB": "RGBA" if keyed else "RGB",
        "RGBX": "RGB",
        "RGBa": "RGBA",
        "RGBA": "RGBA",
    }.get(image.mode)
    if image.mode.startswith("I;16"):
        if keyed:
            notes.append("its transparent grey is left out")
        pixels = np.asarray(image).astype(np.uint16)
        # Pillow turns such a TIFF around where it has 8 bits, and leaves one of 16 as it is.
        white_is_zero = image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == 0
        return 65535 - pixels if white_is_zero else pixels
    if target is None:
        raise DataError(f"{path}: its pixels are {image.mode}; expected grey or RGB of 8 or 16 bits: convert it first")
    if image.mode in ("P", "PA"):
        notes.append("its palette became RGB colours")
    # np.array, not asarray: the picture's own memory is read-only and goes with it
    return np.array(image if image.mode == target else image.convert(target))


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels as the EXIF orientation (1..8) wants them seen; unknown values mean 1."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _exif(image: Any, notes: list[str]) -> bytes | None:
    try:
        exif = image.getexif()
        if not exif:
            return None
        exif.pop(EXIF_ORIENTATION, None)  # the pixels are upright now
        if image.format == "TIFF":
            for tag in LAYOUT_TAGS & set(exif):
                del exif[tag]
        return exif.tobytes() if exif else None
    except Exception:  # EXIF is written by everything and his dog; Pillow raises nearly anything on it
        notes.append("its EXIF data is broken and left out")
        return None


def _dpi(image: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(n) for n in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 <= min(x, y) <= max(x, y) <= 65_535 else None


def _quantised(image: Any) -> dict[str, Any] | None:
    from PIL import JpegImagePlugin

    if image.format not in ("JPEG", "MPO") or not image.quantization:
        return None
    sampling = JpegImagePlugin.get_sampling(image)
    return {"qtables": image.quantization, "subsampling": sampling if sampling >= 0 else 0}


def _luminance(pixels: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels[..., :3])).convert("L"))


# -- writing ---------------------------------------------------------------------------------------


def check_output(path: Path, photo: Photo) -> None:
    """Raises ConfigError or OutputError if this photo cannot be written there: said before the work, not after it."""
    kind = WRITERS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"{path}: no format with this extension is written; use one of {', '.join(WRITERS)}")
    bits, grey_alpha, colour_alpha = HOLDS[kind]
    if photo.pixels.dtype == np.uint16 and bits < 16:
        raise ConfigError(f"{path}: {kind} holds 8 bits a channel, this image has 16; write .png or .tif")
    if photo.alpha is not None and not (grey_alpha if photo.pixels.shape[2] == 2 else colour_alpha):
        raise ConfigError(f"{path}: {kind} cannot hold this image's transparency; write .png, .tif or .webp")
    if kind == "TIFF" and photo.pixels.dtype == np.uint16 and photo.alpha is not None and photo.pixels.shape[2] == 2:
        raise ConfigError(f"{path}: hardly any program reads 16-bit grey with transparency from TIFF; write .png")
    if max(photo.pixels.shape[:2]) > MAX_SIDE.get(kind, MAX_PIXELS):
        raise ConfigError(f"{path}: {kind} holds at most {MAX_SIDE[kind]} pixels a side; write .png or .tif")
    check_place(path)


def check_place(path: Path) -> None:
    """Raises OutputError unless a file can be written at `path`."""
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: its folder does not exist; create it first")
    target = path.resolve()  # a link stays, what it points to is written
    if not target.parent.is_dir():
        raise OutputError(f"{path}: points to {target}, whose folder does not exist; create it first")
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"{path}: cannot be written (no permission in {target.parent}); choose another place with -o")
    if target.exists() and not os.access(target, os.W_OK):
        raise OutputError(f"{path}: is write-protected; choose another place with -o")


def write(path: Path, photo: Photo) -> None:
    """Writes the photo in the format of the path's extension, completely or not at all.

    PNG, TIFF, BMP and WebP (lossless) keep every pixel. JPEG does not: as the source was quantised if that was a JPEG,
    else with quality 95 and full colour.
    """
    kind = WRITERS[path.suffix.lower()]
    if photo.pixels.dtype == np.uint16 and photo.pixels.ndim == 3:
        save_atomically(path, lambda name: deep.encode(name, kind, photo))
        return
    from PIL import Image

    options = dict(photo.jpeg or JPEG) if kind == "JPEG" else dict(EXACTLY[kind])
    kept = {"icc_profile": photo.icc, "exif": photo.exif, "dpi": photo.dpi} if kind != "BMP" else {"dpi": photo.dpi}
    options |= {name: value for name, value in kept.items() if value is not None}
    image = Image.fromarray(photo.pixels)
    save_atomically(path, lambda name: image.save(name, format=kind, **options))
