"""Decoding and converting pictures with Pillow, which is imported only when a picture is met."""

from __future__ import annotations

import io
import os

import numpy as np

from ..errors import ConfigError, DataError

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".pbm", ".pnm", ".tif", ".tiff", ".webp")
)
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 100_000_000
MAX_SIDE = 20_000
ROTATED = (5, 6, 7, 8)  # EXIF orientations that swap height and width
EXIF_ORIENTATION = 0x0112
WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
GREY_MODES = ("1", "L", "LA", *WIDE_MODES)


def check_size(image_size: tuple[int, int] | None) -> tuple[int, int] | None:
    """`image_size` as (height, width), or ConfigError."""
    if image_size is None:
        return None
    try:
        height, width = (int(side) for side in image_size)
        whole = (height, width) == tuple(image_size)
        fits = whole and min(height, width) >= 1 and max(height, width) <= MAX_SIDE
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ConfigError(f"image_size is {image_size!r}; give (height, width), whole numbers in 1..{MAX_SIDE}")
    return height, width


def empty_cache(count: int, shape: tuple[int, ...]) -> np.ndarray:
    """uint8[count, *shape], untouched memory; DataError if this machine has not that much."""
    size = count * int(np.prod(shape, dtype=object))
    sides = "×".join(map(str, shape))
    advice = f"{count} images of {sides} need {size / 2**30:.1f} GiB; give a smaller image_size"
    try:
        have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on this system
        have = size
    if size > have:
        raise DataError(f"{advice} (this machine has {have / 2**30:.1f} GiB)")
    try:
        return np.empty((count, *shape), np.uint8)
    except MemoryError:
        raise DataError(advice) from None


def probe(data: bytes, where: str) -> tuple[int, int, int]:
    """(H, W, C) of an encoded image from its header, as it will stand after the EXIF rotation."""
    try:
        with _opened(data, where) as image:
            width, height = image.size
            if image.getexif().get(EXIF_ORIENTATION) in ROTATED:
                width, height = height, width
            return height, width, 1 if image.mode in GREY_MODES else 3
    except DataError:
        raise
    except Exception as error:
        raise _broken(where, error) from None


def decode(data: bytes, shape: tuple[int, ...], where: str) -> tuple[np.ndarray, bool, bool]:
    """(uint8[H,W,C], was it resized, was its mode converted); DataError naming `where` if it is broken.

    Transparency is dropped, not blended; 16-bit grey becomes 8-bit by its high byte.
    """
    from PIL import Image, ImageOps

    height, width, channels = shape
    mode = "L" if channels == 1 else "RGB"
    try:
        with _opened(data, where) as image:
            converted = image.mode != mode
            # A JPEG can be decoded at 1/2, 1/4 or 1/8 for little; twice the target keeps the resize clean.
            image.draft(None, (2 * max(height, width),) * 2)
            turned = ImageOps.exif_transpose(image)
            picture = _to_mode(turned, mode)
            resized = picture.size != (width, height)
            if resized:
                picture = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
            return np.asarray(picture, np.uint8).reshape(shape), resized, converted
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{where}: there is no memory left to decode this image; make it smaller") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on broken input
        raise _broken(where, error) from None


def fit(array: np.ndarray, image_size: tuple[int, int] | None, grey: bool | None) -> np.ndarray:
    """uint8 [N,H,W,C] images resized and turned grey or RGB as asked; `array` itself if nothing changes."""
    from PIL import Image

    count, height, width, channels = array.shape
    wanted = (*(image_size or (height, width)), channels if grey is None else 1 if grey else 3)
    if wanted == (height, width, channels):
        return array
    result = empty_cache(count, wanted)
    for i, pixels in enumerate(array):
        picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        picture = picture.convert("L" if wanted[2] == 1 else "RGB")
        if wanted[:2] != (height, width):
            picture = picture.resize(wanted[1::-1], Image.Resampling.BILINEAR)
        result[i] = np.asarray(picture).reshape(wanted)
    return result


def _opened(data: bytes, where: str):
    """The Pillow image, its header read and its size found bearable."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _bomb(where, "far too many") from None
    width, height = image.size
    # Above its own limit Pillow only warns; one rule for all such images is easier to understand.
    if width * height > min(MAX_PIXELS, Image.MAX_IMAGE_PIXELS or MAX_PIXELS):
        image.close()
        raise _bomb(where, f"{width}×{height}")
    return image


def _to_mode(image, mode: str):
    if image.mode in WIDE_MODES:
        image = _eight_bits(image)
    elif image.mode == "P":
        image = image.convert("RGBA")  # a palette may hold transparency, on which Pillow warns otherwise
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image):
    from PIL import Image

    values = np.asarray(image)
    if image.mode == "F":
        values = np.nan_to_num(values)
        values = values * 255 if values.size and values.max() <= 1 else values
        return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    return Image.fromarray((np.clip(values, 0, 65535).astype(np.uint16) >> 8).astype(np.uint8))


def _bomb(where: str, size: str) -> DataError:
    return DataError(
        f"{where}: this image has {size} pixels, more than {MAX_PIXELS // 10**6} megapixels are"
        " refused; make it smaller or remove it"
    )


def _broken(where: str, error: Exception) -> DataError:
    reason = "no known image format" if type(error).__name__ == "UnidentifiedImageError" else str(error)
    reason = " ".join(reason.split()) or type(error).__name__
    return DataError(f"{where}: not a readable image ({reason}); replace or remove this file")
