"""A network from a user's own file: used like any other, refused in one line where it cannot be."""

import textwrap

import numpy as np
import pytest

from dlkit.errors import CheckpointError, ConfigError
from dlkit.models import build_model
from dlkit.models.user import check_classifier
from dlkit.train.config import TrainConfig
from dlkit.train.loop import Trainer
from dlkit.train.predict import Predictor

FILE = """
    from dlkit import nn

    def build(input_shape, classes, *, width=4):
        h, w, c = input_shape
        return nn.Sequential(
            nn.Conv2d(c, width, 3, padding="same", activation="relu"), nn.GlobalAvgPool2d(), nn.Linear(width, classes)
        )

    class Net(nn.Module):
        def __init__(self, input_shape, classes):
            self.flat, self.out = nn.Flatten(), nn.Linear(64, classes)
        def forward(self, x):
            return self.out(self.flat(x))

    ready = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def fixed():
        return ready

    def raises(input_shape, classes):
        return undefined_name

    def wrong(input_shape, classes):
        return 3

    def misfit(input_shape, classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(5, classes))

    def seven(input_shape, classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))

    class Broken(Net):
        def forward(self, x):
            return self.out(self.missing(x))

    number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(textwrap.dedent(FILE))
    return path


@pytest.mark.parametrize("name", ["build", "Net", "ready", "fixed"])
def test_what_builds_a_network(file, name):
    model = build_model(f"{file}:{name}", (8, 8, 1), 10)
    check_classifier(model, (8, 8, 1), 10, str(file))


def test_options_reach_the_builder(file):
    assert build_model(f"{file}", (8, 8, 1), 10, width=6).layers[0].weight.shape == (3, 3, 1, 6)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("raises", {}, r"net.py:raises raises line 22: NameError: name 'undefined_name' is not defined"),
        ("wrong", {}, "returns int; expected a Module"),
        ("number", {}, "is int; expected a function"),
        ("bild", {}, r"holds no 'bild' \(did you mean 'build'\?\)"),
        ("build", {"dropout": 0.5}, "has no option 'dropout'; its options are width"),
        ("ready", {"width": 3}, "has no option 'width'; it has none"),
    ],
)
def test_what_builds_none(file, name, options, message):
    with pytest.raises(ConfigError, match=message):
        build_model(f"{file}:{name}", (8, 8, 1), 10, **options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("misfit", r"net.py:misfit: Linear\(5, 10\): linear: x has shape \(1, 64\)"),
        ("seven", r"its output has shape \(N, 7\); the data have 10 classes, \(N, 10\)"),
        ("Broken", r"raises line 35: AttributeError: .*'missing'"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_refused_before_training(file, name, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        Trainer(TrainConfig(model=f"{file}:{name}", out=str(tmp_path / "run")))


@pytest.mark.parametrize(
    ("text", "message"),
    [("import nothing_like_this", "does not import: line 1: ModuleNotFoundError"), ("def f(:", "line 1: SyntaxError")],
)
def test_a_file_that_does_not_import(tmp_path, text, message):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(ConfigError, match=message):
        build_model(f"{tmp_path / 'bad.py'}:build", (8, 8, 1), 10)
    with pytest.raises(ConfigError, match="no such file"):
        build_model(f"{tmp_path / 'none.py'}:build", (8, 8, 1), 10)


@pytest.fixture
def run(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = Trainer(TrainConfig(model="net.py:build", epochs=1, out="run", threads=1))
    trainer.fit()
    return tmp_path / "run"


def test_a_run_goes_on_from_the_file_wherever_it_is_opened(run, file, monkeypatch):
    monkeypatch.chdir("/")
    assert (run / "model.py").read_text() == file.read_text()
    assert str(file) in (run / "config.toml").read_text()
    trainer = Trainer.resume(str(run), epochs=2)
    assert trainer.fit().epochs == 2
    predictor = Predictor.open(str(run))
    np.testing.assert_array_equal(
        predictor.model.layers[0].weight.numpy(), Predictor.open(str(run)).model.layers[0].weight.numpy()
    )


def test_a_file_that_changed_or_went_is_said(run, file):
    before = file.read_text()
    file.write_text(before + "\n# another thought\nraise SystemExit\n")
    for use in (lambda: Predictor.open(str(run)), lambda: Trainer.resume(str(run), epochs=2)):
        with pytest.raises(CheckpointError, match=r"has changed since .* model\.py"):
            use()
    file.unlink()
    for use in (lambda: Predictor.open(str(run)), lambda: Trainer.resume(str(run), epochs=2)):
        with pytest.raises(CheckpointError, match="is gone; put it back"):
            use()
    file.write_text(before)
    Predictor.open(str(run))


def test_the_copy_in_the_run_is_never_run(run):
    (run / "model.py").write_text("raise SystemExit('the copy was run')\n")
    Predictor.open(str(run))
