"""Files in, files out: every kind of photo keeps what it has, bit for bit outside the hole."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from dlkit.errors import ConfigError, DataError
from dlkit.inpaint import photo as photos
from dlkit.inpaint.file import Settings, inpaint_file, lost_in
from dlkit.inpaint.photo import Photo

QUICK = Settings(method="harmonic")
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = ("png", "tif", "webp", "bmp")


def exif(orientation=1):
    data = Image.Exif()
    data[0x010F], data[0x0112], data[0x9003] = "maker", orientation, "2001:02:03 04:05:06"
    return data


def opened(path):
    with Image.open(path) as image:
        image.load()
    return image


@pytest.mark.parametrize("extension", LOSSLESS)
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_pixels_outside_the_hole_are_the_same_bits(tmp_path, photo_of, mask_of, mode, extension):
    pixels = photo_of(tmp_path / "in.png", mode)
    hole = mask_of(tmp_path / "mask.png")
    output = tmp_path / f"out.{extension}"
    deep, alpha = mode == "I;16", mode in ("LA", "RGBA")
    if (deep and extension in ("webp", "bmp")) or (alpha and extension == "bmp"):
        with pytest.raises(ConfigError, match=r"has 16; write \.png|transparency; write \.png"):
            inpaint_file(tmp_path / "in.png", tmp_path / "mask.png", output, QUICK)
        assert not output.exists()
        return
    report = inpaint_file(tmp_path / "in.png", tmp_path / "mask.png", output, QUICK)
    with Image.open(output) as image:
        if extension != "webp":  # which knows RGB and RGBA only
            assert image.mode == mode
        written = np.asarray(image if extension != "webp" else image.convert("RGBA" if alpha else mode))
    if mode == "LA" and extension == "webp":
        written = written[..., [0, 3]]
    np.testing.assert_array_equal(written[~hole], pixels[~hole])
    if alpha:
        np.testing.assert_array_equal(written[..., -1], pixels[..., -1])
    assert (written[hole] != pixels[hole]).any()
    assert report.hole_fraction == pytest.approx(hole.mean())


@pytest.mark.parametrize(("extension", "channels"), [("png", 2), ("png", 3), ("png", 4), ("tif", 3), ("tif", 4)])
def test_sixteen_bit_colour(tmp_path, mask_of, rng, extension, channels):
    pixels = rng.integers(0, 65536, (24, 32, channels)).astype(np.uint16)
    source, output = tmp_path / f"in.{extension}", tmp_path / f"out.{extension}"
    photos.write(source, Photo(pixels, icc=ICC, exif=exif().tobytes(), dpi=(300, 300)))
    read = photos.read(source)
    assert read.pixels.dtype == np.uint16
    np.testing.assert_array_equal(read.pixels, pixels)
    assert read.icc == ICC
    hole = mask_of(tmp_path / "mask.png")
    report = inpaint_file(source, tmp_path / "mask.png", output, QUICK)
    assert not report.notes
    written = photos.read(output)
    np.testing.assert_array_equal(written.pixels[~hole], pixels[~hole])
    assert len(np.unique(written.pixels[hole][:, 0] & 0xFF)) > 10  # not 8 bits in disguise
    assert written.icc == ICC
    assert written.dpi == pytest.approx((300, 300), abs=0.01)
    if extension == "png":
        assert opened(output).getexif()[0x010F] == "maker"


def test_sixteen_bit_colour_tiff_says_that_it_loses_exif(tmp_path, mask_of, rng):
    photos.write(
        tmp_path / "in.png", Photo(rng.integers(0, 65536, (24, 32, 3)).astype(np.uint16), exif=exif().tobytes())
    )
    mask_of(tmp_path / "mask.png")
    report = inpaint_file(tmp_path / "in.png", tmp_path / "mask.png", tmp_path / "out.tif", QUICK)
    assert report.notes == ["16-bit colour TIFF is written without EXIF data"]


def test_sixteen_bits_without_the_libraries_says_what_to_install(tmp_path, monkeypatch, rng):
    photos.write(tmp_path / "in.png", Photo(rng.integers(0, 65536, (4, 5, 3)).astype(np.uint16)))
    monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
    with pytest.raises(ConfigError, match=r'in.png: .*pip install "dlkit\[deep\]"'):
        photos.read(tmp_path / "in.png")


def test_palette_and_colour_key_become_colours(tmp_path, photo_of, mask_of):
    photo_of(tmp_path / "rgb.png")
    hole = mask_of(tmp_path / "mask.png")
    with Image.open(tmp_path / "rgb.png") as image:
        image.quantize(16).save(tmp_path / "p.png")
        image.quantize(16).save(tmp_path / "key.png", transparency=0)
    report = inpaint_file(tmp_path / "p.png", tmp_path / "mask.png", tmp_path / "out.png", QUICK)
    expected = np.asarray(opened(tmp_path / "p.png").convert("RGB"))
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "out.png"))[~hole], expected[~hole])
    assert "palette" in report.notes[0]
    inpaint_file(tmp_path / "key.png", tmp_path / "mask.png", tmp_path / "out2.png", QUICK)
    expected = np.asarray(opened(tmp_path / "key.png").convert("RGBA"))
    assert (expected[..., 3] == 0).any()
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "out2.png"))[~hole], expected[~hole])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["png", "tif"])
def test_orientation_is_applied_and_the_rest_of_exif_kept(tmp_path, photo_of, mask_of, orientation, extension):
    from PIL import ImageOps

    source = tmp_path / f"in.{extension}"
    photo_of(source, exif=exif(orientation), icc_profile=ICC, dpi=(300, 300))
    with Image.open(source) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    hole = mask_of(tmp_path / "mask.png", upright.shape[:2])
    inpaint_file(source, tmp_path / "mask.png", tmp_path / "out.png", QUICK)
    with Image.open(tmp_path / "out.png") as written:
        np.testing.assert_array_equal(np.asarray(written)[~hole], upright[~hole])
        assert written.getexif().get(0x0112, 1) == 1
        assert written.getexif()[0x010F] == "maker"
        assert written.info["icc_profile"] == ICC
        assert written.info["dpi"] == pytest.approx((300, 300), abs=0.01)


def test_jpeg_is_written_as_it_was_quantised_and_says_what_that_means(tmp_path, photo_of, mask_of):
    photo_of(tmp_path / "in.jpg", quality=60, subsampling=2, icc_profile=ICC, exif=exif())
    mask_of(tmp_path / "mask.png")
    report = inpaint_file(tmp_path / "in.jpg", tmp_path / "mask.png", tmp_path / "out.jpg", QUICK)
    with Image.open(tmp_path / "in.jpg") as before, Image.open(tmp_path / "out.jpg") as after:
        assert after.format == "JPEG"
        assert after.quantization == before.quantization
        assert after.info["icc_profile"] == ICC
        assert after.getexif()[0x010F] == "maker"
    assert "every pixel anew" in report.notes[0]
    photo_of(tmp_path / "in.png")
    inpaint_file(tmp_path / "in.png", tmp_path / "mask.png", tmp_path / "fine.jpg", QUICK)
    with Image.open(tmp_path / "fine.jpg") as fine:
        assert max(fine.quantization[0]) <= 12  # quality 95


def test_jpeg_in_png_out_keeps_the_decoded_pixels(tmp_path, photo_of, mask_of):
    photo_of(tmp_path / "in.jpg", quality=80)
    hole = mask_of(tmp_path / "mask.png")
    report = inpaint_file(tmp_path / "in.jpg", tmp_path / "mask.png", None, QUICK)
    assert report.output == str(tmp_path / "in.inpainted.png")
    decoded = np.asarray(opened(tmp_path / "in.jpg"))
    np.testing.assert_array_equal(np.asarray(opened(report.output))[~hole], decoded[~hole])
    assert not report.notes


def test_a_jpeg_with_a_second_view_behind_it_is_a_photo(tmp_path, photo_of, mask_of):
    photo_of(tmp_path / "one.png")
    mask_of(tmp_path / "mask.png")
    with Image.open(tmp_path / "one.png") as image:
        image.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[image])
    inpaint_file(tmp_path / "phone.jpg", tmp_path / "mask.png", tmp_path / "out.jpg", QUICK)
    assert opened(tmp_path / "out.jpg").n_frames == 1 if hasattr(opened(tmp_path / "out.jpg"), "n_frames") else True


def test_broken_exif_is_left_out_and_said(tmp_path, photo_of, mask_of, monkeypatch):
    exif_bytes = exif().tobytes()
    monkeypatch.setattr(Image.Exif, "tobytes", lambda self, offset=8: 1 / 0)
    photo_of(tmp_path / "in.png", exif=exif_bytes)
    mask_of(tmp_path / "mask.png")
    report = inpaint_file(tmp_path / "in.png", tmp_path / "mask.png", None, QUICK)
    assert "EXIF data is broken" in report.notes[0]
    assert not opened(report.output).getexif()


@pytest.mark.parametrize("mode", ["CMYK", "F", "I"])
def test_other_pixels_are_refused_by_name(tmp_path, mode):
    Image.new(mode, (8, 8)).save(tmp_path / "in.tif")
    with pytest.raises(DataError, match=f"in.tif: its pixels are {mode}; expected grey or RGB"):
        photos.read(tmp_path / "in.tif")


def test_animations_pages_and_halves_are_refused(tmp_path, photo_of):
    photo_of(tmp_path / "one.png", size=(64, 64))
    with Image.open(tmp_path / "one.png") as image:
        other = image.rotate(90)
        for name in ("a.gif", "a.webp", "a.tif", "a.png"):
            image.save(tmp_path / name, save_all=True, append_images=[other, image])
            with pytest.raises(DataError, match=f"{name}: holds [23] pictures"):
                photos.read(tmp_path / name)
        for name in ("half.jpg", "half.png", "half.tif", "half.webp", "half.bmp"):
            image.save(tmp_path / name)
            data = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(data[: len(data) // 2])
            with pytest.raises(DataError, match=f"{name}: not a readable image"):
                photos.read(tmp_path / name)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    def png(width, height):
        header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return (
            b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
            + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
        )  # fmt: skip

    for width, height, said in ((60_000, 60_000, "far too many"), (13_000, 13_000, "13000×13000")):
        (tmp_path / "bomb.png").write_bytes(png(width, height))
        with pytest.raises(DataError, match=f"bomb.png: has {said} pixels, more than 160 megapixels"):
            photos.read(tmp_path / "bomb.png")


def test_an_unfinished_write_leaves_the_old_file(tmp_path, photo_of, mask_of, monkeypatch):
    photo_of(tmp_path / "in.png")
    mask_of(tmp_path / "mask.png")
    (tmp_path / "out.png").write_bytes(b"old")

    def full(self, name, **options):
        Path(name).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    from dlkit.train.files import OutputError

    with pytest.raises(OutputError, match="No space left"):
        inpaint_file(tmp_path / "in.png", tmp_path / "mask.png", tmp_path / "out.png", QUICK)
    assert (tmp_path / "out.png").read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.png", "mask.png", "out.png"]


def test_sixteen_bits_whose_zero_is_white(tmp_path):
    import tifffile

    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    for name, kind, dtype in (("deep.tif", "miniswhite", np.uint16), ("flat.tif", "miniswhite", np.uint8)):
        tifffile.imwrite(tmp_path / name, values.astype(dtype), photometric=kind)
        full = np.iinfo(dtype).max
        np.testing.assert_array_equal(photos.read(tmp_path / name).pixels, full - values.astype(dtype))


def test_what_would_be_read_wrongly_is_refused(tmp_path):
    import tifffile

    pixels = np.full((8, 8, 4), 20000, np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["assocalpha"])
    with pytest.raises(DataError, match="multiplied by their opacity"):
        photos.read(tmp_path / "a.tif")
    with pytest.raises(ConfigError, match=r"16-bit grey with transparency"):
        photos.check_output(tmp_path / "b.tif", Photo(pixels[..., :2]))
    photos.check_output(tmp_path / "b.png", Photo(pixels[..., :2]))


def test_what_is_lost_is_said(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "key.png", transparency=0)
    assert "its transparent grey is left out" in photos.read(tmp_path / "key.png").notes
    assert lost_in(tmp_path / "o.webp", Photo(np.zeros((4, 4, 3), np.uint8), dpi=(300.0, 300.0))) == [
        "WebP keeps no resolution"
    ]
