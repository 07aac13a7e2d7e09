"""Transfer learning: what is taken over and what is not, what stays frozen and until when, who learns how fast."""

import csv
import itertools

import numpy as np
import pytest
from safetensors.numpy import save_file

from dlkit import nn
from dlkit.data import ArraySource, Dataset
from dlkit.errors import CheckpointError, ConfigError
from dlkit.models import build_model
from dlkit.train import RunFolder, TrainConfig, Trainer
from dlkit.train.export import export_run
from dlkit.train.freeze import Freezing, head_of, parts_of
from dlkit.train.progress import Silent

SHAPE = (8, 8, 1)


def pictures(names, n=60, seed=0, channels=1):
    """A bright quarter of the picture says the class."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % len(names)
    x = rng.integers(0, 90, (n, 8, 8, channels)).astype(np.uint8)
    for k in range(len(names)):
        x[y == k, 4 * (k // 2) : 4 * (k // 2) + 4, 4 * (k % 2) : 4 * (k % 2) + 4] += 140
    return Dataset("quarters", list(names), ArraySource(x, y), ArraySource(x[:20], y[:20]))


def config(out, **options):
    values = {"epochs": 2, "batch_size": 16, "lr": 0.01, "val_split": 0.2, "out": str(out)}
    return TrainConfig(**{**values, **options})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("pretrained") / "run"
    Trainer(config(out, model="cnn", width=4), pictures("abc")).fit()
    return out


def started(run, out, names="xyz", **options):
    return Trainer(config(out, from_model=str(run), **options), pictures(names))


def same(a, b):
    return {name for name in a if a[name].shape == b[name].shape and (a[name] == b[name]).all()}


HEAD = {"layers.12.weight", "layers.12.bias"}


# -- taking over -----------------------------------------------------------------------------------------------------------


def test_all_but_the_head_is_taken_over(run, tmp_path):
    before = RunFolder.open(run).load_best().model_state
    for names in ("xyz", "abcd"):  # other names, another number
        trainer = started(run, tmp_path / names, names)
        after = trainer.model.state_dict()
        assert set(before) - same(before, after) <= HEAD
        assert "layers.12.weight" not in same(before, after)
        assert any("its last layer, for 3 classes (a, b, c), is replaced by a new one" in n for n in trainer.remarks())
        assert trainer.task.normalizer.state() == RunFolder.open(run).load_best().normalizer.state()


def test_the_same_classes_keep_the_head(run, tmp_path):
    trainer = started(run, tmp_path / "a", "abc")
    assert same(RunFolder.open(run).load_best().model_state, trainer.model.state_dict()) == set(
        trainer.model.state_dict()
    )
    assert not any("replaced" in note for note in trainer.remarks())


def test_a_checkpoint_file_is_as_good_as_its_run(run, tmp_path):
    a, b = (started(p, tmp_path / p.name).model.state_dict() for p in (run, run / "best.safetensors"))
    assert same(a, b) == set(a)


def test_a_run_started_from_another_needs_only_itself(run, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in run.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    data = tmp_path / "d.npz"
    np.savez(data, x=np.zeros((40, 8, 8), np.uint8) + np.arange(40, dtype=np.uint8)[:, None, None], y=np.arange(40) % 2)
    Trainer(config(tmp_path / "tuned", from_model=str(copy), data=str(data), freeze="all-but-head", epochs=1)).fit()
    for file in copy.iterdir():
        file.unlink()
    copy.rmdir()
    assert Trainer.resume(str(tmp_path / "tuned"), epochs=2).fit().epochs == 2
    from dlkit.train.assess import assess

    assert assess(str(tmp_path / "tuned")).examples == 8


def test_another_input_names_what_does_not_fit(run, tmp_path):
    with pytest.raises(CheckpointError, match=r"'layers.0.weight' has shape \(3, 3, 1, 4\), expected \(3, 3, 3, 4\)"):
        Trainer(config(tmp_path / "a", from_model=str(run)), pictures("xyz", channels=3))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "mlp"}, r"model \(=mlp\) was given, but the network of .* has cnn"),
        ({"dropout": 0.0}, r"dropout \(=0.0\) was given, but .* has its default"),
        ({"width": 8}, r"width \(=8\) was given, but the network of .* has 4; leave --width out"),
    ],
)
def test_options_that_contradict_the_run(run, tmp_path, options, said):
    with pytest.raises(ConfigError, match=said):
        started(run, tmp_path / "a", **options)


def test_dropout_may_differ(run, tmp_path):
    trainer = started(run, tmp_path / "a", dropout=0.6)
    assert [m.p for m in trainer.model.modules() if isinstance(m, nn.Dropout)] == [0.6, 0.6]


def foreign(**changes):
    """The tensors of the small cnn as PyTorch would have them."""
    model = build_model("cnn", SHAPE, 3, width=4)
    out = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            out[f"{name}.weight"] = np.ascontiguousarray(module.weight.numpy().transpose(3, 2, 0, 1))
        elif isinstance(module, nn.BatchNorm2d):
            for theirs, ours in (("weight", "gamma"), ("bias", "beta"), ("running_mean",) * 2, ("running_var",) * 2):
                out[f"{name}.{theirs}"] = np.array(getattr(module, ours).numpy())
            out[f"{name}.num_batches_tracked"] = np.array(7)
        elif isinstance(module, nn.Linear):
            out[f"{name}.weight"] = np.ascontiguousarray(module.weight.numpy().T)
            out[f"{name}.bias"] = np.array(module.bias.numpy())
    return model, {**out, **changes}


def test_a_safetensors_file_needs_the_networks_name_and_names_every_misfit(tmp_path):
    model, tensors = foreign()
    save_file(tensors, tmp_path / "w.safetensors")
    options = {"from_model": str(tmp_path / "w.safetensors"), "width": 4}
    with pytest.raises(ConfigError, match="does not say of which network; name it, such as --model"):
        Trainer(config(tmp_path / "a", **options), pictures("xyz"))
    trainer = Trainer(config(tmp_path / "a", model="cnn", **options), pictures("xyz"))
    assert same(model.state_dict(), trainer.model.state_dict()) == set(model.state_dict())
    other = Trainer(config(tmp_path / "a", model="cnn", **options), pictures("wxyz"))
    assert HEAD.isdisjoint(same(model.state_dict(), other.model.state_dict()))
    assert any("for 3 classes, is replaced by a new one for 4" in note for note in other.remarks())

    del tensors["layers.1.running_var"]
    tensors |= {"extra.weight": np.zeros(2, np.float32), "layers.2.weight": np.zeros((4, 4, 5, 5), np.float32)}
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError) as wrong:
        Trainer(config(tmp_path / "b", model="cnn", **options), pictures("xyz"))
    assert "missing 'layers.1.running_var'" in str(wrong.value)
    assert "unexpected 'extra.weight'" in str(wrong.value)
    assert "'layers.2.weight' has shape (5, 5, 4, 4), expected (3, 3, 4, 4)" in str(wrong.value)


def test_what_is_no_origin(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0notjson!")
    for path, error, said in (
        (tmp_path / "bad.safetensors", CheckpointError, "damaged, or not a safetensors file"),
        (tmp_path / "no.safetensors", CheckpointError, "no such file"),
        (tmp_path, CheckpointError, "no run here"),
        ("resnet18.a1", ConfigError, r"no name of published weights \(did you mean 'resnet18.a1_in1k'\?\)"),
    ):
        with pytest.raises(error, match=said):
            Trainer(config(tmp_path / "a", from_model=str(path)), pictures("xyz"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"freeze": "all-but-head"}, "freeze .* needs trained weights; give --from"),
        ({"lr_backbone": 0.1}, "lr_backbone .* needs trained weights"),
        ({"from_model": "r", "unfreeze_every": 2}, "sets free what --freeze froze"),
        ({"from_model": "r", "lr_backbone": 0.0}, "to keep the weights use --freeze"),
    ],
)
def test_options_without_a_meaning_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        TrainConfig(**options)


# -- freezing --------------------------------------------------------------------------------------------------------------


def test_the_head_is_what_depends_on_the_number_of_classes():
    for name, head in (("cnn", "layers.12"), ("mlp", "layers.3"), ("resnet20", "layers.12")):
        assert head_of(lambda n, name=name: build_model(name, SHAPE, n), 3) == {f"{head}.weight", f"{head}.bias"}


def test_parts_are_blocks_in_the_order_of_use():
    class Backwards(nn.Module):
        """Its attributes are in another order than its forward."""

        def __init__(self):
            self.last = nn.Linear(4, 2)
            self.blocks = [nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 4)]
            self.first = nn.Linear(3, 4)

        def forward(self, x):
            x = self.first(x)
            for block in self.blocks:
                x = block(x)
            return self.last(x)

    assert [p.name for p in parts_of(Backwards(), (3,))] == [
        "first",
        "blocks.0.layers.0",
        "blocks.0.layers.1",
        "blocks.1",
        "last",
    ]
    resnet = parts_of(build_model("resnet20", SHAPE, 3), SHAPE)
    assert [len(p.parameters) for p in resnet] == [1, 2, *[6] * 9, 2]


def test_frozen_layers_stay_bit_for_bit_also_their_averages(run, tmp_path):
    trainer = started(run, tmp_path / "a", freeze="all-but-head", weight_decay=0.1, l2=0.1)
    before = trainer.model.state_dict()
    trainer.fit()
    assert set(before) - same(before, trainer.model.state_dict()) == HEAD


def test_layers_are_frozen_up_to_the_one_named(run, tmp_path):
    trainer = started(run, tmp_path / "a", freeze="layers.2")
    before = trainer.model.state_dict()
    trainer.fit()
    kept = same(before, trainer.model.state_dict())
    assert kept == {n for n in before if n.split(".")[1] in ("0", "1", "2")}
    assert any("frozen: 188 parameters, up to layers.2" in note for note in trainer.remarks())


class PerEpoch(Silent):
    """The state after each epoch."""

    def __init__(self):
        self.states = []

    def epoch(self, trainer, row):
        self.states.append(trainer.model.state_dict())


def test_parts_are_set_free_one_by_one_from_the_last(run, tmp_path):
    trainer = started(run, tmp_path / "a", freeze="all-but-head", unfreeze_every=2, epochs=8)
    seen = PerEpoch()
    states = [trainer.model.state_dict()]
    trainer.fit(seen)
    states += seen.states
    moved = [{n.split(".")[1] for n in set(a) - same(a, b)} for a, b in itertools.pairwise(states)]
    parts = [p.name for p in trainer.tuning.freezing.frozen]
    assert [p.split(".")[1] for p in parts] == ["0", "1", "2", "3", "6", "7", "8", "9"]
    for epoch, names in enumerate(moved):
        free = parts[len(parts) - epoch // 2 :]
        assert names == {"12", *(p.split(".")[1] for p in free)}


def test_a_resumed_fine_tuning_equals_an_uninterrupted_one(run, tmp_path, monkeypatch):
    class StopAt(Silent):
        def __init__(self, steps):
            self.left = steps

        def step(self, trainer, batch, batches, loss):
            self.left -= 1
            if not self.left:
                trainer.stop()

    data = pictures("xyz")
    monkeypatch.setattr("dlkit.train.loop.load_data", lambda c: data)
    options = {"from_model": str(run), "freeze": "all-but-head", "unfreeze_every": 1, "lr_backbone": 0.002, "epochs": 5}
    Trainer(config(tmp_path / "whole", **options)).fit()
    Trainer(config(tmp_path / "parts", **options)).fit(StopAt(7))
    Trainer.resume(str(tmp_path / "parts")).fit()
    histories = [(tmp_path / name / "history.csv").read_text() for name in ("whole", "parts")]
    assert histories[0] == histories[1]
    assert len(list(csv.DictReader(histories[0].splitlines()))) == 5


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("layers.99", r"no such layer \(did you mean"),
        ("layers.12", "nothing would be left to train"),
    ],
)
def test_freezing_what_is_not_there_or_everything_is_refused(run, tmp_path, until, said):
    with pytest.raises(ConfigError, match=said):
        started(run, tmp_path / "a", freeze=until)
    with pytest.raises(ConfigError, match="which layer makes the classes cannot be told"):
        Freezing(build_model("cnn", SHAPE, 3, width=4), SHAPE, set(), "all-but-head")


def test_the_backbone_has_a_rate_of_its_own(run, tmp_path):
    """Plain SGD, one step: every tensor moves by its rate times its gradient."""
    moved = {}
    for name, backbone in (("same", None), ("slow", 0.001)):
        options = {
            "optimizer": "sgd",
            "schedule": "constant",
            "lr": 0.01,
            "batch_size": 64,
            "epochs": 1,
        }
        trainer = started(run, tmp_path / name, lr_backbone=backbone, **options)
        before = trainer.model.state_dict()
        trainer.fit()
        after = trainer.model.state_dict()
        moved[name] = {n: after[n] - before[n] for n, _ in trainer.model.named_parameters()}
    for n in moved["same"]:
        expected = moved["same"][n] * (1.0 if n in HEAD else 0.1)
        np.testing.assert_allclose(moved["slow"][n], expected, rtol=2e-2, atol=2e-6, err_msg=n)
    assert np.abs(moved["same"]["layers.0.weight"]).max() > 1e-4


def test_an_imported_network_is_frozen_too(run, tmp_path):
    file = tmp_path / "net.onnx"
    export_run(str(run), str(file))
    options = {"from_model": str(file), "lr": 0.05}
    trainer = Trainer(config(tmp_path / "a", freeze="all-but-head", **options), pictures("xyz"))
    assert any("is replaced by a new one for 3" in note for note in trainer.remarks())
    before = trainer.model.state_dict()
    trainer.fit()
    after = trainer.model.state_dict()
    assert {before[n].size for n in set(before) - same(before, after)} == {24, 3}
    again = started(tmp_path / "a", tmp_path / "c", "xyz", freeze="all-but-head")  # a run that came from the file
    assert same(RunFolder.open(tmp_path / "a").load_best().model_state, again.model.state_dict()) == set(after)
    again.fit()
    free = Trainer(config(tmp_path / "b", **options), pictures("xyz"))
    before = free.model.state_dict()
    free.fit()
    assert not same(before, free.model.state_dict())
