"""What goes wrong ends in one clear line on stderr, the right exit status, and no traceback."""

import gzip
import subprocess
import sys

import h5py
import numpy as np
import pytest
from PIL import Image

PNG = "image.png"


def picture(path, size=(8, 8), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 100).save(path)


def folder(tmp_path):
    for name in ("a", "b"):
        for i in range(6):
            picture(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def missing(tmp_path):
    return ["--data", tmp_path / "nowhere"], 1, "no such file or folder"


def unknown_data(tmp_path):
    return ["--data", "mnits"], 2, "did you mean 'mnist'"


def unknown_model(tmp_path):
    return ["--model", "resnet2"], 2, "did you mean 'resnet20'"


def truncated_gzip(tmp_path):
    data = gzip.compress(b"\x00\x00\x08\x03" + bytes([0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 8]) + bytes(9 * 64))
    labels = gzip.compress(b"\x00\x00\x08\x01" + bytes([0, 0, 0, 9]) + bytes(range(9)))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(data[:-20])
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(labels)
    return ["--data", tmp_path], 1, "train-images"


def truncated_png(tmp_path):
    photos = folder(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    for path in (photos / "a").iterdir():
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:100])
    return ["--data", photos], 1, ".png"


def truncated_hdf5(tmp_path):
    with h5py.File(tmp_path / "train_x.h5", "w") as file:
        file["train_set_x"], file["train_set_y"] = np.zeros((9, 8, 8, 3), np.uint8), np.arange(9) % 2
    whole = (tmp_path / "train_x.h5").read_bytes()
    (tmp_path / "train_x.h5").write_bytes(whole[: len(whole) // 2])
    return ["--data", tmp_path / "train_x.h5"], 1, "train_x.h5"


def labels_out_of_range(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((6, 4), np.float32), y=np.array([0, 1, 2, 0, 1, -3]))
    return ["--data", tmp_path / "d.npz"], 1, "label"


def pickled_npz(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.array([{}, {}], dtype=object), y=np.array([0, 1]))
    return ["--data", tmp_path / "d.npz"], 1, "d.npz"


def empty_class(tmp_path):
    photos = folder(tmp_path)
    (photos / "c").mkdir()
    return ["--data", photos], 1, "c"


def bomb(tmp_path):
    photos = folder(tmp_path)
    Image.MAX_IMAGE_PIXELS, limit = None, Image.MAX_IMAGE_PIXELS
    Image.new("1", (20000, 20000)).save(photos / "a" / "0.png")
    Image.MAX_IMAGE_PIXELS = limit
    return ["--data", photos], 1, "0.png"


def csv_with_text(tmp_path):
    (tmp_path / "d.csv").write_text("a,b,label\n1,2,x\n3,oops,y\n")
    return ["--data", tmp_path / "d.csv"], 1, "oops"


def image_model_on_features(tmp_path):
    (tmp_path / "d.csv").write_text("a,b,label\n" + "1,2,x\n3,4,y\n" * 8)
    return ["--data", tmp_path / "d.csv", "--model", "lenet5"], 2, "needs images"


def bad_option(tmp_path):
    return ["--epocs", "3"], 2, "--epochs"


def bad_number(tmp_path):
    return ["--epochs", "many"], 2, "many"


def bad_toml(tmp_path):
    (tmp_path / "c.toml").write_text("epochs = = 3")
    return ["--config", tmp_path / "c.toml"], 2, "not a TOML file"


def unknown_toml_key(tmp_path):
    (tmp_path / "c.toml").write_text("epoch = 3")
    return ["--config", tmp_path / "c.toml"], 2, "did you mean 'epochs'"


def no_such_run(tmp_path):
    return ["--resume", tmp_path / "none"], 1, "no such run folder"


def resume_with_another_model(tmp_path):
    return ["--resume", tmp_path, "--model", "mlp"], 2, "cannot change when a run is resumed"


def out_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    return ["--epochs", 1, "--model", "logistic", "--out", tmp_path / "out" / "run"], 1, "cannot be written"


CASES = [
    missing,
    unknown_data,
    unknown_model,
    truncated_gzip,
    truncated_png,
    truncated_hdf5,
    labels_out_of_range,
    pickled_npz,
    empty_class,
    bomb,
    csv_with_text,
    image_model_on_features,
    bad_option,
    bad_number,
    bad_toml,
    unknown_toml_key,
    no_such_run,
    resume_with_another_model,
    out_is_a_file,
]


@pytest.mark.parametrize("case", CASES, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_train(dlkit, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    options, code, said = case(tmp_path)
    result = dlkit(
        "train", *([] if "--out" in options or "--resume" in options else ["--out", tmp_path / "run"]), *options
    )
    assert result.code == code, result.err
    error = [line for line in result.err.splitlines() if line.startswith("dlkit: ")]
    assert len(error) == 1, result.err
    assert said in error[0]
    assert "Traceback" not in result.err
    assert result.out == ""


def test_mixed_sizes_modes_and_stray_files_are_read_and_said(dlkit, tmp_path):
    photos = folder(tmp_path)
    picture(photos / "a" / "large.png", (30, 20))
    picture(photos / "b" / "grey.png", (8, 8), "L")
    (photos / "a" / ".DS_Store").write_bytes(b"x")
    (photos / "Thumbs.db").write_bytes(b"x")
    result = dlkit("train", "--data", photos, "--model", "logistic", "--epochs", 1, "--out", tmp_path / "run", "--json")
    assert result.code == 0, result.err
    assert "resized" in result.out
    assert "ignored" in result.out


@pytest.mark.parametrize("command", [["evaluate", "none"], ["predict", "none", "x.png"]])
def test_a_missing_run(dlkit, command):
    result = dlkit(*command)
    assert result.code == 1
    assert result.err == "dlkit: none: no such run folder\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["trian"], "did you mean 'train'"),
        (["summary", "lenet"], "did you mean 'lenet5'"),
        (["summary", "mlp", "--input", "32x32"], "neither an image"),
        (["summary", "lenet5", "--input", "4x4x1"], "at least 12×12"),
        (["gradcheck", "-k", "nothing"], "nothing to check matches"),
        (["gradcheck", "--backend", "natve"], "did you mean 'native'"),
        (["predict"], "RUN"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_usage_errors(dlkit, args, said):
    result = dlkit(*args)
    assert result.code == 2
    assert said in result.err
    assert result.err.count("\n") == 1


def test_debug_shows_where(dlkit):
    with pytest.raises(Exception, match="no such run folder"):
        dlkit("--debug", "evaluate", "none")


def test_a_disk_that_fills_up_while_training(tmp_path):
    """The operating system refuses files above 200 KiB: the checkpoint of this network does not fit."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); from dlkit.cli.main import main; main()"
    )
    args = ["train", "--model", "mlp", "--hidden", "512,256", "--epochs", "1", "--out", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "cannot be written (File too large)" in done.stderr
    assert "Traceback" not in done.stderr


def test_predict_says_for_each_table_what_is_wrong(dlkit, tmp_path):
    (tmp_path / "d.csv").write_text("a;b;label\n" + "1;2;x\n-3;4;y\n" * 12)
    assert dlkit("train", "--data", tmp_path / "d.csv", "--epochs", 1, "--out", tmp_path / "run").code == 0
    (tmp_path / "good.csv").write_text("a;b\n1;2\n")
    (tmp_path / "nan.csv").write_text("1,nan\n")
    (tmp_path / "large.csv").write_text("1,1e300\n")
    (tmp_path / "empty.csv").write_text("a,b\n")
    (tmp_path / "wide.csv").write_text("1,2,3\n")
    (tmp_path / "first.csv").write_text("n/a,3\n1,2\n")
    (tmp_path / "gap.csv").write_text("1,\n1,2\n")
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.save(tmp_path / "cube.npy", np.zeros((3, 2, 2)))
    Image.new("L", (4, 4)).save(tmp_path / "p.png")
    bad = ["nan.csv", "large.csv", "empty.csv", "wide.csv", "first.csv", "gap.csv", "words.npy", "cube.npy", "p.png"]
    result = dlkit("predict", tmp_path / "run", tmp_path / "good.csv", *(tmp_path / name for name in bad), "--json")
    assert result.code == 1
    assert result.out.count('"label"') == 1 + len(bad)
    lines = result.err.splitlines()
    assert len(lines) == len(bad)
    for name, line in zip(bad, lines):
        assert line.startswith("dlkit: ")
        assert name in line


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--threads", 1_000_000], 2, "must be at most 256"),
        (["--out", ""], 2, "out is empty"),
        (["--resume", ""], 2, "cannot change"),
        (["--width", 100_000], 2, "at most 65536"),
        (["--hidden", "99999999999"], 2, "from 1 to 1,000,000"),
        (["--mirror", "http://127.0.0.1/"], 2, "is not downloaded"),
    ],
)
def test_values_out_of_bounds(dlkit, tmp_path, monkeypatch, options, code, said):
    monkeypatch.chdir(tmp_path)
    result = dlkit("train", "--model", "mlp", *options)
    assert (result.code, result.err.count("\n")) == (code, 1)
    assert said in result.err


@pytest.mark.parametrize(
    ("variable", "value", "command", "code"),
    [
        ("OMP_NUM_THREADS", "abc", "doctor", 1),
        ("OMP_NUM_THREADS", "-2", "train", 2),
        ("DLKIT_BACKEND", "foo", "doctor", 1),
        ("DLKIT_BACKEND", "natve", "gradcheck", 2),
    ],
)
def test_a_wrong_environment_variable_is_named(dlkit_process, tmp_path, variable, value, command, code):
    import os

    result = dlkit_process(command, env={**os.environ, variable: value}, cwd=tmp_path)
    said = [line for line in result.err.splitlines() if line.startswith("dlkit: ")]
    assert result.code == code
    assert variable in " ".join(said)
    assert "Traceback" not in result.err


def test_class_names_are_no_formulas_and_may_be_of_any_script(dlkit, tmp_path):
    for i, name in enumerate(["$\\frac{a$", "猫 и cat"]):
        for j in range(6):
            path = tmp_path / "photos" / name / f"{j}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), 100 * i + j).save(path)
    assert (
        dlkit(
            "train", "--data", tmp_path / "photos", "--model", "logistic", "--epochs", 1, "--out", tmp_path / "run"
        ).code
        == 0
    )
    result = dlkit("evaluate", tmp_path / "run")
    assert (result.code, result.err) == (0, "")
