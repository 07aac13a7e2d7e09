"""Files with bytes changed, cut or doubled: an error in one line or a whole result, never a crash or half a file."""

import io

import numpy as np
import pytest
from PIL import Image

from dlkit.errors import DlkitError
from dlkit.inpaint import photo as photos
from dlkit.inpaint.file import Settings, inpaint_file
from dlkit.inpaint.photo import Photo

EXTENSIONS = ("png", "jpg", "tif", "webp", "bmp", "deep.png", "deep.tif", "palette.png")


def whole_files(folder, rng):
    """extension -> bytes of a valid photo"""
    pixels = (rng.random((24, 32, 3)) * 255).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    files = {}
    for extension in EXTENSIONS:
        path = folder / f"whole.{extension}"
        if extension.startswith("deep"):
            photos.write(path, Photo(pixels.astype(np.uint16) * 257, exif=exif.tobytes(), dpi=(300, 300)))
        elif extension.startswith("palette"):
            Image.fromarray(pixels).quantize(20).save(path)
        else:
            Image.fromarray(pixels).save(path, **({} if extension == "bmp" else {"exif": exif.tobytes()}))
        files[extension] = path.read_bytes()
    return files


def mutated(data, rng):
    """A few bytes set, bits flipped, a piece cut out, doubled or the end missing."""
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        where = int(rng.integers(0, min(len(data), 400))) if rng.random() < 0.7 else int(rng.integers(0, len(data)))
        kind = int(rng.integers(0, 5))
        if kind == 0:
            data[where] = int(rng.integers(0, 256))
        elif kind == 1:
            data[where] ^= 1 << int(rng.integers(0, 8))
        elif kind == 2:
            del data[where : where + int(rng.integers(1, 30))]
        elif kind == 3:
            data[where:where] = data[where : where + int(rng.integers(1, 30))]
        else:
            del data[max(where, 8) :]
        data = data or bytearray(1)
    return bytes(data)


def message(image, mask, output):
    """What is said against these files; None if they were taken."""
    try:
        inpaint_file(image, mask, output, Settings(method="harmonic", resize_mask=True))
    except DlkitError as error:
        return str(error)
    return None


def survive(tmp_path, rng, count):
    """Fills `count` mutated pairs of image and mask; returns how many came through."""
    files = whole_files(tmp_path, rng)
    mask = np.zeros((24, 32), np.uint8)
    mask[5:12, 6:20] = 255
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    filled = 0
    for i in range(count):
        extension = EXTENSIONS[i % len(EXTENSIONS)]
        broken_mask = i % 4 == 3
        image_path, mask_path = tmp_path / f"in.{extension}", tmp_path / "mask.png"
        image_path.write_bytes(files[extension] if broken_mask else mutated(files[extension], rng))
        mask_path.write_bytes(mutated(buffer.getvalue(), rng) if broken_mask else buffer.getvalue())
        output = tmp_path / "out.png"
        output.unlink(missing_ok=True)
        said = message(image_path, mask_path, output)
        if said is not None:
            assert len(said.splitlines()) == 1, said
            assert not output.exists()
        else:
            filled += 1
            with Image.open(output) as image:
                image.load()
        assert not list(tmp_path.glob(".dlkit*"))
    return filled


def test_fifty_mutated_files(tmp_path, rng):
    assert 3 <= survive(tmp_path, rng, 50) <= 47


@pytest.mark.slow
def test_five_hundred_mutated_files(tmp_path):
    assert 30 <= survive(tmp_path, np.random.default_rng(1), 500) <= 470
