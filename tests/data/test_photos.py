"""Photos of any size, and holes to learn from."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from dlkit.data import ArraySource
from dlkit.data.holes import KINDS, MOST, kinds, random_hole
from dlkit.data.photos import LONGEST, SourcePhotos, open_photos, reduced
from dlkit.errors import DataError


def save(path, size, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(size)
    pixels = rng.integers(0, 256, (*size, *((3,) if mode == "RGB" else ())), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path):
    a = save(tmp_path / "in" / "a.png", (20, 30))
    b = save(tmp_path / "in" / "deep" / "er" / "b.png", (12, 8), "L")
    save(tmp_path / "in" / ".hidden" / "c.png", (5, 5))
    save(tmp_path / "in" / "__MACOSX" / "d.png", (5, 5))
    (tmp_path / "in" / "notes.txt").write_text("no photo")
    return tmp_path / "in", a, b


def test_a_folder_however_deep(folder):
    path, a, b = folder
    photos = open_photos(path)
    assert (len(photos), photos.sizes, photos.channels) == (2, [(20, 30), (12, 8)], 3)
    np.testing.assert_array_equal(photos.read(0), a)
    np.testing.assert_array_equal(photos.read(1), np.repeat(b[..., None], 3, axis=2))
    assert photos.read(0) is photos.read(0)  # decoded once
    assert photos.name(1).endswith("deep/er/b.png")


def test_grey(folder):
    path, _, b = folder
    photos = open_photos(path, grey=True)
    assert photos.read(0).shape == (20, 30, 1)
    np.testing.assert_array_equal(photos.read(1)[..., 0], b)


def test_a_zip_is_the_same(folder, tmp_path):
    path, a, _ = folder
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name in ("a.png", "deep/er/b.png", ".hidden/c.png"):
            archive.write(path / name, name)
        archive.write(path / "a.png", "../a.png")
    photos = open_photos(tmp_path / "p.zip")
    assert photos.sizes == [(20, 30), (12, 8)]
    np.testing.assert_array_equal(photos.read(0), a)


def test_large_photos_are_reduced(tmp_path):
    save(tmp_path / "large.png", (2 * LONGEST, 100))
    photos = open_photos(tmp_path)
    assert (photos.sizes, photos.reduced) == ([(LONGEST, 50)], 1)
    assert photos.read(0).shape == (LONGEST, 50, 3)
    assert reduced(LONGEST, 10) == (LONGEST, 10)
    assert reduced(10, 100 * LONGEST) == (1, LONGEST)


def test_what_no_longer_fits_into_memory_is_decoded_anew(folder, monkeypatch):
    monkeypatch.setattr("dlkit.data.photos.CACHE_BYTES", 20 * 30 * 3)
    photos = open_photos(folder[0])
    assert photos.read(0) is photos.read(0)
    assert photos.read(1) is not photos.read(1)
    np.testing.assert_array_equal(photos.read(1), photos.read(1))


def test_no_photos_and_broken_ones_are_named(tmp_path):
    with pytest.raises(DataError, match=r"holds no images; give a folder or \.zip of photos"):
        open_photos(tmp_path)
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"x\.png: not a readable image"):
        open_photos(tmp_path)
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"x\.zip: not readable as a folder or \.zip of photos"):
        open_photos(tmp_path / "x.zip")


def test_the_images_of_a_data_set(rng):
    pixels = rng.integers(0, 256, (3, 6, 7, 1)).astype(np.uint8)
    photos = SourcePhotos(ArraySource(pixels, [0, 1, 0]))
    assert (len(photos), photos.sizes[2], photos.channels) == (3, (6, 7), 1)
    np.testing.assert_array_equal(photos.read(2), pixels[2])


# -- holes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("size", [(8, 8), (32, 48), (96, 96)])
def test_holes_are_neither_nothing_nor_all_and_differ(kind, size):
    holes = [random_hole(kind, *size, np.random.default_rng(seed)) for seed in range(20)]
    for hole in holes:
        assert hole.shape == size
        assert hole.dtype == bool
        assert 0 < hole.mean() <= MOST
    assert len({hole.tobytes() for hole in holes}) > 15
    assert np.std([hole.mean() for hole in holes]) > 0.02


@pytest.mark.parametrize("kind", kinds())
def test_the_same_generator_draws_the_same_hole(kind):
    a, b = (random_hole(kind, 40, 30, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_the_kinds_are_what_they_say():
    from scipy.ndimage import distance_transform_edt

    def depth(kind):
        return np.mean(
            [distance_transform_edt(random_hole(kind, 96, 96, np.random.default_rng(s))).max() for s in range(20)]
        )

    depths = {kind: depth(kind) for kind in KINDS}
    assert depths["text"] < 4 < depths["strokes"] < depths["boxes"]
    assert depths["scattered"] < 5
