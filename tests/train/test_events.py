"""What TensorBoard is given, read back from the event files; the tiles that filters are shown as."""

import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from dlkit import nn
from dlkit.errors import ConfigError
from dlkit.train import TrainConfig, Trainer
from dlkit.train.checkpoint import load_checkpoint
from dlkit.train.tiles import filter_tiles, map_tiles, tiled

SETTINGS = {"model": "cnn", "width": 4, "dropout": 0.0, "threads": 1, "tensorboard": True}


def events(folder):
    """Every event in the folder's files, in order: a record is its length, a checksum, the bytes, a checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for file in sorted(folder.glob("events.out.tfevents.*"), key=lambda f: int(f.name.rpartition("-")[2])):
        stream = io.BytesIO(file.read_bytes())
        while header := stream.read(12):
            (length,) = struct.unpack("<Q", header[:8])
            yield Event.FromString(stream.read(length))
            stream.read(4)


def values(folder):
    """tag -> {step: value}, later files replacing what they purge, as TensorBoard does."""
    found = {}
    for event in events(folder):
        if event.session_log.status == event.session_log.START:
            for steps in found.values():
                for n in [n for n in steps if n >= event.step]:
                    del steps[n]
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("events") / "run"
    trainer = Trainer(TrainConfig(**SETTINGS, epochs=2, out=str(path)))
    gradients = []

    class Watch:
        def start(self, trainer): ...
        def step(self, trainer, batch, batches, loss): ...

        def epoch(self, trainer, row):
            gradients.append({n: p.grad.numpy().copy() for n, p in trainer.model.named_parameters()})

    trainer.fit(Watch())
    return path, trainer, values(path), gradients


def test_scalars_are_those_of_the_history(run):
    _, trainer, found, _ = run
    per_epoch = len(trainer.loader)
    assert sorted(found["loss/step"]) == list(range(1, 2 * per_epoch + 1))
    rates = [found["learning_rate"][n + 1].simple_value for n in range(2 * per_epoch)]
    expected = [3e-3 * trainer.schedule.factor(n, per_epoch, 2 * per_epoch) for n in range(2 * per_epoch)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    for i, row in enumerate(trainer.state.history):
        n = (i + 1) * per_epoch
        for quantity in ("loss", "accuracy"):
            for part in ("train", "val"):
                shown = found[f"{quantity}/{part}"][n].simple_value
                assert shown == pytest.approx(row[f"{part}_{quantity}"], rel=1e-6)


def test_histograms_hold_every_weight_and_gradient(run):
    path, trainer, found, gradients = run
    n = 2 * len(trainer.loader)
    weights = load_checkpoint(path / "last.safetensors").model_state
    names = [name for name, _ in trainer.model.named_parameters()]
    assert len(names) > 10
    for name in names:
        for tag, array in ((f"weights/{name}", weights[name]), (f"gradients/{name}", gradients[1][name])):
            histogram = found[tag][n].histo
            assert histogram.num == array.size
            assert histogram.sum == pytest.approx(array.sum(dtype=np.float64), rel=1e-5, abs=1e-9)
            assert histogram.min == pytest.approx(array.min(), rel=1e-6)


def test_the_first_filters_are_a_picture(run):
    path, trainer, found, _ = run
    weight = load_checkpoint(path / "last.safetensors").model_state["layers.0.weight"]
    picture = Image.open(io.BytesIO(found["filters"][2 * len(trainer.loader)].image.encoded_image_string))
    np.testing.assert_array_equal(np.asarray(picture.convert("L")), filter_tiles(weight)[..., 0])


def test_a_resumed_run_replaces_what_came_after_its_checkpoint(run, tmp_path):
    """As after a crash: events of steps that the checkpoint knows nothing of."""
    whole = run[2]

    class StopAt:
        def start(self, trainer):
            self.left = 30

        def step(self, trainer, batch, batches, loss):
            self.left -= 1
            if not self.left:
                trainer.stop()
                kept.append((trainer.run.path / "last.safetensors").read_bytes())  # 9 steps before

        def epoch(self, trainer, row): ...

    kept = []
    Trainer(TrainConfig(**SETTINGS, epochs=2, out=str(tmp_path / "run"))).fit(StopAt())
    assert max(values(tmp_path / "run")["loss/step"]) == 30
    (tmp_path / "run" / "last.safetensors").write_bytes(kept[0])
    resumed = Trainer.resume(str(tmp_path / "run"))
    assert resumed.state.epoch * len(resumed.loader) + resumed.state.batch == 21
    resumed.fit()
    again = values(tmp_path / "run")
    steps = {n: v.simple_value for n, v in whole["loss/step"].items()}
    assert {n: v.simple_value for n, v in again["loss/step"].items()} == steps


def test_without_tensorboardx_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ConfigError, match=r'pip install "dlkit\[tensorboard\]"'):
        Trainer(TrainConfig(**SETTINGS, out=str(tmp_path / "run")))


# -- tiles -----------------------------------------------------------------------------------------------------------------


def test_tiles_lie_in_rows_with_gaps():
    images = np.arange(1, 4, dtype=np.uint8)[:, None, None, None] * np.ones((3, 2, 2, 1), np.uint8)
    g = 24
    expected = [[1, 1, g, 2, 2], [1, 1, g, 2, 2], [g] * 5, [3, 3, g, g, g], [3, 3, g, g, g]]
    np.testing.assert_array_equal(tiled(images, gap=1)[..., 0], expected)
    assert tiled(images, columns=3, scale=4, gap=1).shape == (8, 3 * 8 + 2, 1)


@pytest.mark.parametrize(("channels", "filters", "rows", "columns"), [(1, 7, 3, 3), (3, 4, 2, 2), (5, 4, 5, 4)])
def test_every_filter_has_its_tile(channels, filters, rows, columns, rng):
    weight = rng.standard_normal((2, 2, channels, filters))
    picture = filter_tiles(weight, scale=1)
    assert picture.shape == (4 * rows - 2, 4 * columns - 2, 3 if channels == 3 else 1)
    shown = np.round(127.5 + 127.5 * weight / np.abs(weight).max())
    for k in range(filters):
        for c in range(channels if channels == 5 else 1):
            y, x = divmod(c * columns + k, columns)
            tile = picture[4 * y : 4 * y + 2, 4 * x : 4 * x + 2]
            np.testing.assert_array_equal(tile, shown[..., k] if channels == 3 else shown[:, :, c : c + 1, k])


def test_the_largest_weight_is_white_zero_is_grey_and_signs_are_apart():
    weight = np.zeros((1, 3, 1, 1))
    weight[0, :, 0, 0] = [2.0, 0.0, -1.0]
    np.testing.assert_array_equal(filter_tiles(weight, scale=1)[0, :, 0], [255, 128, 64])


def test_maps_run_from_black_to_white():
    maps = np.stack([np.array([[1.0, 2.0], [3.0, 5.0]]), np.full((2, 2), 7.0)], axis=-1)
    picture = map_tiles(maps)[..., 0]
    np.testing.assert_array_equal(picture[:, :2], [[0, 64], [128, 255]])
    np.testing.assert_array_equal(picture[:, -2:], 0)


def test_a_network_without_convolutions_has_no_filters(tmp_path):
    trainer = Trainer(
        TrainConfig(
            **{**SETTINGS, "model": "logistic", "width": None, "dropout": None}, epochs=1, out=str(tmp_path / "r")
        )
    )
    trainer.fit()
    assert not any(isinstance(m, nn.Conv2d) for m in trainer.model.modules())
    assert "filters" not in values(tmp_path / "r")
