"""Train, train-dev, dev and test: who is where, and what other sources must have in common."""

import numpy as np
import pytest
from PIL import Image

from dlkit.errors import ConfigError, DataError
from dlkit.train import TrainConfig, Trainer
from dlkit.train.assess import assess
from dlkit.train.predict import predict
from dlkit.train.splits import load_data, split

NAMES = np.array(["a", "b", "c"])


def table(path, n, offset, classes=NAMES, test=0):
    """n examples [number, class number] whose numbers begin at `offset`; the last `test` of them are a test set."""
    y = np.arange(n) % len(classes)
    x = np.stack([offset + np.arange(n), y], axis=1).astype(np.float32)
    parts = {"x": x, "y": classes[y]}
    if test:
        parts = {"x_train": x[:-test], "y_train": classes[y[:-test]], "x_test": x[-test:], "y_test": classes[y[-test:]]}
    np.savez(path, **parts)
    return str(path)


@pytest.fixture
def paths(tmp_path):
    """90 training examples 0 ... 89 of which 30 are its own test set; dev 100 ... 159; test 200 ... 229."""
    return {
        "data": table(tmp_path / "train.npz", 90, 0, test=30),
        "dev_data": table(tmp_path / "dev.npz", 60, 100),
        "test_data": table(tmp_path / "test.npz", 30, 200),
    }


def numbers(source):
    """Which examples are in it; their labels must have stayed with them."""
    if source is None:
        return set()
    x = source.read(range(len(source)))
    np.testing.assert_array_equal(x[:, 1], source.labels)
    assert len(set(x[:, 0])) == len(x)
    return set(x[:, 0].astype(int).tolist())


def parts(**options):
    config = TrainConfig(**options)
    data = load_data(config)
    return {name: numbers(split(data, config).named(name)) for name in ("train", "train-dev", "val", "test")}, data


TRAIN, OWN_TEST, DEV, TEST = set(range(60)), set(range(60, 90)), set(range(100, 160)), set(range(200, 230))


def test_by_default_all_are_of_one_source(paths):
    got, _ = parts(data=paths["data"])
    assert got["test"] == OWN_TEST
    assert got["train"] | got["val"] == TRAIN
    assert not got["train"] & got["val"]
    assert (len(got["val"]), got["train-dev"]) == (6, set())


def test_a_train_dev_set_is_held_back_beside_the_dev_set(paths):
    got, _ = parts(data=paths["data"], train_dev_split=0.2)
    assert got["train"] | got["val"] | got["train-dev"] == TRAIN
    assert len(got["train"]) + len(got["val"]) + len(got["train-dev"]) == 60
    assert len(got["train-dev"]) in range(9, 13)
    before, _ = parts(data=paths["data"])
    assert got["val"] == before["val"]  # the dev set stays what it was


def test_dev_data_is_split_into_dev_and_test(paths):
    got, data = parts(data=paths["data"], dev_data=paths["dev_data"])
    assert got["val"] | got["test"] == DEV
    assert (len(got["val"]), len(got["test"])) == (48, 12)
    assert got["train"] | got["train-dev"] == TRAIN
    assert len(got["train-dev"]) == 6  # as much as would have been the dev set
    assert any("test set of" in note and "left out" in note for note in data.remarks())


def test_dev_and_test_data(paths):
    got, _ = parts(**paths, train_dev_split=0.0)
    assert got == {"train": TRAIN, "train-dev": set(), "val": DEV, "test": TEST}


def test_test_data_alone(paths):
    got, _ = parts(data=paths["dev_data"], test_data=paths["data"])  # which has a test part of its own
    assert got["test"] == OWN_TEST
    assert got["train"] | got["val"] == DEV  # nothing is held back for a test


def test_the_order_of_classes_is_the_same_in_all_sources(paths):
    data = load_data(TrainConfig(**paths, classes="c,a"))
    assert data.classes == ["c", "a"]
    for source in (data.train, data.dev, data.test):
        names = NAMES[source.read(range(len(source)))[:, 1].astype(int)]
        assert source.labels.tolist() == [{"c": 0, "a": 1}[name] for name in names]


def test_limit_per_class_is_for_training_alone(paths):
    config = TrainConfig(**paths, limit_per_class=5, train_dev_split=0.0)
    data = load_data(config)
    splits = split(data, config)
    assert np.bincount(splits.train.labels).tolist() == [5, 5, 5]
    assert (len(splits.dev), len(splits.test)) == (60, 30)


def test_differing_classes_are_named(paths, tmp_path):
    other = table(tmp_path / "other.npz", 40, 0, np.array(["a", "b", "dog", "emu"]))
    for option in ("dev_data", "test_data"):
        with pytest.raises(DataError, match=r"other.npz: .* lacks c and has dog, emu besides.*--classes"):
            load_data(TrainConfig(data=paths["data"], **{option: other}))
    fewer = table(tmp_path / "fewer.npz", 40, 0, NAMES[:2])
    with pytest.raises(DataError, match=r"it lacks c;"):
        load_data(TrainConfig(data=paths["data"], dev_data=fewer))
    both = load_data(TrainConfig(data=paths["data"], dev_data=fewer, classes="a,b"))
    assert both.classes == ["a", "b"]


def test_other_shapes_are_refused_and_pictures_brought_to_size(paths, tmp_path):
    np.savez(tmp_path / "wide.npz", x=np.zeros((6, 3), np.float32), y=np.repeat(NAMES, 2))
    with pytest.raises(DataError, match=r"wide.npz: examples of shape \(3,\); those trained on have \(2,\)"):
        load_data(TrainConfig(data=paths["data"], dev_data=str(tmp_path / "wide.npz")))
    for folder, size, mode in (("big", (12, 10), "RGB"), ("small", (6, 6), "L")):
        for name in NAMES:
            for i in range(6):
                path = tmp_path / folder / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new(mode, size, 50 * i).save(path)
    data = load_data(TrainConfig(data=str(tmp_path / "big"), dev_data=str(tmp_path / "small")))
    assert data.dev.shape == data.test.shape == data.train.shape == (10, 12, 3)


def test_the_same_examples_twice_are_refused(paths):
    for options, said in (
        ({"dev_data": paths["data"]}, "dev_data and data are both .*leave --dev-data out"),
        ({"test_data": paths["data"]}, "test_data and data are both"),
        ({"dev_data": paths["dev_data"], "test_data": paths["dev_data"]}, "a part of --dev-data is then held back"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_data(TrainConfig(data=paths["data"], **options))


def test_a_share_that_leaves_nothing_is_refused(tmp_path):
    one_each = table(tmp_path / "one.npz", 3, 0)
    config = TrainConfig(data=one_each, test_split=0.0, val_split=0.0, train_dev_split=0.5)
    with pytest.raises(ConfigError, match=r"train_dev_split .* leaves nothing on one side; use --train-dev-split 0"):
        split(load_data(config), config)


def test_a_table_whose_columns_stand_in_another_order_is_refused(tmp_path):
    """Their places say which is which: read by place alone, it would be measured on nonsense without a word."""
    rows = [(i, -i, "ab"[i % 2]) for i in range(40)]

    def table(name, header, order):
        lines = [header, *(",".join(str(row[k]) for k in order) for row in rows)]
        (tmp_path / name).write_text("\n".join(line for line in lines if line) + "\n")
        return str(tmp_path / name)

    train = table("train.csv", "u,v,label", (0, 1, 2))
    same, other, bare = (
        table("same.csv", "u,v,label", (0, 1, 2)),
        table("other.csv", "v,u,label", (1, 0, 2)),
        table("bare.csv", "", (0, 1, 2)),
    )
    options = {"epochs": 1, "out": str(tmp_path / "run")}
    Trainer(TrainConfig(data=train, **options)).fit()
    run = options["out"]
    for good in (same, bare):
        assert assess(run, data=good).examples == 40
        assert len(load_data(TrainConfig(data=train, test_data=good)).test) == 40
    message = "its columns are v, u, those trained on u, v"
    with pytest.raises(DataError, match=message):
        assess(run, data=other)
    with pytest.raises(DataError, match=message):
        load_data(TrainConfig(data=train, test_data=other))
    numbered = table("numbered.csv", "1,2,label", (0, 1, 2))
    Trainer(TrainConfig(data=numbered, epochs=1, out=str(tmp_path / "numbered"))).fit()
    (tmp_path / "new.csv").write_text("1,2\n1,2\n3,4\n")
    assert (
        len(predict(str(tmp_path / "numbered"), [str(tmp_path / "new.csv")])) == 2
    )  # the first is the header trained on
    for header, wrong in (("u,v\n", False), ("v,u\n", True), ("", False)):
        (tmp_path / "new.csv").write_text(header + "1,2\n3,4\n")
        errors = [p.error for p in predict(run, [str(tmp_path / "new.csv")])]
        assert [bool(e) for e in errors] == ([True] if wrong else [False, False])
        assert not wrong or message in errors[0]
