"""Error analysis: what is suspect, what is written, what a tagged table says, what is refused."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlkit.errors import CheckpointError, ConfigError, DataError
from dlkit.train import Evaluation, TrainConfig, Trainer
from dlkit.train.assess import assess
from dlkit.train.diagnose import diagnose
from dlkit.train.mistakes import analyse, suspects
from dlkit.train.tags import gains, read_tags

FLIPPED = {4: 0, 15: 1, 28: 2}  # test examples and the wrong labels they get
CLASSES = np.array(["left", "lower", "right"])


def corners(n, seed, size=8):
    """Pictures with one bright corner of three; the class says which. Every seventh is hard: no
    brighter than the rest."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    x = rng.integers(0, 80, (n, size, size, 1)).astype(np.uint8)
    hard = np.arange(n) % 7 == 3
    for i, (a, b) in enumerate([(0, 0), (4, 0), (0, 4)]):
        x[(labels == i) & ~hard, a : a + 4, b : b + 4] += 150
    return x, labels


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A network that has learnt the corners, and a test set in which three labels are wrong."""
    folder = tmp_path_factory.mktemp("errors")
    x, y = corners(180, 0)
    test_x, test_y = corners(60, 1)
    test_y[list(FLIPPED)] = list(FLIPPED.values())
    np.savez(folder / "corners.npz", x_train=x, y_train=CLASSES[y], x_test=test_x, y_test=CLASSES[test_y])
    out = folder / "run"
    Trainer(TrainConfig(data=str(folder / "corners.npz"), model="mlp", epochs=8, lr=0.01, out=str(out))).fit()
    return out


@pytest.fixture(scope="module")
def written(run):
    return analyse(str(run))


@pytest.fixture
def table(written, tmp_path):
    """A copy of the table to tag."""
    return Path(shutil.copy(written.table, tmp_path / "errors.csv"))


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def write(path, rows, delimiter=",", encoding="utf-8"):
    with open(path, "w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def test_suspects_are_those_of_the_definition(rng):
    """Example by example, as the paper's equations say it."""
    p = rng.dirichlet([0.4] * 4, 200).astype(np.float32)
    labels = rng.integers(0, 3, 200)  # nothing is labelled 3
    found = suspects(Evaluation(0.0, 0.0, p, labels))
    bar = {j: sum(float(p[i, j]) for i in range(200) if labels[i] == j) / (labels == j).sum() for j in range(3)}
    for i in range(200):
        above = [j for j in range(3) if p[i, j] >= bar[j]]
        expected = bool(above) and max(above, key=lambda j: p[i, j]) != labels[i]
        assert found[i] == expected, i
    assert 20 < found.sum() < 180


def test_wrong_labels_come_first(run, table):
    rows = rows_of(table)
    assert {int(row["example"]) for row in rows[: len(FLIPPED)]} == set(FLIPPED)
    assert [row["suspect"] for row in rows[: len(FLIPPED)]] == ["yes"] * 3
    sure = [float(row["confidence"]) for row in rows[: len(FLIPPED)]]
    assert sure == sorted(sure, reverse=True)
    assert len(rows) > len(FLIPPED)  # the hard ones


def test_the_table_holds_every_mistake_grouped_by_confusion(run, written, table):
    from dlkit.train.examine import examine

    found = written
    examined = examine(str(run))
    expected = {
        (i, CLASSES[t], CLASSES[p])
        for i, (t, p) in enumerate(zip(examined.result.labels, examined.result.predictions))
        if t != p
    }
    rows = rows_of(table)
    assert {(int(r["example"]), r["true"], r["predicted"]) for r in rows} == expected
    assert found.mistakes == len(expected) == sum(c.count for c in found.confusions)
    counts = [c.count for c in found.confusions]
    assert counts == sorted(counts, reverse=True)
    assert sum(c.share for c in found.confusions) == pytest.approx(1)
    rest = [(r["true"], r["predicted"]) for r in rows if not r["suspect"]]
    groups = list(dict.fromkeys(rest))
    assert rest == [pair for pair in groups for _ in range(rest.count(pair))]  # each confusion in one piece


def test_the_contact_sheet_has_a_row_for_each_confusion_and_marks_suspects(written):
    with Image.open(written.picture) as image:
        picture = np.asarray(image.convert("RGB")).astype(int)
    red = (picture[..., 0] > 200) & (picture[..., 1] < 60) & (picture[..., 2] < 60)
    rows = 1 + len(written.confusions)
    height = len(picture) / rows
    frames = [red[int(i * height) : int((i + 1) * height)].sum() for i in range(rows)]
    one = frames[0] / len(written.suspects)  # the first row shows them all
    assert one > 100
    for confusion, pixels in zip(written.confusions, frames[1:]):
        marked = sum((m.true, m.predicted) == (confusion.true, confusion.predicted) for m in written.suspects)
        assert pixels == pytest.approx(marked * one, rel=0.05)


def test_a_tag_gains_its_share_of_the_error(run, table):
    rows = rows_of(table)
    n, total = len(rows), 60
    for i, row in enumerate(rows):
        row["tags"] = "Label; dark" if i < 3 else "dark" if i == 3 else "odd"
    write(table, rows)
    found = gains(str(run), str(table))
    assert (found.mistakes, found.tagged, found.examples) == (n, n, total)
    by_tag = {g.tag: g for g in found.gains}
    assert list(by_tag) == sorted(by_tag, key=lambda t: -by_tag[t].gain)
    assert by_tag["label"].gain == pytest.approx(3 / total)
    assert by_tag["dark"].gain == pytest.approx(4 / total)
    assert by_tag["dark"].error == pytest.approx((n - 4) / total)
    assert by_tag["odd"].accuracy == pytest.approx(1 - 4 / total)


def test_some_tagged_mistakes_stand_for_all(run, table):
    rows = rows_of(table)
    for i, row in enumerate(rows):
        row["tags"] = {0: "a", 1: "a", 2: "b", 3: "b;a"}.get(i, "")
    write(table, rows, delimiter=";", encoding="utf-8-sig")  # as a spreadsheet may save it
    found = gains(str(run), str(table))
    assert found.tagged == 4
    assert {g.tag: g.gain for g in found.gains} == pytest.approx({"a": 0.75 * found.error, "b": 0.5 * found.error})


def test_a_sample_is_drawn_from_all_mistakes(run, tmp_path):
    out = str(tmp_path / "t.csv")
    drawn = []
    for seed in (0, 1, 0):
        assert analyse(str(run), out=out, sample=4, seed=seed).rows == 4
        drawn.append([row["example"] for row in rows_of(tmp_path / "t.csv")])
    assert drawn[0] == drawn[2] != drawn[1]
    assert max(len(set(d)) for d in drawn) == 4
    found = analyse(str(run), out=out, sample=1000)
    assert found.rows == found.mistakes > 4


def test_a_tagged_table_is_never_overwritten(run, table):
    rows = rows_of(table)
    rows[0]["tags"] = "mine"
    write(table, rows)
    before = table.read_bytes()
    with pytest.raises(ConfigError, match="holds tags, which would be lost"):
        analyse(str(run), out=str(table))
    assert table.read_bytes() == before


def changed(row, **values):
    return [{**row, **values}]


REFUSED = {
    "no tags": (lambda rows: rows, "no row has a tag"),
    "not a mistake": (lambda rows: changed(rows[0], example=0, tags="x"), "line 2: example 0 .* is no such mistake"),
    "another class": (lambda rows: changed(rows[0], true="up", tags="x"), r"\(up taken for"),
    "out of range": (lambda rows: changed(rows[0], example=10**9, tags="x"), "is no such mistake"),
    "twice": (lambda rows: [rows[0], *changed(rows[0], tags="x")], "line 3: .* stands in line 2 already"),
    "no number": (lambda rows: changed(rows[0], example="first"), "line 2: example is 'first'"),
    "no column": (lambda rows: [{"example": 1, "true": "a", "predicted": "b"}], "no column 'tags'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_does_not_belong_is_refused(run, table, case):
    change, said = REFUSED[case]
    write(table, change(rows_of(table)))
    with pytest.raises(DataError, match=said):
        gains(str(run), str(table))


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_tags(tmp_path / "none.csv")
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        read_tags(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(DataError, match="no column 'example'"):
        read_tags(tmp_path / "t.csv")


def test_a_network_without_mistakes_and_one_on_features(tmp_path):
    x = np.repeat(np.eye(2, dtype=np.float32), 40, axis=0)
    np.savez(tmp_path / "easy.npz", x=x, y=np.repeat([0, 1], 40))
    out = str(tmp_path / "run")
    Trainer(TrainConfig(data=str(tmp_path / "easy.npz"), epochs=5, lr=0.05, out=out)).fit()
    found = analyse(out)
    assert (found.mistakes, found.rows, found.picture, found.suspects) == (0, 0, None, [])
    assert rows_of(tmp_path / "run" / "errors.csv") == []


@pytest.fixture
def folder(tmp_path, rng):
    """Noise in two classes: nothing can be learnt of it."""
    for name in "ab":
        (tmp_path / "noise" / name).mkdir(parents=True)
        for i in range(40):
            Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)).save(
                tmp_path / "noise" / name / f"{i:03}.png"
            )
    config = TrainConfig(data=str(tmp_path / "noise"), model="mlp", epochs=2, out=str(tmp_path / "run"))
    Trainer(config).fit()
    return tmp_path


def test_a_set_drawn_anew_from_changed_data_is_refused(folder):
    """It would hold what the network was trained on."""
    run = str(folder / "run")
    before = assess(run)
    shutil.copy(folder / "noise" / "a" / "000.png", folder / "noise" / "a" / "000b.png")
    for look in (lambda: assess(run), lambda: assess(run, split="val"), lambda: analyse(run), lambda: diagnose(run)):
        with pytest.raises(DataError, match="the data have changed since the run"):
            look()
    with pytest.raises(CheckpointError, match="has changed since this run began"):
        Trainer.resume(run, epochs=3)
    (folder / "noise" / "a" / "000b.png").unlink()
    assert assess(run).accuracy == before.accuracy


def test_sets_from_elsewhere_are_held_against_what_they_were_drawn_from(tmp_path):
    rng = np.random.default_rng(0)

    def table(name, n):
        y = np.arange(n) % 2
        np.savez(tmp_path / name, x=(y[:, None] + rng.random((n, 2))).astype(np.float32), y=np.array(["a", "b"])[y])
        return str(tmp_path / name)

    ours, dev, test = table("ours.npz", 80), table("dev.npz", 60), table("test.npz", 40)
    drawn, apart = (str(tmp_path / name) for name in ("drawn", "apart"))
    Trainer(TrainConfig(data=ours, dev_data=dev, epochs=1, out=drawn)).fit()
    Trainer(TrainConfig(data=ours, dev_data=dev, test_data=test, epochs=1, out=apart)).fit()
    table("ours.npz", 90)  # nothing of val and test was drawn from it
    for run in (drawn, apart):
        assert assess(run, split="val").examples > 0
        assert assess(run).examples > 0
        with pytest.raises(DataError, match=r"ours.npz: the data have changed"):
            assess(run, split="train")
    table("dev.npz", 66)
    for part in ("val", "test"):
        with pytest.raises(DataError, match=r"dev.npz: the data have changed"):
            assess(drawn, split=part)
    assert assess(apart).examples == 40


def test_labels_of_a_test_set_of_its_own_may_be_corrected(run, tmp_path):
    copied = Path(shutil.copytree(run.parent, tmp_path / "all"))
    _, y = corners(60, 1)
    arrays = dict(np.load(run.parent / "corners.npz"))
    before = assess(str(run)).accuracy
    try:
        np.savez(run.parent / "corners.npz", **{**arrays, "y_test": CLASSES[y]})
        assert assess(str(run)).accuracy > before
    finally:
        shutil.copy(copied / "corners.npz", run.parent / "corners.npz")


def test_of_other_data_all_is_examined_or_their_test_set(folder, tmp_path):
    run = str(folder / "run")
    assert assess(run).examples == 16
    shutil.copytree(folder / "noise", folder / "other")
    assert assess(run, data=str(folder / "other")).examples == 80
    assert assess(run, data=str(folder / "run" / ".." / "noise")).examples == 16  # the run's own
    with pytest.raises(ConfigError, match="val is a part of the run's own data"):
        assess(run, data=str(folder / "other"), split="val")
    (folder / "both" / "train").parent.mkdir()
    shutil.copytree(folder / "noise", folder / "both" / "train")
    shutil.copytree(folder / "noise", folder / "both" / "test")
    for path in (folder / "both" / "test").glob("*/03*.png"):
        path.unlink()
    assert assess(run, data=str(folder / "both")).examples == 60
