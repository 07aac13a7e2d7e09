"""dlkit export, and predict and train with ONNX files, as a user calls them."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

TRAIN = ("train", "--data", "digits", "--epochs", 1, "--model", "lenet5", "--image-size", 12)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained network and its ONNX file."""
    from dlkit.cli.main import run as run_cli

    folder = tmp_path_factory.mktemp("onnx")
    assert run_cli([*map(str, TRAIN), "--out", str(folder / "run")]) == 0
    assert run_cli(["export", str(folder / "run"), "-o", str(folder / "digits.onnx")]) == 0
    return folder


@pytest.fixture
def pictures(tmp_path):
    from sklearn.datasets import load_digits

    paths = []
    for i, image in enumerate(load_digits().images[:4]):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray((image * 15.9).astype(np.uint8)).save(paths[-1])
    return paths


def small(tmp_path):
    """A hundred digits: enough where it is not the accuracy that counts."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    path = tmp_path / "small.npz"
    np.savez(path, x=(digits.images[:100] * 15).astype(np.uint8)[..., None], y=digits.target[:100])
    return path


def foreign(path, classes=3, softmax=False, size=12, channels=1):
    """A network as another tool writes it: no metadata, OIHW filters, Gemm with transposed weights, batch of 1."""
    rng = np.random.default_rng(0)
    weights = {
        "conv.w": rng.standard_normal((4, channels, 3, 3)),
        "conv.b": rng.standard_normal(4),
        "fc.w": rng.standard_normal((classes, 4)),
        "fc.b": np.zeros(classes),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv.w", "conv.b"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "fc.w", "fc.b"], ["y"], transB=1),
        *([helper.make_node("Softmax", ["y"], ["p"])] if softmax else []),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, size, size])],
        [helper.make_tensor_value_info("p" if softmax else "y", TensorProto.FLOAT, [1, classes])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


def test_export_says_what_it_wrote(dlkit, run, tmp_path):
    done = dlkit("export", run / "run", "-o", tmp_path / "m.onnx", "--json")
    result = json.loads(done.out)
    assert done.code == 0
    assert (result["opset"], result["file"]) == (21, str(tmp_path / "m.onnx"))
    assert result["difference"] < 1e-5
    assert result["bytes"] == (tmp_path / "m.onnx").stat().st_size
    onnx.checker.check_model(onnx.load(str(tmp_path / "m.onnx")), full_check=True)
    done = dlkit("export", run / "run")
    assert done.out.startswith(f"{run / 'run' / 'model.onnx'}: opset 21, ")
    assert "asked back: outputs differ by" in done.out


def test_predictions_of_the_file_are_the_runs_own(dlkit, run, pictures):
    answers = []
    for source in (run / "run", run / "digits.onnx"):
        done = dlkit("predict", source, *pictures, "--json")
        assert (done.code, done.err) == (0, "")
        answers.append(json.loads(done.out)["predictions"])
    for ours, theirs in zip(*answers):
        assert theirs["label"] == ours["label"]
        assert theirs["probabilities"] == pytest.approx(ours["probabilities"], abs=1e-5)


def test_fine_tuning_begins_where_the_file_ended(dlkit, run, tmp_path, pictures):
    before = json.loads((run / "run" / "metrics.json").read_text())
    done = dlkit(
        "train", "--data", "digits", "--from", run / "digits.onnx", "--epochs", 1, "--out", tmp_path / "tuned", "--json"
    )
    result = json.loads(done.out)
    assert done.code == 0
    assert result["model"] == "digits"
    assert any(f"starts from {run / 'digits.onnx'}" in note for note in result["notes"])
    assert "input normalised as the file says (standard)" in result["notes"]
    assert result["train_loss"] < 0.7 * before["train_loss"]
    assert result["test_accuracy"] > before["test_accuracy"]
    (run / "digits.onnx").rename(run / "away.onnx")  # a run needs nothing but its own folder
    try:
        assert dlkit("predict", tmp_path / "tuned", pictures[0]).code == 0
        assert dlkit("evaluate", tmp_path / "tuned").code == 0
        resumed = dlkit("train", "--resume", tmp_path / "tuned", "--epochs", 2, "--json")
        assert json.loads(resumed.out)["epochs"] == 2
        assert dlkit("export", tmp_path / "tuned", "-o", tmp_path / "again.onnx").code == 0
        assert dlkit("predict", tmp_path / "again.onnx", pictures[0]).code == 0
    finally:
        (run / "away.onnx").rename(run / "digits.onnx")


def test_a_run_that_went_on_is_the_run_that_never_stopped(dlkit, tmp_path):
    file = foreign(tmp_path / "f.onnx", classes=10)
    options = ("--data", small(tmp_path), "--from", file, "--seed", 3)
    assert dlkit("train", *options, "--epochs", 2, "--schedule", "constant", "--out", tmp_path / "whole").code == 0
    assert dlkit("train", *options, "--epochs", 1, "--schedule", "constant", "--out", tmp_path / "parts").code == 0
    assert dlkit("train", "--resume", tmp_path / "parts", "--epochs", 2).code == 0
    rows = [(tmp_path / name / "history.csv").read_text() for name in ("whole", "parts")]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("softmax", [False, True])
def test_another_number_of_classes_gets_a_new_last_layer(dlkit, tmp_path, softmax):
    file = foreign(tmp_path / "f.onnx", classes=3, softmax=softmax)
    done = dlkit("train", "--data", small(tmp_path), "--from", file, "--epochs", 2, "--out", tmp_path / "run", "--json")
    result = json.loads(done.out)
    assert "its last layer, for 3 classes, is replaced by a new one for 10" in result["notes"]
    assert result["parameters"] == 4 * 9 + 4 + 4 * 10 + 10
    assert "of 12×12×1" in done.err, "images are brought to the size the network takes"


def test_a_last_layer_that_cannot_be_replaced_is_kept_or_refused(dlkit, tmp_path):
    """Its weights are used twice: fine for as many classes as it has, an error for others."""
    for classes, code in ((10, 0), (3, 2)):
        path = foreign(tmp_path / f"{classes}.onnx", classes=classes)
        model = onnx.load(str(path))
        model.graph.node.append(helper.make_node("Gemm", ["d", "fc.w"], ["again"], transB=1))
        model.graph.node.append(helper.make_node("Add", ["y", "again"], ["z"]))
        model.graph.output[0].name = "z"
        onnx.save(model, str(path))
        done = dlkit(
            "train", "--data", small(tmp_path), "--from", path, "--epochs", 1, "--out", tmp_path / f"run{classes}"
        )
        assert done.code == code
        if code:
            assert done.err.startswith(f"dlkit: {path}: its last layer cannot be replaced by one for 10 classes")


@pytest.mark.parametrize("softmax", [False, True])
def test_a_foreign_file_is_asked_with_what_has_to_be_assumed_said(dlkit, tmp_path, pictures, softmax):
    done = dlkit("predict", foreign(tmp_path / "f.onnx", softmax=softmax), pictures[0], "--json")
    (answer,) = json.loads(done.out)["predictions"]
    assert set(answer["probabilities"]) == {"0", "1", "2"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert "names no classes; they are numbered" in done.err
    assert "does not say how its input is prepared; pixels are taken from 0 to 1" in done.err
    plain = dlkit("predict", foreign(tmp_path / "g.onnx", softmax=not softmax), pictures[0], "--json")
    assert json.loads(plain.out)["predictions"][0]["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-6)


def test_a_file_with_two_inputs_is_no_classifier(dlkit, tmp_path, pictures):
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3]) for n in "ab"],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
    )
    onnx.save(helper.make_model(graph), str(tmp_path / "two.onnx"))
    done = dlkit("predict", tmp_path / "two.onnx", pictures[0])
    assert (done.code, done.err) == (
        2,
        f"dlkit: {tmp_path / 'two.onnx'}: a classifier has one input and one output; this has 2, 1\n",
    )


def truncated(tmp_path):
    path = foreign(tmp_path / "f.onnx")
    path.write_bytes(path.read_bytes()[:150])
    return path, "truncated, damaged or not an ONNX file"


def missing(tmp_path):
    return tmp_path / "nowhere.onnx", "cannot be read (No such file or directory)"


def not_onnx(tmp_path):
    (tmp_path / "text.onnx").write_text("a text")
    return tmp_path / "text.onnx", "truncated, damaged or not an ONNX file"


def unknown_operator(tmp_path):
    path = foreign(tmp_path / "f.onnx")
    model = onnx.load(str(path))
    model.graph.node[1].op_type = "Rleu"
    onnx.save(model, str(path))
    return path, "there is no operator 'Rleu'"


def damaged_metadata(tmp_path):
    path = foreign(tmp_path / "f.onnx")
    model = onnx.load(str(path))
    helper.set_model_props(model, {"dlkit.normalizer": '{"mode": "standard"}'})
    onnx.save(model, str(path))
    return path, "its description of the normalisation is damaged"


def too_large(tmp_path):
    path = foreign(tmp_path / "f.onnx")
    model = onnx.load(str(path))
    model.graph.initializer[0].dims[0] = 2**40
    onnx.save(model, str(path))
    return path, "more than the limit"


@pytest.mark.parametrize("make", [truncated, missing, not_onnx, unknown_operator, damaged_metadata, too_large])
@pytest.mark.parametrize("command", ["predict", "train"])
def test_bad_files_end_in_one_line(dlkit, tmp_path, pictures, make, command):
    path, message = make(tmp_path)
    arguments = (path, pictures[0]) if command == "predict" else ("--from", path, "--data", "digits", "--epochs", 1)
    done = dlkit(command, *arguments)
    assert done.code == 2
    assert done.out == ""
    assert message in done.err
    assert done.err.count("\n") == 1
    assert done.err.startswith(f"dlkit: {path}: ")


def test_options_that_contradict_the_file(dlkit, tmp_path):
    file = foreign(tmp_path / "f.onnx")
    done = dlkit("train", "--from", file, "--model", "cnn")
    assert (done.code, "model was given, but the network comes from" in done.err) == (2, True)
    done = dlkit("train", "--from", file, "--image-size", 9)
    assert (done.code, "takes examples of 12×12×1" in done.err) == (2, True)


def test_export_refuses_what_is_no_run_or_no_onnx_name(dlkit, run, tmp_path):
    assert dlkit("export", tmp_path).code == 1
    done = dlkit("export", run / "run", "-o", tmp_path / "m.txt")
    assert (done.code, "an ONNX file's name ends in .onnx" in done.err) == (2, True)
    done = dlkit("export", run / "run", "-o", tmp_path / "no" / "m.onnx")
    assert (done.code, "cannot be written" in done.err) == (1, True)
