"""`dlkit visualize`: the pictures it leaves, and what goes wrong in one line."""

import json

import numpy as np
import pytest
from dlkit.cli.main import run as run_cli
from PIL import Image

from dlkit import threads
from dlkit.train import TrainConfig, Trainer
from dlkit.visualize import visualize


@pytest.fixture(autouse=True)
def _one_thread():
    with threads.limited(1):
        yield


def photos(folder, mode):
    rng = np.random.default_rng(0)
    for label in ("sea/lake", "wood"):
        place = folder / label.replace("/", "-")
        place.mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(0, 120, (20, 24) if mode == "L" else (20, 24, 3), dtype=np.uint8)
            pixels[:10] += np.uint8(120 if label == "wood" else 0)
            Image.fromarray(pixels).save(place / f"{i}.png")
    return folder


@pytest.fixture(scope="module", params=["L", "RGB"])
def trained(request, tmp_path_factory):
    """(run, a picture of each class), grey and in colour."""
    folder = tmp_path_factory.mktemp(request.param)
    data = photos(folder / "photos", request.param)
    out = str(folder / "run")
    config = {"model": "cnn", "width": 4, "epochs": 1, "val_split": 0.0, "threads": 1}
    Trainer(TrainConfig(data=str(data), out=out, **config)).fit(test=False)
    return out, [str(data / "sea-lake" / "1.png"), str(data / "wood" / "1.png")]


def test_every_picture_is_there_and_says_what_it_shows(trained):
    run, files = trained
    result = visualize(run, files)
    assert [s.rpartition("/")[2] for s in result.sheets] == [
        "filters.png",
        "activations.png",
        "saliency.png",
        "gradcam.png",
    ]
    assert result.layers == ["layers.3", "layers.9", "layers.15"]
    names = [f.rpartition("/")[2] for f in result.files]
    assert len(set(names)) == len(names) == 1 + 2 * (3 + 1 + 2)  # filters; for each file maps, saliency, two classes
    assert {"filters-layers.0.png", "1-saliency.png", "1-2-saliency.png", "1-gradcam-wood.png"} <= set(names)
    for file in (*result.sheets, *result.files):
        with Image.open(file) as picture:
            picture.load()
            assert min(picture.size) > 20
    with Image.open(f"{run}/visualize/1-gradcam-sea-lake.png") as picture:
        assert picture.mode == "RGB"
        assert picture.size[0] / picture.size[1] == pytest.approx(24 / 20)
    assert set(result.predictions) == set(files)
    assert sum(result.predictions[files[0]].values()) == pytest.approx(1)
    assert result.notes == []


def test_one_class_and_one_layer(trained, tmp_path, capsys):
    run, files = trained
    out = tmp_path / "pictures"
    arguments = ["visualize", run, files[0], "-o", str(out), "--class", "wood", "--layers", "layers.6", "--json"]
    assert run_cli(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["layers"] == ["layers.6"]
    assert {p.name for p in out.glob("1-*")} == {"1-layers.6.png", "1-saliency.png", "1-gradcam-wood.png"}
    assert {p.name for p in out.glob("filters-*")} == {"filters-layers.0.png", "filters-layers.6.png"}


def test_a_network_without_maps_shows_what_it_can(tmp_path, capsys):
    data = photos(tmp_path / "photos", "L")
    config = {"model": "mlp", "hidden": (4,), "epochs": 1, "val_split": 0.0, "threads": 1}
    Trainer(TrainConfig(data=str(data), out=str(tmp_path / "run"), **config)).fit(test=False)
    assert run_cli(["visualize", str(tmp_path / "run"), str(data / "wood" / "0.png")]) == 0
    said = capsys.readouterr()
    assert "neither feature maps nor Grad-CAM" in said.err
    assert "saliency.png" in said.out
    assert {p.name for p in (tmp_path / "run" / "visualize").iterdir()} == {"saliency.png", "0-saliency.png"}


def one_line(capsys, code, *words, call):
    assert run_cli(["visualize", *map(str, call)]) == code
    said = capsys.readouterr()
    assert said.err.startswith("dlkit: ")
    assert said.err.count("\n") == 1, said.err
    for word in words:
        assert word in said.err


def test_bad_calls_end_in_one_line(trained, tmp_path, capsys):
    run, (file, _) = trained
    one_line(capsys, 2, "no class 'wod'", "did you mean 'wood'", call=[run, file, "--class", "wod"])
    one_line(capsys, 2, "no layer 'layers.4'", "layers: layers.0", call=[run, file, "--layers", "layers.4"])
    one_line(capsys, 1, "none.png: cannot be read", call=[run, "none.png"])
    (tmp_path / "text.png").write_text("no picture")
    one_line(capsys, 1, "text.png", call=[run, tmp_path / "text.png"])
    one_line(capsys, 1, "no such run folder", call=[tmp_path / "nothing", file])
    (tmp_path / "file").write_text("")
    one_line(capsys, 1, "cannot be written", call=[run, file, "-o", tmp_path / "file" / "x"])


def test_a_network_on_features_is_refused(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "table.npz", x=rng.standard_normal((40, 5)), y=np.arange(40) % 2)
    config = {"epochs": 1, "threads": 1, "model": "logistic"}
    Trainer(TrainConfig(data=str(tmp_path / "table.npz"), out=str(tmp_path / "run"), **config)).fit(test=False)
    call = [tmp_path / "run", "picture.png"]
    one_line(capsys, 2, "takes features", "only networks that classify images", call=call)
