"""`dlkit explain`: an op, a network, the list, and what is refused."""

import json


def test_an_op(dlkit):
    result = dlkit("explain", "softmax")
    assert result.code == 0
    assert result.out.startswith("softmax    x[...] -> y[...]")
    assert "forward    y_i = e^x_i / Σ_j e^x_j along axis" in result.out
    assert "reference kernel softmax_backward" in result.out
    got = json.loads(dlkit("explain", "softmax", "--json").out)
    assert got["backward"] == "dx = y · (dy - Σ dy · y)"
    assert got["example"]["y"]


def test_a_network(dlkit):
    result = dlkit("explain", "--model", "lenet5")
    assert result.code == 0
    assert "layers.0  Conv2d(1, 6, 5×5, padding=2, tanh)" in result.out
    assert "61,706 parameters" in result.out
    assert "Deviation: no local response" in dlkit("explain", "--model", "alexnet").out
    got = json.loads(dlkit("explain", "--model", "mlp", "--input", "784", "--json").out)
    assert len(got["forward"]) == len(got["backward"]) > 2


def test_the_list(dlkit):
    lines = dlkit("explain").out.splitlines()
    assert any(line.split() == ["relu", "y", "=", "max(x,", "0)"] for line in lines)
    assert "conv2d" in json.loads(dlkit("explain", "--json").out)


def test_refusals(dlkit):
    for arguments, message in (
        (["softmaxx"], "did you mean 'softmax'"),
        (["relu", "--model", "mlp"], "give an OP or --model, not both"),
        (["--model", "lenet6"], "did you mean 'lenet5'"),
        (["--model", "lenet5", "--input", "3x3x1"], "at least 12×12 pixels"),
    ):
        result = dlkit("explain", *arguments)
        assert result.code == 2
        assert result.out == ""
        assert message in result.err
        assert result.err.count("\n") == 1
