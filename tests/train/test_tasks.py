"""The seam between the Trainer and what it learns: a task of one's own, and what belongs to which."""

import json

import numpy as np
import pytest

from dlkit import Tensor, nn
from dlkit.data.normalize import Normalizer
from dlkit.errors import CheckpointError, ConfigError
from dlkit.train import RunFolder, TrainConfig, Trainer
from dlkit.train.checkpoint import load_checkpoint
from dlkit.train.progress import Silent
from dlkit.train.tasks import TASKS, Task


class Line:
    """Points of y = 3 x - 1."""

    name = "line"

    def remarks(self):
        return ["a straight one"]


class Batches:
    def __len__(self):
        return 4

    def epoch(self, epoch, start=0):
        for i in range(start, 4):
            x = np.random.default_rng((epoch, i)).standard_normal((8, 1)).astype(np.float32)
            yield x, 3 * x - 1


class FitLine(Task):
    """Two inputs, a loss that is no cross-entropy, a quantity that is no accuracy."""

    name, used_by, quantities = "line", "nothing", {"loss": "", "slope": ""}
    classes, input_shape = [], (1,)

    @classmethod
    def load(cls, config):
        return Line()

    @classmethod
    def build(cls, config, input_shape, classes, network=None):
        class Model(nn.Module):
            def __init__(self):
                self.linear = nn.Linear(1, 1)

            def forward(self, x, weight):
                return self.linear(x) * weight

        return Model()

    def __init__(self, config, data, origin):
        self.model_name, self.loader, self.validated = "linear", Batches(), True
        self.normalizer = Normalizer("none", np.zeros(1), np.ones(1), False)
        self.squared = nn.MSELoss()

    def inputs(self, batch, device):
        return Tensor(batch[0]), Tensor(np.ones_like(batch[0]))

    def loss(self, y, batch):
        return self.squared(y, Tensor(batch[1]))

    def sums(self, y, batch, loss):
        return {"loss": loss, "batches": 1}

    def train_row(self, sums):
        assert sums["batches"] == 4
        return {"train_loss": sums["loss"] / 4}

    def validate(self, model, device, folder):
        slope = float(model.linear.weight.numpy()[0, 0])
        return {"val_loss": (slope - 3) ** 2, "val_slope": slope}

    def score(self, row):
        return (-row["val_loss"],)

    def test(self, model, device, folder):
        (folder / "sample.txt").write_text("here")
        return {
            "test_slope": float(model.linear.weight.numpy()[0, 0]),
            "intercept": float(model.linear.bias.numpy()[0]),
        }

    def describe(self):
        return "a line"

    def describe_row(self, row):
        return f"slope {row['val_slope']:.2f}"

    def describe_test(self, metrics):
        return f"slope {metrics['test_slope']:.2f}"


@pytest.fixture
def line(monkeypatch):
    monkeypatch.setitem(TASKS, "line", FitLine)


def config(tmp_path, name="run", **changes):
    return TrainConfig(**{"task": "line", "epochs": 25, "lr": 0.3, "out": str(tmp_path / name), **changes})


class StopAt(Silent):
    def __init__(self, steps):
        self.left = steps

    def step(self, trainer, batch, batches, loss):
        self.left -= 1
        if self.left == 0:
            trainer.stop()


def test_a_task_of_ones_own_is_trained(line, tmp_path):
    result = Trainer(config(tmp_path)).fit()
    assert abs(result.test_slope - 3) < 0.05
    assert abs(result.intercept + 1) < 0.2  # the best epoch is chosen by the slope alone
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert list(metrics)[:5] == ["test_loss", "test_slope", "val_loss", "val_slope", "train_loss"]
    assert metrics["test_loss"] is None
    assert metrics["notes"] == ["a straight one"]
    assert (tmp_path / "run" / "sample.txt").exists()
    assert (tmp_path / "run" / "history.csv").read_text().startswith("epoch,lr,train_loss,val_loss,val_slope\n")
    assert (tmp_path / "run" / "curves.png").stat().st_size > 1000


def test_the_best_epoch_is_the_tasks_choice(line, tmp_path):
    trainer = Trainer(config(tmp_path))
    result = trainer.fit()
    best = min(trainer.state.history, key=lambda row: abs(row["val_slope"] - 3))
    assert result.best_epoch == best["epoch"]
    assert result.val_slope == result.test_slope == best["val_slope"]


@pytest.mark.parametrize("steps", [3, 10])
def test_a_resumed_run_of_any_task_equals_an_uninterrupted_one(line, tmp_path, steps):
    Trainer(config(tmp_path, "whole")).fit()
    assert Trainer(config(tmp_path, "parts")).fit(StopAt(steps)).stopped == "interrupted"
    assert Trainer.resume(str(tmp_path / "parts")).fit().stopped == "finished"
    whole, parts = ((tmp_path / n / "history.csv").read_bytes() for n in ("whole", "parts"))
    assert whole == parts


def test_a_network_of_another_task_is_refused_where_a_classifier_is_needed(line, tmp_path):
    Trainer(config(tmp_path, epochs=1)).fit()
    with pytest.raises(
        CheckpointError, match="a network of `dlkit train --task line`, for nothing; one of --task class"
    ):
        RunFolder.open(tmp_path / "run").load_best()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "clasify"}, "unknown task 'clasify' .did you mean 'classify'"),
        ({"task": "line", "class_weights": "balanced"}, "task 'line' does not use it; leave --class-weights out"),
        ({"task": "line", "from_model": "x.onnx"}, "leave --from out .it is an option of --task classify"),
    ],
)
def test_an_option_of_another_task_is_refused(line, values, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_dict(values)


def test_a_run_from_before_there_were_tasks_goes_on(tmp_path):
    """Its state counts loss_sum, correct and seen, its configuration names no task."""
    options = {"task": "classify", "model": "logistic", "epochs": 2}
    Trainer(config(tmp_path, "whole", **options)).fit()
    Trainer(config(tmp_path, **options)).fit(StopAt(30))
    path = tmp_path / "run" / "last.safetensors"
    checkpoint = load_checkpoint(path)
    progress = checkpoint.progress
    assert progress["epoch"] == 1
    sums = progress.pop("sums")
    progress |= {"loss_sum": sums["loss"], "correct": sums["correct"], "seen": sums["seen"]}
    whole = checkpoint.config.to_dict
    checkpoint.config.to_dict = lambda: {k: v for k, v in whole().items() if k != "task"}
    checkpoint.save(path)
    Trainer.resume(str(tmp_path / "run")).fit()
    assert (tmp_path / "run" / "history.csv").read_bytes() == (tmp_path / "whole" / "history.csv").read_bytes()
