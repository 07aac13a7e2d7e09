"""Files from anywhere: damaged, hostile, or asking for more than dlkit does. One line each, and no memory gone."""

import ast
import subprocess
import sys
from pathlib import Path

import mutants
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dlkit.errors import OnnxError, UnsupportedOnnx
from dlkit.onnx import Limits, load, load_bytes

FLOAT = TensorProto.FLOAT


def model(nodes, weights=(), inputs=(("x", FLOAT, [2, 3]),), outputs=("y",), opset=21, domain=""):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(o, FLOAT, None) for o in outputs],
        list(weights),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, opset)])


def relu(**changes):
    return model([helper.make_node("Relu", ["x"], ["y"])], **changes)


def cycle():
    return model([helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Neg", ["a"], ["b"])], outputs=("b",))


def unknown_operator():
    return model([helper.make_node("Rleu", ["x"], ["y"])])


def known_but_not_done():
    return model([helper.make_node("LSTM", ["x", "x", "x"], ["y"], hidden_size=3)])


def too_new():
    return relu(opset=99)


def too_old():
    return model([helper.make_node("Add", ["x", "x"], ["y"])], opset=3)


def unknown_attribute():
    return model([helper.make_node("Relu", ["x"], ["y"], speed=3)])


def missing_attribute():
    return model([helper.make_node("Concat", ["x", "x"], ["y"])])


def a_loop():
    body = helper.make_graph([], "body", [], [])
    return model([helper.make_node("Loop", ["", "", "x"], ["y"], body=body)])


def sequence_input():
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_sequence_value_info("x", FLOAT, None)],
        [helper.make_tensor_sequence_value_info("y", FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def huge_weight():
    weight = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    weight.dims[0] = 2**40
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [weight])


def short_weight():
    weight = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    weight.dims[0] = 4
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [weight])


def negative_weight():
    weight = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    weight.dims[0] = -2
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [weight])


def text_weight():
    weight = helper.make_tensor("w", TensorProto.STRING, [1], [b"no"])
    return model([helper.make_node("Identity", ["w"], ["y"])], [weight])


def outside():
    weight = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    onnx.external_data_helper.set_external_data(weight, "../secret.bin")
    weight.ClearField("raw_data")
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [weight])


def no_output():
    return model([helper.make_node("Relu", ["x"], ["y"])], outputs=("z",))


def made_twice():
    return model([helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])])


def foreign_domain():
    return model([helper.make_node("Relu", ["x"], ["y"], domain="my.own")])


def line_break_in_a_name():
    return model([helper.make_node("Re\nlu", ["x"], ["y"])])


BAD = [
    (cycle, OnnxError, "input 'b' is made by no node before it .a cycle"),
    (unknown_operator, OnnxError, r"Rleu \(ai.onnx 21\): there is no operator 'Rleu'"),
    (known_but_not_done, UnsupportedOnnx, r"LSTM \(ai.onnx 21\): this operator is not done"),
    (too_new, UnsupportedOnnx, r"Relu \(ai.onnx 99\): opset 99 is not known; 6 to"),
    (too_old, UnsupportedOnnx, r"Add \(ai.onnx 3\): opset 3 is not known"),
    (unknown_attribute, UnsupportedOnnx, "attribute 'speed' is not known"),
    (missing_attribute, OnnxError, "attribute 'axis' is missing"),
    (a_loop, UnsupportedOnnx, r"Loop \(ai.onnx 21\): this operator is not done"),
    (sequence_input, UnsupportedOnnx, "'x' is a sequence, not a tensor"),
    (huge_weight, UnsupportedOnnx, "more than the limit of 4.0 GiB"),
    (short_weight, OnnxError, r"tensor 'w' of shape \(4, 3\) needs 48 bytes, the file holds 24"),
    (negative_weight, OnnxError, r"tensor 'w' has shape \(-2, 3\)"),
    (text_weight, UnsupportedOnnx, "values of type STRING are not done"),
    (outside, OnnxError, "outside the model's folder"),
    (no_output, OnnxError, "output 'z' is made by no node"),
    (made_twice, OnnxError, "the value 'y' is made twice"),
    (foreign_domain, OnnxError, "imports no operators of domain 'my.own'"),
    (line_break_in_a_name, OnnxError, "there is no operator"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD, ids=lambda v: getattr(v, "__name__", ""))
def test_a_bad_file_is_refused_in_one_line(tmp_path, make, error, message):
    (tmp_path / "secret.bin").write_bytes(bytes(24))
    path = tmp_path / "in" / "bad.onnx"
    path.parent.mkdir()
    path.write_bytes(make().SerializeToString())
    with pytest.raises(error, match=message) as caught:
        load(path)
    assert type(caught.value) is error
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_every_prefix_of_a_file_is_refused_or_sound():
    data = relu().SerializeToString()
    for n in range(len(data)):
        try:
            load_bytes(data[:n])
        except OnnxError:
            continue
    load_bytes(data)


def asking(op, value, **attributes):
    """A node that makes a value as large as a number in the file says."""
    weight = numpy_helper.from_array(np.array(value, np.int64), "n")
    inputs = ["n"] if op == "ConstantOfShape" else ["x", "n"]
    return model([helper.make_node(op, inputs, ["y"], **attributes)], [weight])


@pytest.mark.parametrize(
    "make",
    [
        lambda: asking("ConstantOfShape", [2**20, 2**20]),
        lambda: asking("Expand", [2**31, 2, 3]),
        lambda: asking("Tile", [2**40, 1]),
        lambda: asking("Pad", [0, 0, 2**40, 0]),
        lambda: asking("Unsqueeze", list(range(2, 60))),
    ],
    ids=["ConstantOfShape", "Expand", "Tile", "Pad", "Unsqueeze"],
)
def test_a_value_larger_than_the_limit_is_never_made(make):
    module = load_bytes(make().SerializeToString(), limits=Limits(value=30_000))
    inputs = [np.zeros((2, 3), np.float32)][: len(module.graph.inputs)]
    with pytest.raises(UnsupportedOnnx, match=r"more than the limit|too many|more than 32"):
        module(*inputs)


def test_a_product_longer_than_the_limit_is_never_begun():
    data = model(
        [helper.make_node("MatMul", ["x", "x"], ["y"])], inputs=(("x", FLOAT, [100, 100]),)
    ).SerializeToString()
    x = np.zeros((100, 100), np.float32)
    load_bytes(data)(x)
    with pytest.raises(UnsupportedOnnx, match=r"2.0e\+06 operations in one node are more than the limit"):
        load_bytes(data, limits=Limits(work=1e6))(x)


def test_weights_in_another_file_of_the_folder_are_read(tmp_path):
    weight = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "w")
    m = model([helper.make_node("Add", ["x", "w"], ["y"])], [weight])
    onnx.save(m, str(tmp_path / "m.onnx"), save_as_external_data=True, location="m.bin", size_threshold=0)
    assert (tmp_path / "m.bin").stat().st_size >= 24
    y = load(tmp_path / "m.onnx")(np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(y.numpy(), 1 + np.arange(6).reshape(2, 3))
    (tmp_path / "m.bin").write_bytes(bytes(20))
    with pytest.raises(OnnxError, match="does not hold them"):
        load(tmp_path / "m.onnx")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    weight = numpy_helper.from_array(np.ones(6, np.float32), "w")
    m = model([helper.make_node("Identity", ["w"], ["y"])], [weight])
    (tmp_path / "in").mkdir()
    onnx.save(m, str(tmp_path / "in" / "m.onnx"), save_as_external_data=True, location="m.bin", size_threshold=0)
    (tmp_path / "in" / "m.bin").rename(tmp_path / "m.bin")
    (tmp_path / "in" / "m.bin").symlink_to(tmp_path / "m.bin")
    with pytest.raises(OnnxError, match="outside the model's folder"):
        load(tmp_path / "in" / "m.onnx")


# -- thousands of them -------------------------------------------------------------------------------------------------


def test_what_the_mutants_are_made_of_is_sound():
    assert [mutants.answer(data) for data in mutants.seeds()] == ["computed"] * len(mutants.seeds())


def survive(first, count, seconds):
    command = [sys.executable, str(Path(__file__).with_name("mutants.py")), str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"killed by signal {-done.returncode} {done.stderr.splitlines()[-1:]}"
    *failures, outcomes = done.stdout.splitlines()
    assert not failures
    found = ast.literal_eval(outcomes)
    assert sum(found.values()) == count
    assert min(found["computed"], found["OnnxError"], found["UnsupportedOnnx"]) > count / 50


def test_mutated_files_end_in_an_answer_or_one_line():
    survive(0, 1000, 60)


@pytest.mark.slow
def test_ten_thousand_mutated_files():
    survive(0, 10_000, 280)
