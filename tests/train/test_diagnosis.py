"""The table of errors and gaps: each kind of trouble is made on purpose and must be named."""

import numpy as np
import pytest

from dlkit.errors import CheckpointError, ConfigError, DataError
from dlkit.train import TrainConfig, Trainer
from dlkit.train.diagnose import SetError, diagnose, gaps_between


def points(path, n, seed, noise=0.1, turn=0.0, width=2, flip=0.0):
    """Which half-plane: n points, their line turned by `turn`, a share `flip` of the labels wrong."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, width))
    y = (x[:, 0] * np.cos(turn) + x[:, 1] * np.sin(turn) > 0).astype(int)
    wrong = rng.random(n) < flip
    np.savez(path, x=(x + noise * rng.standard_normal(x.shape)).astype(np.float32), y=np.array(["n", "p"])[y ^ wrong])
    return str(path)


def diagnosed(tmp_path, human=0.02, **options):
    values = {"model": "mlp", "hidden": (16,), "epochs": 15, "lr": 0.02, "schedule": "constant", "val_split": 0.2}
    out = str(tmp_path / "run")
    Trainer(TrainConfig(**{**values, **options, "out": out})).fit()
    return diagnose(out, human=human)


def gaps(found):
    return {g.name: g.value for g in found.gaps}


def test_a_network_that_cannot_learn_it_has_bias(tmp_path):
    data = points(tmp_path / "d.npz", 2000, 0)
    x = np.load(data)["x"]
    np.savez(data, x=x, y=np.array(["n", "p"])[((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(int)])  # no line divides these
    found = diagnosed(tmp_path, data=data, model="logistic", hidden=None)
    assert found.largest == "avoidable bias"
    assert any("larger network" in h for h in found.helps)
    assert gaps(found)["avoidable bias"] > 0.3


def test_a_network_that_learns_by_heart_has_variance(tmp_path):
    data = points(tmp_path / "d.npz", 400, 0, noise=0.5, width=60)
    found = diagnosed(tmp_path, data=data, hidden=(64,))
    assert found.largest == "variance"
    assert any("more training examples" in h for h in found.helps)


def test_dev_data_of_another_kind_are_a_mismatch(tmp_path):
    data, dev = points(tmp_path / "d.npz", 2000, 0), points(tmp_path / "dev.npz", 2000, 1, turn=1.0)
    found = diagnosed(tmp_path, data=data, dev_data=dev)
    assert found.largest == "data mismatch"
    assert [e.name for e in found.errors] == ["human", "train", "train-dev", "dev", "test"]
    assert gaps(found)["data mismatch"] == pytest.approx(1.0 / np.pi, abs=0.06)  # the angle's share of the circle
    without = diagnosed(tmp_path / "b", data=data, dev_data=dev, train_dev_split=0.0)
    assert without.largest == "variance"
    assert any("cannot be told apart" in note for note in without.notes)


def test_test_data_of_another_kind_are_told_from_overfitting_to_dev(tmp_path):
    data, test = points(tmp_path / "d.npz", 2000, 0), points(tmp_path / "t.npz", 2000, 1, turn=1.0)
    found = diagnosed(tmp_path, data=data, test_data=test)
    assert found.largest == "dev and test differ"


def test_a_good_network_has_no_gap_above_chance(tmp_path):
    found = diagnosed(tmp_path, data=points(tmp_path / "d.npz", 2000, 0, noise=0.0), human=0.02)
    assert (found.largest, found.helps) == (None, [])


def test_gaps_are_differences_and_chance_is_their_standard_error():
    errors = [
        SetError("human", 0.01, None, 0.0),
        SetError("train", 0.03, 900, 0.006),
        SetError("dev", 0.05, 400, 0.011),
    ]
    bias, variance = gaps_between(errors)
    assert (bias.name, bias.value) == ("avoidable bias", pytest.approx(0.02))
    assert (variance.name, variance.value) == ("variance", pytest.approx(0.02))
    assert variance.deviation == pytest.approx(np.sqrt(0.006**2 + 0.011**2))
    assert (bias.clear, variance.clear) == (True, False)


def test_the_errors_are_those_of_the_sets(tmp_path):
    found = diagnosed(tmp_path, data=points(tmp_path / "d.npz", 500, 0, flip=0.2), human=None)
    from dlkit.train.assess import assess

    for name, part in (("train", "train"), ("dev", "val"), ("test", "test")):
        error = next(e for e in found.errors if e.name == name)
        assessed = assess(str(tmp_path / "run"), split=part)
        assert (error.error, error.examples) == (pytest.approx(1 - assessed.accuracy), assessed.examples)
        assert error.deviation == pytest.approx(np.sqrt(error.error * (1 - error.error) / error.examples))
    assert any("human level not given" in note for note in found.notes)
    few = diagnose(str(tmp_path / "run"), examples=50)
    assert [e.examples for e in few.errors] == [None, 50, 50, 50]


def test_what_cannot_be_diagnosed(tmp_path):
    with pytest.raises(ConfigError, match="human"):
        diagnose(str(tmp_path), human=5.0)
    with pytest.raises(CheckpointError, match="no run here"):
        diagnose(str(tmp_path))
    with pytest.raises(DataError, match="without a dev set"):
        diagnosed(tmp_path, data=points(tmp_path / "d.npz", 50, 0), val_split=0.0, epochs=1)
