"""Every format, read back from generated files, and the real ones."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile

import h5py
import making
import numpy as np
import pytest

from dlkit.data import load
from dlkit.data.formats import FORMATS, cifarbin
from dlkit.data.names import KNOWN
from dlkit.errors import ConfigError, DataError


def everything(source):
    return source.read(np.arange(len(source)))


def test_importing_stays_light():
    code = (
        "import sys, dlkit.data;"
        "heavy = ('h5py', 'PIL', 'pooch', 'sklearn', 'csv', 'requests', 'zipfile');"
        "print([m for m in heavy if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_digits_always_split_alike():
    one, two = load("digits"), load("digits", seed=9)
    assert one.train.shape == (8, 8, 1)
    assert (len(one.train), len(one.test)) == (len(two.train), len(two.test))
    assert len(one.train) + len(one.test) == 1797
    pixels = everything(one.train)
    assert pixels.dtype == np.uint8
    assert pixels.max() == 255
    np.testing.assert_array_equal(pixels, everything(two.train))
    assert one.classes == list("0123456789")
    assert load("digits", test_split=0).test is None


@pytest.mark.parametrize("packed", [True, False])
def test_idx_folder(tmp_path, packed):
    pixels = making.write_mnist(tmp_path / "m", packed)
    data = load(tmp_path / "m")
    assert (len(data.train), len(data.test), data.train.shape) == (30, 10, (6, 5, 1))
    np.testing.assert_array_equal(everything(data.train)[..., 0], pixels)
    assert data.train.labels.dtype == np.int64


def test_one_idx_file_is_split(tmp_path):
    making.write_mnist(tmp_path)
    data = load(tmp_path / "train-images-idx3-ubyte.gz")
    assert (len(data.train), len(data.test)) == (20, 10)


def test_known_names_come_from_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DLKIT_DATA_DIR", str(tmp_path))
    making.write_mnist(tmp_path / "fashion-mnist")
    data = load("fashion-mnist", download=False)
    assert data.classes[9] == "Ankle boot"
    assert data.name == "fashion-mnist"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("top", ["", "all/"])
@pytest.mark.parametrize("held", ["test", "val"])
def test_image_folder_with_train_and_test(tmp_path, zipped, top, held):
    files = {
        f"{top}train/dog/1.png": making.grey(1),
        f"{top}train/cat/2.png": making.grey(2),
        f"{top}train/cat/1.png": making.grey(3),
        f"{top}{held}/dog/1.png": making.grey(4),
        f"{top}train/.DS_Store": b"x",
        f"{top}train/cat/Thumbs.db": b"x",
        "__MACOSX/train/cat/._1.png": b"x",
    }
    data = load(as_zip(tmp_path, files) if zipped else making.write_tree(tmp_path / "tree", files))
    assert data.classes == ["cat", "dog"]
    assert data.train.shape == (4, 5, 1)
    np.testing.assert_array_equal(data.train.labels, [0, 0, 1])
    np.testing.assert_array_equal(everything(data.train)[:, 0, 0, 0], [3, 2, 1])
    np.testing.assert_array_equal(data.test.labels, [1])
    assert any("stray file" in note for note in data.notes)
    assert data.train.name(0).endswith("train/cat/1.png")


def as_zip(folder, files):
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return folder / "set.zip"


def test_plain_class_folders_are_split(tmp_path):
    files = {f"{c}/{i}.png": making.rgb(i) for c in "ab" for i in range(10)}
    data = load(making.write_tree(tmp_path / "t", files), test_split=0.3, seed=4)
    assert data.train.shape == (4, 5, 3)
    np.testing.assert_array_equal(np.bincount(data.train.labels), [7, 7])
    np.testing.assert_array_equal(np.bincount(data.test.labels), [3, 3])
    assert load(tmp_path / "t", test_split=0).test is None
    assert load(tmp_path / "t", image_size=(2, 3), grey=True).train.shape == (2, 3, 1)


def test_unsafe_zip_names_are_ignored(tmp_path):
    files = {
        "a/1.png": making.grey(),
        "a/2.png": making.grey(),
        "b/1.png": making.grey(),
        "../b/2.png": making.grey(),
        "/b/3.png": making.grey(),
        "a/../../x/1.png": making.grey(),
    }
    data = load(as_zip(tmp_path, files), test_split=0)
    assert len(data.train) == 3
    assert "ignored 3 unsafe names (absolute, or with ..)" in data.notes


def test_npz_images_and_features(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 4, 4, 3), np.uint8)
    labels = np.arange(20) % 4
    np.savez(tmp_path / "a.npz", x_train=pixels, y_train=labels, x_test=pixels[:4], y_test=labels[:4])
    data = load(tmp_path / "a.npz")
    np.testing.assert_array_equal(everything(data.train), pixels)
    np.savez(tmp_path / "b.npz", X=(pixels / 255).astype(np.float32), Y=labels[:, None])
    np.testing.assert_array_equal(everything(load(tmp_path / "b.npz", test_split=0).train), pixels)
    features = rng.normal(size=(20, 7))
    np.savez(tmp_path / "c.npz", x=features, y=np.array(["no", "yes"])[labels % 2])
    data = load(tmp_path / "c.npz")
    assert data.classes == ["no", "yes"]
    assert not data.train.is_image
    assert everything(data.train).dtype == np.float32
    np.savez(tmp_path / "d.npz", images=pixels[..., 0], labels=labels + 1)
    data = load(tmp_path / "d.npz", image_size=(8, 6), grey=False)
    assert data.classes == ["1", "2", "3", "4"]
    assert data.train.shape == (8, 6, 3)
    assert data.train.labels.min() == 0


def test_csv_label_column(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("size,class,weight\n" + "".join(f"{i},{'ab'[i % 2]},{i / 2}\n" for i in range(10)))
    data = load(file)
    assert data.classes == ["a", "b"]
    np.testing.assert_array_equal(load(file, test_split=0).train.read([3]), [[3, 1.5]])
    with pytest.raises(ConfigError, match="choose one of: size, class, weight"):
        load(file, label="sort")


def test_csv_without_header_and_numeric_order(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("".join(f"{i};{i % 12}.0\n" for i in range(48)))
    data = load(file, test_split=0)
    assert data.classes == [str(k) for k in range(12)]
    np.testing.assert_array_equal(data.train.labels, np.arange(48) % 12)
    assert data.train.shape == (1,)


def write_cats(folder, labels=(0, 1, 1, 0), test_labels=(1, 0)):
    for part, y in (("train", labels), ("test", test_labels)):
        with h5py.File(folder / f"{part}_catvnoncat.h5", "w") as file:
            file[f"{part}_set_x"] = np.full((len(y), 4, 4, 3), 9, np.uint8)
            file[f"{part}_set_y"] = np.array(y)
            file["list_classes"] = np.array([b"non-cat", b"cat"])


@pytest.mark.parametrize(
    ("rows", "header", "classes"),
    [
        (["1.451,-0.192,y", "1,2,n"], False, ["n", "y"]),  # y is a label, not the label's name
        (["3,5,y", "1,2,n"], False, ["n", "y"]),
        (["0,1,label", "3,5,a", "1,2,b"], True, ["a", "b"]),
        (["1,2,Class", "3,5,a", "1,2,b"], True, ["a", "b"]),
        (["u,v,w", "3,5,a", "1,2,b"], True, ["a", "b"]),
    ],
)
def test_what_is_a_header(tmp_path, rows, header, classes):
    (tmp_path / "t.csv").write_text("\n".join(rows * 2 if not header else [rows[0], *rows[1:] * 2]) + "\n")
    data = load(tmp_path / "t.csv", test_split=0)
    assert data.classes == classes
    assert len(data.train) == 2 * (len(rows) - header)
    assert bool(data.notes) != header


def test_labels_that_look_like_numbers_stay_apart(tmp_path):
    labels = ["007", "7", "7.0", "1e5", "9007199254740992", "9007199254740993", "-0", "0", "-3", ' "x"']
    (tmp_path / "t.csv").write_text("f,label\n" + "".join(f"1,{label}\n" for label in labels))
    data = load(tmp_path / "t.csv", test_split=0)
    assert set(data.classes) == {"007", "7", "1e5", "9007199254740992", "9007199254740993", "0", "-3", "x"}


def test_hdf5_with_all_in_one_file(tmp_path, rng):
    with h5py.File(tmp_path / "train.h5", "w") as file:
        for part, n in (("train", 12), ("test", 6)):
            file[f"{part}_set_x"] = rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
            file[f"{part}_set_y"] = np.arange(n) % 2
    data = load(tmp_path / "train.h5")
    assert (len(data.train), len(data.test), data.drawn) == (12, 6, None)


def test_hdf5(tmp_path):
    write_cats(tmp_path)
    for path in (tmp_path, tmp_path / "train_catvnoncat.h5"):
        data = load(path)
        assert data.classes == ["non-cat", "cat"]
        assert (len(data.train), len(data.test), data.train.shape) == (4, 2, (4, 4, 3))
    write_cats(tmp_path, labels=(0, 1, 2))
    with pytest.raises(DataError, match=r"train label 2 is out of range 0\.\.1"):
        load(tmp_path)


def test_cifar_from_the_tar(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 3, 32, 32), np.uint8)
    table = np.concatenate([np.arange(10, dtype=np.uint8)[:, None], images.reshape(10, -1)], axis=1)
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name in ("data_batch_2.bin", "test_batch.bin", "data_batch_1.bin"):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = table.nbytes
            archive.addfile(info, io.BytesIO(table.tobytes()))
    data = load(tmp_path / "cifar-10-binary.tar.gz")
    assert (len(data.train), len(data.test), tuple(data.classes)) == (20, 10, cifarbin.CLASSES)
    np.testing.assert_array_equal(everything(data.test), images.transpose(0, 2, 3, 1))
    whole = (tmp_path / "cifar-10-binary.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.tar\.gz"):
        load(tmp_path / "cut.tar.gz")


def test_unknown_names_and_paths(tmp_path):
    with pytest.raises(ConfigError, match=r"did you mean 'mnist'.*digits, mnist"):
        load("mnits")
    with pytest.raises(DataError, match="no such file or folder"):
        load(tmp_path / "nothing")
    (tmp_path / "a.docx").write_bytes(b"")
    with pytest.raises(DataError, match="no known format"):
        load(tmp_path / "a.docx")


@pytest.mark.parametrize(
    "options",
    [
        {"label": "x"},
        {"image_size": (0, 3)},
        {"image_size": "big"},
        {"image_size": (2.5, 3)},
        {"test_split": 1.0},
        {"test_split": -0.1},
        {"seed": -1},
        {"grey": "yes"},
    ],
    ids=str,
)
def test_options_that_do_not_fit(options):
    with pytest.raises(ConfigError):
        load("digits", **options)


def test_every_known_name_explains_itself():
    assert all(known.about and (known.builtin or known.files or known.local) for known in KNOWN.values())
    assert len({form.NAME for form in FORMATS}) == len(FORMATS)


def test_real_sets(data_dir, monkeypatch):
    monkeypatch.setenv("DLKIT_DATA_DIR", str(data_dir))
    for name, train, test, shape in (
        ("mnist", 60_000, 10_000, (28, 28, 1)),
        ("cifar10", 50_000, 10_000, (32, 32, 3)),
        ("cats", 209, 50, (64, 64, 3)),
    ):
        data = load(name, download=False)
        assert (len(data.train), len(data.test), data.train.shape) == (train, test, shape)
        assert data.train.read([0, 5]).shape == (2, *shape)
    faces = load(data_dir / "orl-faces")
    assert (len(faces.classes), faces.train.shape) == (40, (112, 92, 1))
