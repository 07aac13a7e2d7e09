"""Every command as a user meets it: help with an example, JSON alone on stdout, files written."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from dlkit.cli.main import COMMANDS
from PIL import Image


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of small pictures, one folder for each of two classes."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, level in (("bright", 190), ("dark", 50)):
        for i in range(24):
            path = folder / name / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray((rng.integers(-40, 40, (12, 12, 3)) + level).astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    from dlkit.cli.main import run

    out = tmp_path_factory.mktemp("runs") / "run"
    assert (
        run(
            [
                "train",
                "--data",
                str(photos),
                "--model",
                "cnn",
                "--width",
                "4",
                "--epochs",
                "6",
                "--batch-size",
                "8",
                "--lr",
                "0.01",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    return out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_json(dlkit, name):
    result = dlkit(name, "--help")
    assert result.code == 0
    assert f"dlkit {name}" in result.out.split("Example")[1]
    assert "--json" in result.out


def test_the_first_help_lists_every_command(dlkit):
    result = dlkit("--help")
    assert result.code == 0
    assert all(f"\n  {name} " in result.out for name in COMMANDS)


def test_train_prints_one_json_object(dlkit, photos, tmp_path):
    result = dlkit("train", "--data", photos, "--model", "logistic", "--epochs", 2, "--out", tmp_path / "r", "--json")
    assert result.code == 0
    got = json.loads(result.out)
    assert {"test_accuracy", "test_loss", "epochs", "seconds", "parameters", "backend", "run"} <= got.keys()
    assert got["epochs"] == 2
    assert got["parameters"] == 12 * 12 * 3 * 2 + 2
    assert "epoch   2/2" in result.err


def test_flags_win_over_the_file_and_the_run_repeats_from_its_own(dlkit, photos, tmp_path):
    (tmp_path / "c.toml").write_text(f'data = "{photos}"\nmodel = "logistic"\nepochs = 9\n')
    a = dlkit("train", "--config", tmp_path / "c.toml", "--epochs", 2, "--out", tmp_path / "a", "--json")
    assert json.loads(a.out)["epochs"] == 2
    b = dlkit("train", "--config", tmp_path / "a" / "config.toml", "--out", tmp_path / "b", "--json")
    assert json.loads(b.out)["test_loss"] == json.loads(a.out)["test_loss"]
    assert (tmp_path / "a" / "history.csv").read_bytes() == (tmp_path / "b" / "history.csv").read_bytes()


def test_evaluate_agrees_with_scikit_learn_and_draws(dlkit, trained):
    from sklearn.metrics import accuracy_score

    result = dlkit("evaluate", trained, "--json")
    got = json.loads(result.out)
    assert got["accuracy"] >= 0.9
    confusion = np.array(got["confusion"])
    truth = np.repeat([0, 1], confusion.sum(1))
    predicted = np.concatenate([np.repeat([0, 1], row) for row in confusion])
    assert got["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    for picture in got["pictures"]:
        with Image.open(picture) as image:
            assert image.size[0] > 200
    assert "precision" in dlkit("evaluate", trained).out


def test_predict_tells_the_class_of_new_pictures(dlkit, trained, tmp_path):
    for name, level in (("light", 200), ("night", 40)):
        Image.fromarray(np.full((30, 20, 3), level, np.uint8)).save(tmp_path / f"{name}.png")
    result = dlkit("predict", trained, tmp_path / "light.png", tmp_path / "night.png", "--json")
    got = json.loads(result.out)["predictions"]
    assert [g["label"] for g in got] == ["bright", "dark"]
    assert sum(got[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert "light.png" in dlkit("predict", trained, tmp_path / "light.png").out


def test_predict_reports_bad_files_and_goes_on(dlkit, trained, tmp_path):
    Image.fromarray(np.full((9, 9, 3), 200, np.uint8)).save(tmp_path / "ok.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "ok.png").read_bytes()[:40])
    result = dlkit("predict", trained, tmp_path / "bad.png", tmp_path / "none.png", tmp_path / "ok.png")
    assert result.code == 1
    assert "bright" in result.out
    assert "bad.png" in result.err
    assert "none.png" in result.err
    assert "Traceback" not in result.err


def test_predict_on_features(dlkit, tmp_path):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-1, 0.2, (30, 2)), rng.normal(1, 0.2, (30, 2))])
    lines = [f"{a},{b},{name}" for (a, b), name in zip(x, ["low"] * 30 + ["high"] * 30)]
    (tmp_path / "points.csv").write_text("a,b,label\n" + "\n".join(lines) + "\n")
    assert (
        dlkit("train", "--data", tmp_path / "points.csv", "--epochs", 30, "--lr", 0.01, "--out", tmp_path / "r").code
        == 0
    )
    (tmp_path / "new.csv").write_text("a,b\n-1,-1\n1,1\n")
    got = json.loads(dlkit("predict", tmp_path / "r", tmp_path / "new.csv", "--json").out)["predictions"]
    assert [g["label"] for g in got] == ["low", "high"]


def test_summary_counts(dlkit):
    got = json.loads(dlkit("summary", "resnet20", "--input", "32x32x3", "--json").out)
    assert got["parameters"] == 269_722  # He et al. 2016, table 6: 0.27 M
    assert got["flops"] == pytest.approx(2 * 40.6e6, rel=0.03)
    got = json.loads(dlkit("summary", "lenet5", "--input", "28x28x1", "--json").out)
    assert got["parameters"] == 61_706  # LeCun et al. 1998 with full connections in C3
    assert "activations kept for backward" in dlkit("summary", "mlp", "--hidden", "8", "--input", "784").out


def test_models_and_doctor(dlkit):
    assert {"logistic", "shallow", "mlp", "lenet5", "cnn", "resnet20"} <= json.loads(
        dlkit("models", "--json").out
    ).keys()
    got = json.loads(dlkit("doctor", "--json").out)
    assert got["backends"]["reference"] == "available"
    assert got["kernels"]["conv2d_forward"][-1] == "reference" or "reference" in got["kernels"]["conv2d_forward"]
    assert "threads" in dlkit("doctor").out


def test_gradcheck_passes_and_fails_as_it_should(dlkit, monkeypatch):
    result = dlkit("gradcheck", "-k", "tanh", "--json")
    got = json.loads(result.out)
    assert result.code == 0
    assert (got["checked"], got["failed"]) == (1, 0)
    from dlkit.ops import OPS

    right = OPS["tanh"]._backward
    monkeypatch.setattr(OPS["tanh"], "_backward", lambda k, saved, dy: (k.multiply(right(k, saved, dy)[0], 1.01),))
    result = dlkit("gradcheck", "-k", "tanh")
    assert result.code == 1
    assert "WRONG" in result.out
    assert "sigmoid" in dlkit("gradcheck", "--list").out.split()


def test_imports_stay_light(dlkit_process):
    heavy = ["numba", "matplotlib", "sklearn", "scipy", "PIL", "h5py", "pooch", "tqdm"]
    code = f"import sys, dlkit, dlkit.cli.main; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ctrl_c_saves_and_says_how_to_go_on(photos, tmp_path):
    command = [
        sys.executable,
        "-c",
        "from dlkit.cli.main import main; main()",
        "train",
        "--data",
        str(photos),
        "--model",
        "mlp",
        "--epochs",
        "5000",
        "--out",
        str(tmp_path / "r"),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    history = tmp_path / "r" / "history.csv"
    deadline = time.monotonic() + 60
    while not history.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"dlkit train --resume {tmp_path / 'r'}" in out
    assert "Traceback" not in err


def test_shell_completion_knows_commands_and_choices(dlkit_process):
    def complete(words, number):
        environment = {**os.environ, "_DLKIT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)}
        return [line.split(",")[-1] for line in dlkit_process(env=environment).out.splitlines()]

    assert "complete" in dlkit_process(env={**os.environ, "_DLKIT_COMPLETE": "bash_source"}).out
    assert complete("dlkit tr", 1) == ["train"]
    assert complete("dlkit train --model le", 3) == ["lenet5"]
    assert "--label-smoothing" in complete("dlkit train --label", 2)


def test_only_what_this_command_compiled_is_reported(dlkit, monkeypatch):
    from dlkit import jit

    monkeypatch.setitem(jit._clock.unreported, "of an earlier command", 3.0)
    assert "compiled" not in dlkit("models").err
