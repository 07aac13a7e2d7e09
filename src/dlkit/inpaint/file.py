"""One filling, files in, files out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.errors import ConfigError, ShapeError
from dlkit.inpaint import mask as masks
from dlkit.inpaint import photo as photos
from dlkit.inpaint.photo import Photo
from dlkit.inpaint.run import inpaint

ALPHA = "alpha"  # for a mask: the transparent part of the image itself
PREVIEW_SIDE = 1600  # pixels: a preview is for looking at


@dataclass(frozen=True)
class Settings:
    """How masks are read and holes filled; what `dlkit inpaint` offers."""

    method: str = "auto"
    quality: str = "normal"
    seed: int = 0
    iterations: int | None = None
    weights: str | None = None
    device: str = "cpu"
    threads: int = 0
    timeout: float | None = None
    invert_mask: bool = False
    resize_mask: bool = False
    grow: int = 0
    feather: int = 0

    def filling(self) -> dict[str, Any]:
        """The keyword arguments of `inpaint`."""
        own = ("invert_mask", "resize_mask", "grow")
        return {name: value for name, value in asdict(self).items() if name not in own}


@dataclass(frozen=True)
class Report:
    method: str
    reason: str
    seconds: float
    hole_fraction: float
    output: str
    finished: bool = True
    notes: list[str] = field(default_factory=list)


def inpaint_file(
    image: Path,
    mask: Path | str,
    output: Path | None = None,
    settings: Settings | None = None,
    *,
    preview: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> Report:
    """Fills the masked part of an image file; writes `<name>.inpainted.png` beside it, or `output`.

    mask : an image file, or "alpha" for the transparent part of the image, which becomes opaque
    preview : also write before, mask and after side by side

    Raises : DataError for files that cannot be used, ConfigError or ShapeError for a wrong call, OutputError.
    """
    settings = settings or Settings()
    if mask != ALPHA:
        mask = Path(mask)
        if mask.resolve() == image.resolve():
            raise ConfigError(f"{mask}: is the image itself; give an image that is white where it is to be filled")
    output = output or beside(image)
    photo = photos.read(image)
    photos.check_output(output, photo)
    keep_apart([image, *([mask] if isinstance(mask, Path) else [])], [output, *([preview] if preview else [])])
    if preview:
        photos.check_output(preview, Photo(np.empty((1, 1, 3), np.uint8)))
    hole = hole_for(photo, mask, image, settings)
    result = inpaint(photo.pixels, hole, progress=progress, **settings.filling())
    before, photo.pixels = photo.pixels, result.image
    if mask == ALPHA and photo.alpha is not None:
        photo.alpha[hole] = np.iinfo(photo.pixels.dtype).max
    photos.write(output, photo)
    if preview:
        photos.write(preview, Photo(side_by_side(before, hole, photo.pixels)))
    notes = photo.notes + lost_in(output, photo)
    return Report(
        result.method, result.reason, result.seconds, result.hole_fraction, str(output), result.finished, notes
    )


def beside(image: Path) -> Path:
    """Where the result goes when nobody says: img.jpg -> img.inpainted.png, whose pixels outside the mask are exact."""
    return image.with_name(image.stem + ".inpainted.png")


def keep_apart(inputs: list[Path], outputs: list[Path]) -> None:
    """Raises ConfigError if a file that is read would be overwritten, or two results written to one place."""
    for i, output in enumerate(outputs):
        for other in [*inputs, *outputs[:i]]:
            if output.resolve() == other.resolve():
                raise ConfigError(f"{output}: would overwrite {other}; write to another file")


def hole_for(photo: Photo, mask: Path | str, image: Path, settings: Settings) -> np.ndarray:
    """bool [H, W]: what is to be filled."""
    if isinstance(mask, Path):
        values, where = photos.read_mask(mask), str(mask)
    elif photo.alpha is None:
        raise ConfigError(f"{image}: has no transparent part, so --mask alpha selects nothing; give a mask image")
    else:
        full = np.iinfo(photo.pixels.dtype).max
        values, where = (255 - photo.alpha * 255.0 / full).astype(np.uint8), f"alpha of {image}"
    shape = photo.pixels.shape[:2]
    if values.shape != shape:
        if not settings.resize_mask:
            raise ShapeError(
                f"{where}: the mask is {values.shape[1]}×{values.shape[0]}, the image {shape[1]}×{shape[0]};"
                " give a mask of the same size, or --resize-mask"
            )
        values = masks.resize(values, shape)
    return masks.grow(masks.hole_of(values, settings.invert_mask), settings.grow)


def lost_in(output: Path, photo: Photo) -> list[str]:
    """What the format of the output does not keep."""
    kind = photos.WRITERS[output.suffix.lower()]
    if kind == "JPEG":
        return ["JPEG encodes every pixel anew, also those outside the mask; PNG keeps them exactly"]
    if kind == "BMP" and (photo.icc or photo.exif):
        return ["BMP keeps no colour profile and no EXIF data"]
    if kind == "WEBP" and photo.dpi:
        return ["WebP keeps no resolution"]
    if kind == "TIFF" and photo.exif and photo.pixels.dtype == np.uint16 and photo.pixels.ndim == 3:
        return ["16-bit colour TIFF is written without EXIF data"]
    return []


def side_by_side(before: np.ndarray, hole: np.ndarray, after: np.ndarray) -> np.ndarray:
    """uint8 [H, 3 W + gaps, 3]: the image, the same with its hole in white on black, the result; shrunk if large."""
    step = -(-max(hole.shape) // PREVIEW_SIDE)
    shown = [_eight_bit_rgb(x[::step, ::step]) for x in (before, hole.astype(np.uint8) * 255, after)]
    gap = np.full((shown[0].shape[0], 8, 3), 128, np.uint8)
    return np.concatenate([shown[0], gap, shown[1], gap, shown[2]], axis=1)


def _eight_bit_rgb(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3]
