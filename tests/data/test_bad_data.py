"""Broken, hostile and untidy data: one clear DataError each, or a note."""

from __future__ import annotations

import gzip
import io
import struct
import time
import zipfile
import zlib

import h5py
import making
import numpy as np
import pytest

from dlkit.data import load
from dlkit.errors import DataError

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"
HUGE = struct.pack(">4I", 0x803, *[2**32 - 1] * 3)
TEN = np.arange(30, dtype=np.uint8) % 10
WILD = np.where(TEN == 3, 193, TEN).astype(np.uint8)


def refused(path, match, **options):
    with pytest.raises(DataError, match=match) as caught:
        load(path, **options)
    assert "\n" not in str(caught.value)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("file", "change", "match"),
    [
        (IMAGES, cut, "not readable as an idx file"),
        (IMAGES, lambda d: b"", "begins with nothing"),
        (IMAGES, lambda d: d[:-4] + b"\0\0\0\0", "not readable as an idx file"),
        (IMAGES, lambda d: gzip.compress(b"\0\0\x0d\x03" + bytes(12)), "begins with 00000d03"),
        (IMAGES, lambda d: gzip.compress(gzip.decompress(d)[:-1]), "holds 899"),
        (IMAGES, lambda d: gzip.compress(gzip.decompress(d) + b"x"), "holds more"),
        (IMAGES, lambda d: gzip.compress(HUGE), "far more than it holds"),
        (IMAGES, lambda d: gzip.compress(b"\0\0\x08\x03\0\0"), "ends inside its header"),
        (LABELS, lambda d: gzip.compress(making.idx_bytes(TEN[:-1])), "30 images but 29 labels"),
        (LABELS, lambda d: gzip.compress(making.idx_bytes(WILD)), "label 193 is out of range"),
        (TEST_LABELS, lambda d: gzip.compress(making.idx_bytes(TEN[:10] + 5)), "out of range"),
    ],
)
def test_idx(tmp_path, file, change, match):
    making.write_mnist(tmp_path)
    path = tmp_path / file
    path.write_bytes(change(path.read_bytes()))
    refused(tmp_path, match)


def test_idx_partner_missing(tmp_path):
    making.write_mnist(tmp_path)
    (tmp_path / LABELS).unlink()
    refused(tmp_path, "train-labels")
    refused(tmp_path / IMAGES, "labels file beside it")
    refused(tmp_path / "t10k-labels-idx1-ubyte.gz", "give the images file")


def test_mnist_by_name_has_ten_classes_only(tmp_path, monkeypatch):
    monkeypatch.setenv("DLKIT_DATA_DIR", str(tmp_path))
    making.write_mnist(tmp_path / "mnist")
    (tmp_path / "mnist" / LABELS).write_bytes(gzip.compress(making.idx_bytes(TEN + 1)))
    refused("mnist", r"label 10 is out of range 0\.\.9")


def test_truncated_png(tmp_path):
    noise = making.image_bytes(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8))
    making.write_tree(tmp_path, {"a/1.png": noise, "a/2.png": cut(noise), "b/1.png": noise, "b/2.png": noise})
    data = load(tmp_path, test_split=0)
    with pytest.raises(DataError, match=r"a/2\.png: not a readable image"):
        data.train.read([0, 1])
    (tmp_path / "a/1.png").write_bytes(b"")
    refused(tmp_path, r"a/1\.png: not a readable image")


def test_decompression_bomb_first(tmp_path):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    for side in (9_900, 10_001, 60_000):
        header = struct.pack(">2I5B", side, side, 8, 0, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        bomb = b"\x89PNG\r\n\x1a\n" + body
        making.write_tree(tmp_path, {"a/1.png": bomb, "b/1.png": making.grey()})
        refused(tmp_path, r"a/1\.png.*megapixels")


@pytest.mark.parametrize("zipped", [True, False])
def test_empty_class_folder(tmp_path, zipped):
    making.write_tree(tmp_path / "s", {"train/a/1.png": making.grey(), "train/b/1.png": making.grey()})
    (tmp_path / "s/train/nobody").mkdir()
    if not zipped:
        refused(tmp_path / "s", "train/nobody: this class folder holds no images")
        return
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for path in sorted((tmp_path / "s").rglob("*")):
            archive.write(path, path.relative_to(tmp_path))
    refused(tmp_path / "s.zip", "train/nobody: this class folder holds no images")


def test_folder_layouts_that_cannot_be(tmp_path):
    png = making.grey()
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no images")
    refused(making.write_tree(tmp_path / "flat", {"1.png": png}), "has no class folders")
    refused(making.write_tree(tmp_path / "t", {"test/a/1.png": png, "val/a/1.png": png}), "no train folder")
    more = {"train/a/1.png": png, "test/a/1.png": png, "test/b/1.png": png}
    refused(making.write_tree(tmp_path / "m", more), "test class 'b'")
    refused(making.write_tree(tmp_path / "f", {"train/1.png": png}), "train: has no class folders")


def test_mixed_sizes_modes_and_strays_are_noted(tmp_path):
    files = {
        "a/1.png": making.rgb(9),
        "a/2.png": making.rgb(9, (8, 8)),
        "b/1.png": making.grey(9),
        "b/2.png": making.rgb(9),
        ".DS_Store": b"",
        "a/Thumbs.db": b"",
        "notes.txt": b"",
    }
    data = load(making.write_tree(tmp_path / "s", files), test_split=0)
    assert (data.train.read(np.arange(4)) == 9).all()
    assert any(note.startswith("ignored 3 stray files") for note in data.remarks())
    assert "1 image was resized to 4×5" in data.remarks()
    assert "1 image was converted to RGB" in data.remarks()


def test_broken_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a/1.png", making.grey())
        archive.writestr("b/1.png", making.grey())
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(cut(whole))
    refused(tmp_path / "cut.zip", "not readable as class folders")
    at = whole.index(b"IDAT") + 6
    (tmp_path / "bit.zip").write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    with pytest.raises(DataError, match=r"bit\.zip: a/1\.png.*CRC"):
        load(tmp_path / "bit.zip").train.read([0])


def test_hdf5(tmp_path):
    with h5py.File(tmp_path / "train_a.h5", "w") as file:
        file["train_set_x"] = np.zeros((50, 8, 8, 3), np.uint8)
        file["train_set_y"] = np.arange(50) % 2
    path = tmp_path / "train_a.h5"
    whole = path.read_bytes()
    path.write_bytes(cut(whole))
    refused(path, "not readable as an HDF5 file")
    with h5py.File(path, "w") as file:
        file["other"] = [1]
    refused(path, "no data set 'train_set_x'")
    with h5py.File(path, "w") as file:
        file.create_dataset("train_set_x", (10**6, 1000, 1000, 3), np.uint8, chunks=(1, 100, 100, 3))
        file["train_set_y"] = [1]
    refused(path, "far more than it stores")


def npz_with_header(path, header: str, body: bytes):
    head = header.encode() + b"\n"
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + body
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", member)


def test_npz(tmp_path):
    path = tmp_path / "a.npz"
    x, y = np.zeros((4, 3, 3), np.uint8), np.arange(4)
    for arrays, match in (
        ({"x": x}, "without its labels"),
        ({"a": x}, "x_train and y_train"),
        ({"x": x, "y": y[:3]}, "4 examples but 'y' 3"),
        ({"x": x, "y": y - 1}, "label -1 is out of range"),
        ({"x": x, "y": y + 0.5}, "whole numbers or strings"),
        ({"x": x, "y": np.eye(4)}, "argmax"),
        ({"x": x * np.nan, "y": y}, "NaN or infinity"),
        ({"x": x + 300.0, "y": y}, r"pixels in 300\.0\.\.300\.0"),
        ({"x": np.zeros((4, 3, 3, 5), np.uint8), "y": y}, "5 channels"),
        ({"x": x[:0], "y": y[:0]}, "no training examples"),
        ({"x": x, "y": np.array([{}] * 4)}, "Python objects"),
        ({"x": np.full((4, 2), 1e99), "y": y}, "beyond float32"),
        ({"x_train": x, "y_train": y, "x_test": x[:, :2], "y_test": y}, "bring them to one shape"),
        ({"x_train": x, "y_train": y, "x_test": x, "y_test": y + 1}, "test label 4 is out of range"),
    ):
        np.savez(path, **arrays)
        refused(path, match)
    whole = path.read_bytes()
    path.write_bytes(cut(whole))
    refused(path, "not readable as a NumPy")
    npz_with_header(path, "{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999, 99, 99)}", b"x")
    refused(path, "declares .* bytes but holds")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a,b,label\n1,2,x\n1,,y\n", "row 3, column 'b' is empty"),
        ("a,b,label\n1,2,x\n1,two,y\n", "row 3, column 'b' is 'two'"),
        ("a,b,label\n1,nan,x\n", "row 2, column 'b' is 'nan'"),
        ("a,b,label\n1,1e99,x\n", "row 2, column 'b' is '1e99'"),
        ("a,b,label\n1,2,\n", "row 2, column 'label' is empty"),
        ("a,b,label\n1,2\n", "row 2 has 2 cells"),
        ("a,b,label\n1,2,1.5\n", "class name or a whole number"),
        ("a,b,label\n", "no rows"),
        ("", "at least one feature"),
        ('a,b,label\n"1,2,x\n', "not readable as a table"),
        ("a,b,label\n\xff\xfe,2,x\n", "not readable as a table"),
    ],
)
def test_csv(tmp_path, text, match):
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    refused(tmp_path / "t.csv", match)


def test_sixty_thousand_files_in_a_zip_are_ready_at_once(tmp_path):
    png = making.grey()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for i in range(60_000):
            archive.writestr(zipfile.ZipInfo(f"set/train/{i % 10}/{i:05}.png"), png)
    (tmp_path / "set.zip").write_bytes(buffer.getvalue())
    start = time.perf_counter()
    data = load(tmp_path / "set.zip")
    assert time.perf_counter() - start < 3
    assert len(data.train) + len(data.test) == 60_000
    assert (data.train.read([0, 47_999]) == 7).all()
