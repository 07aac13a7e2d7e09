"""A user's own file: every kind of thing is found, called in the forms people write, and refused in one line where it cannot be."""

import textwrap

import numpy as np
import pytest

from dlkit import Tensor, nn, ops
from dlkit.errors import ConfigError, ShapeError, UsageError
from dlkit.gradients import assert_gradients, gradcheck
from dlkit.gradients.numeric import Settings
from dlkit.gradients.target import InputShape, check_target, load_target, parse_inputs
from dlkit.ops import OPS

FILE = """
    import numpy as np
    from dlkit import nn
    from dlkit.ops import Sample

    class cube:                                     # an op class without its decorator
        def forward(k, x):
            return k.multiply(x, k.multiply(x, x)), (x,)
        def backward(k, saved, dy):
            (x,) = saved
            return (k.multiply(dy, k.multiply(k.multiply(x, x), 3.0)),)
        def samples(rng):
            return [Sample((rng.standard_normal((2, 3)),)), Sample((rng.standard_normal(4),))]

    class Net(nn.Module):
        def __init__(self):
            self.hidden, self.drop = nn.Linear(3, 4, activation="tanh"), nn.Dropout(0.5)
        def forward(self, x):
            return self.drop(self.hidden(x))

    net = Net()

    def swish(x, beta=1.0):
        return x * (x * beta).sigmoid()

    def swish_samples():
        return [np.linspace(-2, 2, 7)]

    def affine_forward(x, w, b):                    # (y, cache), the course's form
        return x @ w + b, (x, w, b)

    def affine_backward(dout, cache):
        x, w, b = cache
        return dout @ w.T, x.T @ dout, dout.sum(axis=0)

    def square(x):                                  # backward(dy, inputs by name)
        return x * x

    def square_backward(dy, x):
        return 2 * x * dy

    def exponential(x):                             # backward from the output
        return np.exp(x)

    def exponential_backward(dy, y):
        return dy * y

    def scaled(x, t):                               # a target without a gradient, a dictionary
        return (x - t) ** 2

    def scaled_backward(dy, x, t):
        return {"dx": 2 * dy * (x - t)}

    def softmax_loss(scores, labels):               # whole numbers have no gradient; returns a number
        p = np.exp(scores - scores.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        return -np.log(p[np.arange(len(p)), labels]).mean(), p

    def softmax_loss_backward(dy, p, labels):
        p = p.copy()
        p[np.arange(len(p)), labels] -= 1
        return dy * p / len(p), None

    class Dense:                                    # remembers x, leaves dw and db behind
        def __init__(self):
            self.w = np.random.default_rng(0).standard_normal((3, 4))
            self.params = {"b": np.zeros(4)}
            self.grads = {}
        def forward(self, x):
            self.x = x
            return x @ self.w + self.params["b"]
        def backward(self, dy):
            self.dw = self.x.T @ dy
            self.grads["b"] = dy.sum(0)
            return dy @ self.w.T

    def loss(x, t):                                 # a loss, whose backward is given no dy
        return float(((x - t) ** 2).sum())

    def loss_backward(x, t):
        return 2 * (x - t), -2 * (x - t)

    def rows(x):                                    # a list is an output, a tuple would be (y, cache)
        return [2 * row for row in x]

    def rows_backward(dy):
        return 2 * dy

    def silly(x):
        raise SystemExit(3)

    def numeric(x):
        return np.exp(x)

    def nothing(x):
        return x[:0]

    def nothing_backward(dy, x):
        return 0 * x

    def unsampled(x):
        return x * x

    def unsampled_samples():
        return []

    class Untensor(nn.Module):
        def forward(self, x):
            return x.numpy()

    pair = (square, square_backward)
    five = 5

    class NoBackward:
        def forward(self, x):
            return x

    class Needs:
        def __init__(self, size):
            self.size = size
        def forward(self, x):
            return x
        def backward(self, dy):
            return dy

    def listed(x):
        return [1, 2]

    def odd(x):
        return x

    def odd_backward(dy, x, weight):
        return dy

    def samples(rng):
        return [rng.standard_normal((5, 3))]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(FILE))
    return path


def check(file, name, inputs=None):
    return check_target(load_target(f"{file}:{name}"), inputs and parse_inputs(inputs), Settings())


@pytest.mark.parametrize(
    ("name", "inputs", "kind", "elements"),
    [
        ("cube", None, "op", 10),
        ("Net", None, "module", 15 + 12 + 4),
        ("net", "2x3", "module", 6 + 12 + 4),
        ("swish", None, "function of tensors", 7),
        ("affine_forward", "4x3,3x5,5", "NumPy function", 12 + 15 + 5),
        ("square", None, "NumPy function", 15),
        ("exponential", "2x2", "NumPy function", 4),
        ("scaled", "3,3", "NumPy function", 3),
        ("softmax_loss", "4x3,4:3", "NumPy function", 12),
        ("Dense", None, "object", 15 + 12 + 4),
        ("pair", "3x2", "NumPy function", 6),
        ("loss", "3x2,3x2", "NumPy function", 12),
        ("rows", "3x2", "NumPy function", 6),
    ],
)
def test_every_kind_is_found_and_right(file, name, inputs, kind, elements):
    report = check(file, name, inputs)
    assert report.passed, report
    assert report.kind == kind
    assert report.elements == elements


def test_an_input_without_gradient_is_noted(file):
    assert check(file, "scaled", "3,3").notes == ["t: backward gives no gradient, so none was checked"]


def test_a_wrong_one_is_diagnosed(file):
    file.write_text(file.read_text().replace("dout.sum(axis=0)", "dout.mean(axis=0)"))
    report = check(file, "affine_forward", "4x3,3x5,5")
    assert not report.passed
    assert report.diagnosis[0].startswith(
        "b: constant factor: backward gives 0.25 times the gradient, which is 1 / the batch"
    )


def test_an_objects_own_arrays_are_checked(file):
    file.write_text(file.read_text().replace('self.grads["b"] = dy.sum(0)', 'self.grads["b"] = -dy.sum(0)'))
    report = check(file, "Dense")
    assert report.diagnosis == ["self.b: sign flipped: backward gives the negative of the gradient"]


def test_a_file_with_one_thing_needs_no_name(tmp_path):
    path = tmp_path / "one.py"
    path.write_text("def f(x):\n    return x * x\n\ndef f_backward(dy, x):\n    return 2 * dy * x\n")
    assert load_target(str(path)).name == "f"


def test_a_decorated_op_is_an_op(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "from dlkit.ops import Sample\nfrom dlkit.ops.op import op\n\n@op('x[...] -> y[...]')\nclass own_double:\n"
        "    def forward(k, x):\n        return k.multiply(x, 2.0), ()\n"
        "    def backward(k, saved, dy):\n        return (k.multiply(dy, 3.0),)\n"
        "    def samples(rng):\n        return [Sample((rng.standard_normal(3),))]\n"
    )
    try:
        report = check_target(load_target(f"{path}:own_double"), None, Settings())
    finally:
        del OPS["own_double"]
    assert report.kind == "op"
    assert report.diagnosis == ["x: constant factor: backward gives 1.5 times the gradient"]


def test_what_the_file_imports_beside_it_is_found(file):
    (file.parent / "helper_of_mine.py").write_text("def twice(x):\n    return x + x\n")
    file.write_text("from helper_of_mine import twice\n\ndef f(x):\n    return twice(x)\n")
    assert check(file, "f", "3").passed


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("swih", "3", r"holds no 'swih' \(did you mean 'swish'\?\)"),
        ("five", "3", "five is an int; expected an op class, a Module, a function of tensors, or a NumPy forward"),
        ("NoBackward", "3", "class NoBackward has no backward; an op or a layer needs both"),
        ("Needs", "3", r"Needs\(\) cannot be made without arguments .* put an instance into the file \(layer = Needs\(...\)\)"),
        ("listed", "3", r"listed returns list, expected a Tensor; .* write listed_backward\(dy, ...\) beside it"),
        ("odd", "3", r"odd_backward\(dy, x, weight\): 'weight' is neither an input of forward \(x\)"),
        ("affine_forward", "4x3,3x5", r"affine_forward\(x, w, b\) takes 3 inputs, 2 given"),
        ("affine_forward", "4x3,4x5,5", r"forward does not take these inputs \(x \(4, 3\), w \(4, 5\), b \(5,\)\): ValueError"),
        ("softmax_loss", "4:3,4:3", "none of the inputs is a float array"),
        ("silly", "3", r"forward does not take these inputs \(x \(3,\)\): SystemExit: 3"),
        ("numeric", "3", r"NumPy code needs its backward, numeric_backward\(dy, ...\), beside it"),
        ("nothing", "3", "returns an empty array"),
        ("unsampled", None, r"samples\(\) is empty"),
        ("Untensor", "3", "forward of Untensor returns ndarray, expected a Tensor"),
        ("net", "2x4", "last axis must equal the first of w"),
    ],
)  # fmt: skip
def test_refusals(file, name, inputs, message):
    with pytest.raises(UsageError, match=message) as error:
        check(file, name, inputs)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


def test_missing_samples_are_asked_for(file):
    file.write_text(file.read_text().replace("def samples(rng):\n    return", "def other(rng):\n    return"))
    with pytest.raises(ConfigError, match=r"what are its inputs\? Give their shapes .* or write samples\(\) beside it"):
        check(file, "square")


def test_samples_that_fail_say_where(file):
    file.write_text(file.read_text() + "\ndef square_samples():\n    return [undefined_name]\n")
    with pytest.raises(ConfigError, match=r"samples\(\) raises line \d+: NameError: name 'undefined_name'"):
        check(file, "square")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (", r"does not import: line 1: SyntaxError"),
        ("import no_such_module_at_all", "does not import: line 1: ModuleNotFoundError: No module named"),
        ("a = 1\nb = a.c", "does not import: line 2: AttributeError"),
        ("raise SystemExit(3)", "does not import: line 1: SystemExit: 3"),
    ],
)
def test_files_that_do_not_import(tmp_path, text, message):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_target(f"{path}:x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere.py:f", "nowhere.py: no such file"),
        ("resnet", "expected file.py:thing"),
        ("{file}", r"which thing in it\? It holds several \(Dense, .*\); write .*:NAME"),
    ],
)
def test_targets_that_are_none(file, text, message):
    with pytest.raises(ConfigError, match=message):
        load_target(text.format(file=file))


def test_inputs():
    assert parse_inputs("4x8x8x3, 5,16:10") == [InputShape((4, 8, 8, 3)), InputShape((5,)), InputShape((16,), 10)]
    labels = InputShape((16,), 10).draw(np.random.default_rng(0))
    assert labels.dtype.kind == "i"
    assert 0 <= labels.min() < labels.max() < 10
    for wrong in ("", "x", "3x", "0x3", "-3", "3:", "3:0", "3:x", "3.5"):
        with pytest.raises(ConfigError, match="is no shape such as"):
            parse_inputs(wrong)
    with pytest.raises(ConfigError, match="at most 10⁷"):
        parse_inputs("100000x100000x100000x100000x100000")


# -- as a library ------------------------------------------------------------------------------------------


def test_gradcheck_is_a_function_of_the_package(rng):
    import dlkit

    report = dlkit.gradcheck(lambda x, w: (x @ w).tanh(), [rng.standard_normal((2, 3)), rng.standard_normal((3, 4))])
    assert report.passed
    assert report.elements == 6 + 12
    assert dlkit.gradcheck is gradcheck
    with pytest.raises(AttributeError, match="no attribute 'gradchek'"):
        _ = dlkit.gradchek


def test_gradcheck_takes_modules_ops_and_tensors(rng):
    assert gradcheck(nn.Conv2d(2, 3, 3), rng.standard_normal((1, 5, 5, 2))).passed
    assert gradcheck(OPS["softmax"], rng.standard_normal((2, 3)), order=2).passed
    assert gradcheck(lambda x: x * 2.0, Tensor([1.0, 2.0])).passed
    assert gradcheck(
        lambda x, labels: nn.CrossEntropyLoss()(x, labels), [rng.standard_normal((3, 4)), np.array([0, 3, 1])]
    ).passed


def test_dropout_keeps_its_mask_during_a_check(rng):
    assert gradcheck(lambda x: ops.dropout(x, p=0.5), rng.standard_normal((4, 5))).passed


def test_a_module_is_left_as_it_was(rng):
    layer = nn.BatchNorm2d(3)
    before = {n: v.copy() for n, v in layer.state_dict().items()}
    gradcheck(layer, rng.standard_normal((4, 3)))
    assert all(v.dtype == np.float32 and np.array_equal(before[n], v) for n, v in layer.state_dict().items())


def test_a_tensor_made_from_another_input_is_refused():
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ConfigError, match=r"input 1 depends on another: op 'multiply' made it; .* \(x.detach\(\)\)"):
        gradcheck(lambda a, b: a + b, [x, x * 2.0])


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(ConfigError, match="neither a function of tensors"):
        gradcheck(5, np.ones(3))
    with pytest.raises(ShapeError, match="do not broadcast"):
        gradcheck(lambda a, b: a + b, [np.ones(3), np.ones(4)])
    with pytest.raises(ConfigError, match="forward returns an array of int64"):
        gradcheck(lambda x: x.astype(int), np.ones(3), lambda dy: dy)


def test_second_order_says_where_it_cannot(rng):
    report = gradcheck(lambda x: x * x, rng.standard_normal(3), order=2)
    assert "no second derivative was checked" in report.notes[0]


def test_assert_gradients(rng):
    x = rng.standard_normal((2, 3))
    assert assert_gradients(lambda x: x.exp(), x).passed
    with pytest.raises(AssertionError, match=r"(?s)WRONG.*sign flipped.*analytic"):
        assert_gradients(lambda x: x**2, x, lambda dy, x: -2 * x * dy)
