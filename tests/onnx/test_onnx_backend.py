"""The convention of ONNX backends."""

import re
import unittest

import numpy as np
import pytest
from onnx import TensorProto, helper

from dlkit.errors import OnnxError, UnsupportedOnnx
from dlkit.onnx import backend


def add_model(op="Add"):
    graph = helper.make_graph(
        [helper.make_node(op, ["a", "b"], ["y"])],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "ab"],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


A, B = np.array([1, 2], np.float32), np.array([10, 20], np.float32)


def test_prepare_and_run():
    prepared = backend.prepare(add_model())
    for inputs in ([A, B], {"b": B, "a": A}):
        outputs = prepared.run(inputs)
        np.testing.assert_array_equal(outputs.y, [11, 22])
        np.testing.assert_array_equal(outputs[0], [11, 22])
    np.testing.assert_array_equal(backend.run_model(add_model(), [A, B])[0], [11, 22])


def test_run_node():
    node = helper.make_node("Split", ["x"], ["y", "z"], num_outputs=2)
    y, z = backend.run_node(node, [A])
    assert (y.tolist(), z.tolist()) == ([1.0], [2.0])
    old = helper.make_node("Clip", ["x"], ["y"], min=1.5)
    assert backend.run_node(old, [A], opset_version=6)[0].tolist() == [1.5, 2.0]
    with pytest.raises(OnnxError, match="1 inputs were given, the node has 2"):
        backend.run_node(helper.make_node("Add", ["a", "b"], ["y"]), [A])


def test_devices():
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA")
    assert not backend.supports_device("abacus")
    with pytest.raises(UnsupportedOnnx, match="device 'CUDA'"):
        backend.prepare(add_model(), "CUDA")


def test_a_model_that_is_not_done_is_declined_before_it_runs():
    assert backend.is_compatible(add_model())
    assert not backend.is_compatible(add_model("StringConcat"))
    with pytest.raises(UnsupportedOnnx, match="StringConcat"):
        backend.prepare(add_model("StringConcat"))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([A], "1 inputs were given, the graph has 2"),
        ([A, B.astype(np.float64)], "input 'b' is float64, the graph takes float32"),
        ([A, np.ones((3, 2), np.float32)], r"input 'b' has shape 3×2 \(in ONNX's order\), the graph takes 2"),
    ],
)
def test_inputs_that_do_not_fit(inputs, message):
    with pytest.raises(OnnxError, match=message):
        backend.prepare(add_model()).run(inputs)


@pytest.mark.slow  # test_conformance.py runs all cases; here their own runner takes seconds to collect them
@pytest.mark.filterwarnings("ignore")  # the suite makes infinities on purpose
def test_the_standards_own_runner_drives_it():
    import onnx.backend.test

    chosen = re.compile(r"test_(conv|relu|gemm|resize|adam|string|dequantize|Conv3d|operator_concat2).*_cpu")
    found = onnx.backend.test.BackendTest(backend, __name__).test_cases.values()
    suite = unittest.TestSuite(tests(name) for tests in found for name in dir(tests) if chosen.match(name))
    result = unittest.TestResult()
    suite.run(result)
    assert not result.failures
    assert not result.errors
    assert all("done" in why for _, why in result.skipped)
    assert len(result.skipped) > 15
    assert result.testsRun - len(result.skipped) > 60
