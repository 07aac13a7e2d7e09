"""dlkit train --task inpaint: learns, resumes bit for bit, refuses in one line."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from dlkit.data.holes import KINDS
from dlkit.data.photos import open_photos
from dlkit.errors import CheckpointError, ConfigError, DataError
from dlkit.inpaint.task import Judged, crops_of, decibels, inpainting_loss, psnr, split_photos
from dlkit.tensor import Tensor
from dlkit.train import RunFolder, TrainConfig, Trainer
from dlkit.train.config import read_toml
from dlkit.train.progress import Silent


def stripes(folder, n=10, sizes=((40, 48), (44, 36)), mode="RGB"):
    """Photos of waves in any direction: a network can learn how they go on, a blur cannot."""
    folder.mkdir(parents=True)
    for k in range(n):
        rng = np.random.default_rng(k)
        i, j = np.indices(sizes[k % len(sizes)])
        angle = rng.uniform(0, np.pi)
        wave = np.sin((i * np.cos(angle) + j * np.sin(angle)) * 2 * np.pi / 5)
        colours = 0.5 + 0.4 * wave[..., None] * rng.uniform(0.5, 1, 3)
        pixels = np.rint(255 * colours).astype(np.uint8)
        Image.fromarray(pixels if mode == "RGB" else pixels[..., 0]).save(folder / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return stripes(tmp_path_factory.mktemp("data") / "waves")


def config(photos, out, **changes):
    values = {"task": "inpaint", "data": str(photos), "out": str(out), "crop_size": 24, "width": 8, "depth": 2}
    return TrainConfig.from_dict({**values, "epochs": 2, "batch_size": 4, "val_split": 0.2, "threads": 1, **changes})


class StopAt(Silent):
    def __init__(self, steps):
        self.left = steps

    def step(self, trainer, batch, batches, loss):
        self.left -= 1
        if self.left == 0:
            trainer.stop()


def test_it_learns_to_fill(photos, tmp_path):
    trainer = Trainer(config(photos, tmp_path / "run", epochs=12, lr=0.01, mask_kind="text", test_split=0.0))
    judged = trainer.task.judged
    before = judged.measure(trainer.model, "cpu").psnr()
    means = [psnr(np.where(hole[..., None], x[~hole].mean(axis=0), x), x, hole) for _, x, hole in judged.cases()]
    result = trainer.fit()
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").read_text().splitlines()))
    losses = [float(r["train_loss"]) for r in rows]
    assert np.mean(losses[-3:]) < 0.85 * losses[0]
    assert result.val_psnr > before + 1.5  # which was the blur it begins as
    assert result.val_psnr > np.mean(means) + 2
    assert result.val_psnr == max(float(r["val_psnr"]) for r in rows)


def test_what_a_run_leaves_behind(photos, tmp_path):
    Trainer(config(photos, tmp_path / "run")).fit()
    run = tmp_path / "run"
    assert {p.name for p in run.iterdir()} >= {"samples.png", "curves.png", "metrics.json", "best.safetensors"}
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["test_psnr_by_kind"]) == set(KINDS)
    assert 5 < metrics["test_psnr"] < 60
    assert 5 < metrics["test_psnr_biharmonic"] < 60
    assert metrics["model"] == "partial-unet"
    rows = list(csv.DictReader((run / "history.csv").read_text().splitlines()))
    assert rows[0]["val_psnr_biharmonic"] == rows[1]["val_psnr_biharmonic"]
    assert np.asarray(Image.open(run / "samples.png")).shape[2] == 3
    again = TrainConfig.from_dict(read_toml(run / "config.toml"))
    assert (again.crop_size, again.width, again.batch_size) == (24, 8, 4)


@pytest.mark.parametrize("steps", [1, 6])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(photos, tmp_path, steps):
    whole, parts = (config(photos, tmp_path / name) for name in ("whole", "parts"))
    Trainer(whole).fit()
    assert Trainer(parts).fit(StopAt(steps)).stopped == "interrupted"
    assert Trainer.resume(str(tmp_path / "parts")).fit().stopped == "finished"
    assert (tmp_path / "whole" / "history.csv").read_bytes() == (tmp_path / "parts" / "history.csv").read_bytes()
    a, b = (RunFolder.open(tmp_path / n).load_best("inpaint").model_state for n in ("whole", "parts"))
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_another_seed_is_another_run(photos, tmp_path):
    for seed in (0, 1):
        Trainer(config(photos, tmp_path / str(seed), seed=seed, epochs=1)).fit()
    assert (tmp_path / "0" / "history.csv").read_bytes() != (tmp_path / "1" / "history.csv").read_bytes()


def test_grey_photos_make_a_grey_network(tmp_path):
    trainer = Trainer(config(stripes(tmp_path / "grey", mode="L"), tmp_path / "run", epochs=1))
    assert trainer.task.input_shape == (24, 24, 1)
    trainer.fit()
    assert np.asarray(Image.open(tmp_path / "run" / "samples.png")).ndim == 2


# -- its pieces ------------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_papers(rng):
    y, x = rng.random((2, 5, 6, 3)), rng.random((2, 5, 6, 3))
    known = (rng.random((2, 5, 6, 1)) < 0.6).astype(float)
    filled, total = np.where(known, x, y), 0.0
    for n, i, j, c in np.ndindex(y.shape):
        hole = not known[n, i, j, 0]
        total += (6 if hole else 1) * abs(y[n, i, j, c] - x[n, i, j, c])
        for a, b in ((i + 1, j), (i, j + 1)):
            if a < 5 and b < 6 and (hole or not known[n, a, b, 0]):
                total += 0.1 * abs(filled[n, a, b, c] - filled[n, i, j, c])
    assert inpainting_loss(Tensor(y), x, known).item() == pytest.approx(total / y.size, rel=1e-12)


def test_crops_come_from_the_photo_mirrored_or_not(photos):
    opened = open_photos(photos)
    x, known = crops_of(opened, np.zeros(40, int), 24, "boxes", np.random.default_rng(0))
    photo = opened.read(0)
    windows = np.lib.stride_tricks.sliding_window_view(photo, (24, 24), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    places = {w.tobytes(): (i, j) for i, j in np.ndindex(windows.shape[:2]) for w in [windows[i, j]]}
    crops = np.rint(255 * x).astype(np.uint8)
    plain = [places.get(c.tobytes()) for c in crops]
    mirrored = [places.get(c[:, ::-1].tobytes()) for c in crops]
    assert all(a or b for a, b in zip(plain, mirrored))
    assert 5 < sum(a is None for a in plain) < 35
    assert len(set(filter(None, plain))) > 5
    assert set(np.unique(known)) == {0, 1}


def test_no_photo_is_in_two_parts(photos):
    opened = open_photos(photos)
    options = TrainConfig(task="inpaint", test_split=0.3, val_split=0.3)
    split = split_photos("waves", opened, np.arange(10), options)
    parts = [set(map(int, part[1])) for part in (split.train, split.val, split.test)]
    assert set.union(*parts) == set(range(10))
    assert sum(map(len, parts)) == 10
    assert min(map(len, parts)) >= 2


def test_holes_to_judge_by_stay_the_same_and_are_of_every_kind(photos):
    opened = open_photos(photos)
    a, b = (list(Judged(opened, np.arange(3), TrainConfig(task="inpaint", seed=5)).cases()) for _ in range(2))
    assert [k for k, _, _ in a] == 3 * list(KINDS)
    assert all((x[2] == y[2]).all() for x, y in zip(a, b))
    other = list(Judged(opened, np.arange(3), TrainConfig(task="inpaint", seed=6)).cases())
    assert any((x[2] != y[2]).any() for x, y in zip(a, other))
    assert [
        k for k, _, _ in Judged(opened, np.arange(3), TrainConfig(task="inpaint", mask_kind="boxes")).cases()
    ] == 3 * ["boxes"]


def test_decibels():
    assert decibels(0.01) == pytest.approx(20)
    assert decibels(0.0) == 100


# -- what is refused -------------------------------------------------------------------------------------------------------


def test_photos_smaller_than_a_crop_are_left_out(tmp_path):
    stripes(tmp_path / "p", n=12, sizes=((40, 48), (20, 60)))
    trainer = Trainer(config(tmp_path / "p", tmp_path / "run", test_split=0.0, val_split=0.0))
    assert any("6 photos are smaller than a crop" in note for note in trainer.remarks())
    with pytest.raises(DataError, match=r"no photo is as large as a crop of 64×64 .*smaller --crop-size"):
        Trainer(config(tmp_path / "p", tmp_path / "run", crop_size=64))


def test_data_without_images_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,label\n" + "1,2,x\n2,3,y\n" * 10)
    with pytest.raises(DataError, match=r"holds no images; --task inpaint needs a folder or \.zip of photos"):
        Trainer(config(tmp_path / "t.csv", tmp_path / "run"))
    with pytest.raises(DataError, match=r"no photo is as large as a crop of 24×24 \(the first is 8×8"):
        Trainer(config("digits", tmp_path / "run"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_kind": "stroks"}, "unknown mask_kind 'stroks' .did you mean 'strokes'"),
        ({"crop_size": 4}, r"crop_size \(=4\) must be at least 8"),
        ({"depth": 0}, r"depth \(=0\) must be at least 1"),
        ({"augment": "flip"}, "task 'inpaint' does not use it; leave --augment out"),
        ({"task": "classify"}, "crop_size was given, but task 'classify' does not use it; leave --crop-size out"),
    ],
)
def test_a_wrong_configuration_is_refused(photos, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        config(photos, tmp_path / "run", **changes)


def test_an_epoch_without_a_batch_is_refused(photos, tmp_path):
    with pytest.raises(ConfigError, match="lower --batch-size"):
        Trainer(config(photos, tmp_path / "run", batch_size=1000, drop_last=True))


def test_a_run_whose_photos_are_gone_or_became_grey_is_not_gone_on_with(tmp_path):
    folder = stripes(tmp_path / "p", n=6)
    Trainer(config(folder, tmp_path / "run")).fit(StopAt(2))
    for path in folder.iterdir():
        Image.open(path).convert("L").save(path)
    with pytest.raises(CheckpointError, match="has changed since this run began"):
        Trainer.resume(str(tmp_path / "run"))
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="holds no images"):
        Trainer.resume(str(tmp_path / "run"))


def test_other_commands_say_what_the_run_is_for(photos, tmp_path):
    Trainer(config(photos, tmp_path / "run", epochs=1)).fit()
    with pytest.raises(
        CheckpointError, match=r"--task inpaint`, for dlkit inpaint --weights RUN; one of --task classify"
    ):
        RunFolder.open(tmp_path / "run").load_best()
