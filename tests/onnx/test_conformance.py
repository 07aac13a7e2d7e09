"""The standard's own test suite: what passes, what is declined, and that nothing is wrong."""

import inspect
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from dlkit.onnx import conformance
from dlkit.onnx.convert import CONVERTERS
from dlkit.onnx.layout import plain

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"


@pytest.fixture(scope="module")
def outcomes():
    with np.errstate(all="ignore"):
        return [conformance.run(case) for case in conformance.cases()]


def test_no_result_is_wrong(outcomes):
    assert [f"{o.case.name}: {o.reason}" for o in outcomes if o.result == "wrong"] == []


def test_what_the_page_says_is_what_happens(outcomes):
    committed = PAGE.read_text()
    if f"onnx {onnx.__version__})" not in committed:
        pytest.skip(f"the page was made with another version of the suite than {onnx.__version__}")
    made = conformance.page(outcomes)
    assert made == committed, "run: python -m dlkit.onnx.conformance > docs/conformance.md"


def test_most_of_the_field_passes(outcomes):
    nodes = Counter(o.result for o in outcomes if o.case.kind == "node" and o.case.category)
    torch = Counter(o.result for o in outcomes if o.case.kind.startswith("pytorch"))
    assert nodes["passed"] >= 880
    assert nodes["passed"] / nodes.total() > 0.95
    assert torch["passed"] == torch.total() >= 117


def test_every_refusal_names_the_operator_or_the_value_and_a_reason(outcomes):
    for o in outcomes:
        if o.result == "declined":
            subject, _, reason = o.reason.partition(": ")
            assert "(" in subject or "'" in subject, o.reason
            assert reason or "not a tensor" in o.reason, o.reason


def one_case(name):
    return next(c for c in conformance.cases(("node",)) if c.name == name)


@pytest.mark.parametrize(
    ("name", "operator", "change"),
    [
        ("test_relu", "Relu", lambda y: y + 1e-3),
        ("test_basic_conv_without_padding", "Conv", lambda y: y * 1.01),
        ("test_shape", "Shape", lambda y: y.astype(np.int32)),
        ("test_transpose_default", "Transpose", lambda y: y.reshape(y.shape[::-1])),
    ],
)
def test_a_wrong_converter_is_noticed(monkeypatch, name, operator, change):
    """Teeth: a result that is off, of another type or of another shape does not pass."""
    case = one_case(name)
    assert conformance.run(case).result == "passed"
    newest = CONVERTERS["", operator][-1]
    right = newest.function

    def wrong(*inputs, **attributes):
        return change(plain(right(*inputs, **attributes)))

    wrong.__signature__ = inspect.signature(right)
    monkeypatch.setitem(CONVERTERS, ("", operator), [replace(newest, function=wrong)])
    assert conformance.run(case).result == "wrong"
