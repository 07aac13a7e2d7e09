"""The training loop: learns, repeats itself, resumes bit for bit, stops well."""

import csv
import json

import numpy as np
import pytest

from dlkit import nn
from dlkit.data import ArraySource, Dataset
from dlkit.errors import CheckpointError, ConfigError, DataError, DivergedError, DlkitError
from dlkit.train import RunFolder, TrainConfig, Trainer
from dlkit.train.checkpoint import Checkpoint
from dlkit.train.files import OutputError
from dlkit.train.progress import Silent
from dlkit.train.tasks.classify import class_weights


def blobs(n=120, classes=3, seed=0, spread=0.3):
    """Points around the corners of a triangle: a problem any network solves."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    corners = np.array([[0, 0], [2, 0], [0, 2]])[:classes]
    x = (corners[labels] + spread * rng.standard_normal((n, 2))).astype(np.float32)
    return Dataset(
        "blobs", [f"c{i}" for i in range(classes)], ArraySource(x, labels), ArraySource(x[:30] + 0.01, labels[:30])
    )


def squares(n=90, seed=0):
    """Pictures with one bright quarter; the class says which."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    x = rng.integers(0, 80, (n, 8, 8, 1)).astype(np.uint8)
    for i, (a, b) in enumerate([(0, 0), (0, 4), (4, 0)]):
        x[labels == i, a : a + 4, b : b + 4] += 150
    return Dataset("squares", ["a", "b", "c"], ArraySource(x, labels), ArraySource(x[:30], labels[:30]))


def config(tmp_path, **changes):
    values = {"model": "mlp", "hidden": (16,), "epochs": 4, "batch_size": 16, "out": str(tmp_path / "run"), "lr": 0.01}
    return TrainConfig(**{**values, **changes})


class StopAt(Silent):
    """Asks the training to stop after some steps, as Ctrl-C does."""

    def __init__(self, steps):
        self.left = steps

    def step(self, trainer, batch, batches, loss):
        self.left -= 1
        if self.left == 0:
            trainer.stop()


def history(run):
    return (run / "history.csv").read_text()


def test_it_learns_and_leaves_everything_behind(tmp_path):
    result = Trainer(config(tmp_path, epochs=15), blobs()).fit()
    run = tmp_path / "run"
    assert result.test_accuracy >= 0.95
    assert result.stopped == "finished"
    assert {p.name for p in run.iterdir()} == {
        "config.toml",
        "last.safetensors",
        "best.safetensors",
        "history.csv",
        "metrics.json",
        "curves.png",
    }
    rows = list(csv.DictReader((run / "history.csv").read_text().splitlines()))
    assert [int(r["epoch"]) for r in rows] == list(range(1, 16))
    assert float(rows[-1]["train_loss"]) < 0.3 * float(rows[0]["train_loss"])
    assert json.loads((run / "metrics.json").read_text())["test_accuracy"] == result.test_accuracy


def test_an_untrained_network_does_not_pass_for_a_trained_one(tmp_path):
    """The check above has teeth: with a learning rate of almost nothing it would fail."""
    assert Trainer(config(tmp_path, lr=1e-9), blobs()).fit().test_accuracy < 0.9


@pytest.mark.parametrize(
    "options", [{}, {"model": "cnn", "width": 4, "hidden": None, "augment": "flip,crop=1", "dropout": 0.3}]
)
def test_the_same_seed_gives_the_same_run_and_another_does_not(tmp_path, options):
    data = squares()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        Trainer(config(tmp_path, seed=seed, out=str(tmp_path / name), epochs=2, **options), data).fit()
    assert history(tmp_path / "a") == history(tmp_path / "b") != history(tmp_path / "c")


CASES = {
    "adam": {},
    "momentum+dropout": {"optimizer": "momentum", "dropout": 0.5},
    "rmsprop": {"optimizer": "rmsprop"},
    "cnn": {"model": "cnn", "width": 4, "hidden": None, "augment": "flip,crop=1,rotate=10"},
    "batch norm, no validation": {"batch_norm": True, "val_split": 0.0},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("steps", [1, 7, 11])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, case, steps, monkeypatch):
    data = squares()
    monkeypatch.setattr("dlkit.train.loop.load_data", lambda c: data)
    whole = config(tmp_path, out=str(tmp_path / "whole"), **CASES[case])
    parts = config(tmp_path, out=str(tmp_path / "parts"), **CASES[case])
    Trainer(whole).fit()
    assert Trainer(parts).fit(StopAt(steps)).stopped == "interrupted"
    assert Trainer.resume(str(tmp_path / "parts")).fit(StopAt(3)).stopped == "interrupted"
    assert Trainer.resume(str(tmp_path / "parts")).fit().stopped == "finished"
    assert history(tmp_path / "whole") == history(tmp_path / "parts")
    a, b = (Trainer.resume(str(tmp_path / n), epochs=99) for n in ("whole", "parts"))
    for (name, p), (_, q) in zip(a.model.state_dict().items(), b.model.state_dict().items()):
        np.testing.assert_array_equal(p, q, err_msg=name)


def test_a_finished_run_is_not_resumed_without_more_epochs(tmp_path, monkeypatch):
    data = blobs()
    monkeypatch.setattr("dlkit.train.loop.load_data", lambda c: data)
    Trainer(config(tmp_path, epochs=1)).fit()
    with pytest.raises(CheckpointError, match="has had 1 epochs; give a larger --epochs"):
        Trainer.resume(str(tmp_path / "run"))
    assert Trainer.resume(str(tmp_path / "run"), epochs=2).fit().epochs == 2


@pytest.mark.parametrize("patience", [0, 4])
def test_a_finished_run_goes_on_from_its_last_epoch_not_from_its_best(tmp_path, monkeypatch, patience):
    data = blobs(spread=0.9)
    monkeypatch.setattr("dlkit.train.loop.load_data", lambda c: data)
    options = {"lr": 0.3, "optimizer": "momentum", "schedule": "constant"}
    epochs = 60 if patience else 8
    short = config(tmp_path, epochs=epochs, patience=patience, out=str(tmp_path / "parts"), **options)
    first = Trainer(short).fit()
    assert first.stopped == ("early" if patience else "finished")
    assert first.best_epoch < first.epochs  # or there would be nothing to mistake
    more = first.epochs + 2
    Trainer(config(tmp_path, epochs=more, out=str(tmp_path / "whole"), **options)).fit()
    Trainer.resume(str(tmp_path / "parts"), epochs=more, patience=0).fit()
    assert history(tmp_path / "whole") == history(tmp_path / "parts")


@pytest.mark.parametrize("fails_at", ["first checkpoint", "first batch"])
def test_a_run_that_fails_before_its_first_step_is_not_in_the_way(tmp_path, monkeypatch, fails_at):
    out, (data, wrong) = tmp_path / "run", (squares(), {"augment": "crop=99"} if fails_at == "first batch" else {})
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with monkeypatch.context() as patched:
        if fails_at == "first checkpoint":
            patched.setattr(Checkpoint, "save", lambda self, path: (_ for _ in ()).throw(OutputError("disk full")))
        with pytest.raises(DlkitError):
            Trainer(config(tmp_path, **wrong), data).fit()
    assert [p.name for p in out.iterdir()] == ["notes.txt"]
    assert Trainer(config(tmp_path, epochs=1), data).fit().epochs == 1


def test_a_run_that_fails_later_is_kept(tmp_path, monkeypatch):
    data = squares()
    monkeypatch.setattr("dlkit.train.loop.load_data", lambda c: data)

    class Fails(Silent):
        def epoch(self, trainer, row):
            raise OutputError("disk full")

    with pytest.raises(OutputError):
        Trainer(config(tmp_path), data).fit(Fails())
    assert Trainer.resume(str(tmp_path / "run")).fit().epochs == 4


def test_a_wrong_change_is_not_blamed_on_the_checkpoint(tmp_path, monkeypatch):
    data = blobs()
    monkeypatch.setattr("dlkit.train.loop.load_data", lambda c: data)
    Trainer(config(tmp_path, epochs=1)).fit()
    with pytest.raises(ConfigError, match=r"^options: lr is not a number"):
        Trainer.resume(str(tmp_path / "run"), lr=float("nan"))


def test_patience_without_validation_is_remarked_on(tmp_path):
    vain = "patience has no effect: there are no validation examples"
    assert vain in Trainer(config(tmp_path, patience=2, val_split=0.0, epochs=1), blobs()).remarks()
    assert vain not in Trainer(config(tmp_path, patience=2, epochs=1), blobs()).remarks()


def test_early_stopping_keeps_the_best_network(tmp_path):
    result = Trainer(config(tmp_path, epochs=200, patience=3, lr=0.05), blobs(spread=0.9)).fit()
    assert result.stopped == "early"
    assert result.epochs == result.best_epoch + 3
    rows = list(csv.DictReader((tmp_path / "run" / "history.csv").read_text().splitlines()))
    best = max(rows, key=lambda r: (float(r["val_accuracy"]), -float(r["val_loss"])))
    assert int(best["epoch"]) == result.best_epoch


def test_divergence_names_step_and_layer_and_keeps_the_last_good_state(tmp_path):
    trainer = Trainer(config(tmp_path, optimizer="sgd", lr=1e30, schedule="constant"), blobs())
    with (
        pytest.raises(
            DivergedError, match=r"the loss became (nan|inf) in epoch 1, batch \d+, first in .*layers\.\d .*--lr"
        ),
        np.errstate(all="ignore"),
    ):
        trainer.fit()
    state = Trainer(config(tmp_path, out=str(tmp_path / "other")), blobs()).model.state_dict()
    from dlkit.train.checkpoint import load_checkpoint

    kept = load_checkpoint(tmp_path / "run" / "last.safetensors").model_state
    assert all(np.isfinite(v).all() for v in kept.values())
    assert kept.keys() == state.keys()


def test_divergence_in_the_middle_names_the_layer(tmp_path):
    trainer = Trainer(config(tmp_path, hidden=(8, 8)), blobs())
    layer = trainer.model.layers[2]
    assert isinstance(layer, nn.Linear)
    layer.weight.data[0, 0] = np.nan
    with pytest.raises(DivergedError, match=r"the weight of layer layers\.2 \(Linear\)"):
        trainer.fit()


def test_l2_as_a_loss_term_equals_weight_decay_for_sgd(tmp_path):
    runs = []
    for name, options in (("a", {"weight_decay": 0.1}), ("b", {"l2": 0.1})):
        trainer = Trainer(config(tmp_path, optimizer="sgd", out=str(tmp_path / name), **options), blobs())
        trainer.fit()
        runs.append(trainer.model.state_dict())
    for name in runs[0]:
        np.testing.assert_allclose(runs[0][name], runs[1][name], rtol=1e-4, atol=1e-6)


def test_gradient_clipping_bounds_the_step(tmp_path):
    trainer = Trainer(config(tmp_path, optimizer="sgd", lr=1.0, schedule="constant", clip_norm=1e-3), blobs())
    before = {n: p.numpy().copy() for n, p in trainer.model.named_parameters()}
    trainer.fit(StopAt(1))
    moved = sum(((p.numpy() - before[n]) ** 2).sum() for n, p in trainer.model.named_parameters())
    assert 0 < np.sqrt(moved) <= 1.001e-3


def test_balanced_class_weights():
    data = ArraySource(np.zeros((8, 2), np.float32), np.array([0, 0, 0, 0, 0, 0, 1, 1]))
    np.testing.assert_allclose(class_weights(TrainConfig(class_weights="balanced"), data, 2), [8 / 12, 2.0])


def test_a_run_folder_is_not_overwritten(tmp_path):
    Trainer(config(tmp_path, epochs=1), blobs()).fit()
    with pytest.raises(ConfigError, match="already holds a run"):
        Trainer(config(tmp_path, epochs=1), blobs()).fit()


def test_default_run_folders_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [Trainer(config(tmp_path, epochs=1, out=None), blobs()).fit().run for _ in range(2)]
    assert runs == ["runs/blobs-mlp-001", "runs/blobs-mlp-002"]


# -- configuration -----------------------------------------------------------------------------------------------------


def test_configuration_round_trips_through_toml(tmp_path):
    from dlkit.train.config import read_toml

    before = config(tmp_path, augment="flip,crop=4", hidden=(3, 4), batch_norm=True)
    (tmp_path / "c.toml").write_text(before.to_toml())
    assert TrainConfig.from_dict(read_toml(tmp_path / "c.toml")) == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "unknown option 'epoch' .did you mean 'epochs'"),
        ({"epochs": "3"}, r"epochs \(='3'\) must be a whole number, not text"),
        ({"epochs": True}, "must be a whole number, not true or false"),
        ({"epochs": 0}, "must be at least 1"),
        ({"lr": -0.1}, "must be positive"),
        ({"lr": float("nan")}, "not a number"),
        ({"val_split": 1.0}, "below 1"),
        ({"model": "lenet6"}, "did you mean 'lenet5'"),
        ({"optimizer": "adma"}, "did you mean 'adam'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"augment": "flp"}, "flip"),
        ({"hidden": [1, "2"]}, "list of whole numbers"),
        ({"hidden": []}, "layer sizes from 1"),
    ],
)
def test_a_wrong_configuration_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_dict(values)


def test_an_option_the_model_does_not_have_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="model 'logistic' has no option 'hidden'"):
        Trainer(config(tmp_path, model="logistic"), blobs())


def test_momentum_without_a_momentum_optimizer_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="optimizer 'adam' has none"):
        Trainer(config(tmp_path, momentum=0.9), blobs())


# -- what must not be lost -----------------------------------------------------------------------------------------------


def test_opening_a_run_deletes_nothing(tmp_path):
    Trainer(config(tmp_path, epochs=1), blobs()).fit()
    for name in (".my-settings.json", ".pre-commit.toml", ".dlkit-unfinished-x.json"):
        (tmp_path / "run" / name).write_text("mine")
    RunFolder.open(tmp_path / "run")
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {
        ".my-settings.json",
        ".pre-commit.toml",
        ".dlkit-unfinished-x.json",
    }


def test_resuming_clears_away_only_what_a_killed_run_was_writing(tmp_path, monkeypatch):
    data = blobs()
    monkeypatch.setattr("dlkit.train.loop.load_data", lambda c: data)
    Trainer(config(tmp_path)).fit(StopAt(2))
    for name in (".my-settings.json", ".dlkit-unfinished-x.safetensors"):
        (tmp_path / "run" / name).write_text("x")
    Trainer.resume(str(tmp_path / "run"), epochs=5).fit()
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert ".my-settings.json" in names
    assert ".dlkit-unfinished-x.safetensors" not in names
    assert "epochs = 5" in (tmp_path / "run" / "config.toml").read_text()


@pytest.mark.parametrize("name", ["config.toml", "history.csv", "metrics.json", "best.safetensors"])
def test_files_of_the_user_are_not_overwritten(tmp_path, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_text("mine")
    with pytest.raises(ConfigError, match="already holds"):
        Trainer(config(tmp_path), blobs()).fit()
    assert (tmp_path / "run" / name).read_text() == "mine"


@pytest.mark.parametrize("lr", [1e38, 1e39])
def test_weights_ruined_by_the_last_update_are_not_saved(tmp_path, lr):
    trainer = Trainer(
        config(tmp_path, epochs=1, batch_size=10_000, lr=lr, optimizer="sgd", schedule="constant"), blobs()
    )
    with (
        pytest.raises(DivergedError, match=r"by the last update of epoch 1; try a lower --lr"),
        np.errstate(all="ignore"),
    ):
        trainer.fit()
    assert not (tmp_path / "run" / "best.safetensors").exists()


def test_a_diverged_run_goes_on_with_a_lower_rate(tmp_path, monkeypatch):
    data = blobs()
    monkeypatch.setattr("dlkit.train.loop.load_data", lambda c: data)
    with pytest.raises(DivergedError), np.errstate(all="ignore"):
        Trainer(config(tmp_path, optimizer="sgd", lr=1e30)).fit()
    assert Trainer.resume(str(tmp_path / "run"), lr=0.1).fit().stopped == "finished"


def test_fewer_epochs_than_a_run_has_had_are_refused(tmp_path, monkeypatch):
    data = blobs()
    monkeypatch.setattr("dlkit.train.loop.load_data", lambda c: data)
    Trainer(config(tmp_path)).fit(StopAt(10))  # in the second epoch
    with pytest.raises(CheckpointError, match="has had 2 epochs"):
        Trainer.resume(str(tmp_path / "run"), epochs=1)


def test_a_run_that_stopped_early_needs_more_patience(tmp_path, monkeypatch):
    data = blobs(spread=0.9)
    monkeypatch.setattr("dlkit.train.loop.load_data", lambda c: data)
    stopped = Trainer(config(tmp_path, epochs=200, patience=3, lr=0.05)).fit()
    with pytest.raises(CheckpointError, match="larger --patience"):
        Trainer.resume(str(tmp_path / "run"))
    assert Trainer.resume(str(tmp_path / "run"), patience=5).fit().epochs > stopped.epochs


@pytest.mark.parametrize(
    "damage",
    [
        lambda m: m["progress"].update(more=1),
        lambda m: m["progress"].update(epoch=-5),
        lambda m: m["progress"].pop("history"),
    ],
)
def test_a_damaged_training_state_is_one_clear_error(tmp_path, monkeypatch, damage):
    from dlkit.train.checkpoint import load_checkpoint

    data = blobs()
    monkeypatch.setattr("dlkit.train.loop.load_data", lambda c: data)
    Trainer(config(tmp_path, epochs=2)).fit(StopAt(10))
    path = tmp_path / "run" / "last.safetensors"
    checkpoint = load_checkpoint(path)
    damage(vars(checkpoint))
    checkpoint.save(path)
    with pytest.raises(CheckpointError, match="training state is damaged"):
        Trainer.resume(str(tmp_path / "run"))


def test_one_class_is_no_problem_to_learn(tmp_path):
    with pytest.raises(DataError, match="at least two are needed"):
        Trainer(config(tmp_path), blobs(classes=1))
