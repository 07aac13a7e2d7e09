"""dlkit against the ONNX standard's own test suite.

    python -m dlkit.onnx.conformance > docs/conformance.md        runs every case, writes the page

A case passes (equal outputs, types and shapes, at the case's own tolerance), is declined by name (UnsupportedOnnx), or
is wrong; there is no fourth outcome. Cases that download a network are left out.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.errors import UnsupportedOnnx

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")

FIELD: dict[str, str] = {  # what dlkit is about; a node case belongs to it if all its operators do
    "convolution": "Conv ConvTranspose Col2Im",
    "pooling": "AveragePool MaxPool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool MaxUnpool",
    "normalisation": "BatchNormalization InstanceNormalization GroupNormalization LayerNormalization RMSNormalization "
    "LRN LpNormalization MeanVarianceNormalization",
    "products": "Gemm MatMul Einsum Det",
    "activations": "Relu Sigmoid Tanh Softplus Softsign LeakyRelu PRelu Elu Celu Selu ThresholdedRelu HardSigmoid HardSwish "
    "Mish Swish Gelu Shrink Softmax LogSoftmax Hardmax Dropout",
    "element-wise": "Add Sub Mul Div Pow Mod Sum Mean Max Min Clip Abs Neg Exp Log Sqrt Sign Reciprocal Floor Ceil Round Erf "
    "Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh IsNaN IsInf Where Equal Greater GreaterOrEqual Less "
    "LessOrEqual And Or Xor Not",
    "reductions": "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum "
    "ReduceLogSumExp ArgMax ArgMin CumSum CumProd TopK",
    "shape": "Shape Size Reshape Flatten Transpose Squeeze Unsqueeze Concat Split Slice Gather GatherElements GatherND Scatter "
    "ScatterElements ScatterND Expand Tile Trilu DepthToSpace SpaceToDepth Pad CenterCropPad ReverseSequence Compress "
    "Identity Constant ConstantOfShape Range EyeLike OneHot",
    "resampling": "Resize Upsample GridSample AffineGrid",
    "losses": "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss",
    "optimisers": "Adam Adagrad Momentum",
}
CATEGORY = {name: category for category, names in FIELD.items() for name in names.split()}


@dataclass(frozen=True)
class Case:
    """One test: a model with inputs and the outputs they must give."""

    kind: str
    name: str
    model: Any
    data: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float

    @property
    def operators(self) -> list[str]:
        return sorted({node.op_type for node in self.model.graph.node})

    @property
    def category(self) -> str | None:
        """The part of the field it belongs to, None if it belongs to none. The operator that the case is named after
        decides; in the definition of an operator by others, the operators that are neither arithmetic nor shapes."""
        found = {CATEGORY.get(name) for name in self.operators}
        if None in found:
            return None
        telling = found - {"shape", "element-wise"} or found - {"shape"} or found
        return sorted(map(str, telling))[0]


@dataclass(frozen=True)
class Outcome:
    """result : "passed", "declined" or "wrong"."""

    case: Case
    result: str
    reason: str = ""


def cases(kinds: tuple[str, ...] = KINDS) -> Iterator[Case]:
    """The standard's cases, those of nodes generated, the others read from inside the package onnx."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite makes infinities on purpose
        for kind in kinds:
            for test in load_model_tests(kind=kind):
                model: Any = test.model
                if model is None:
                    model, data = _from_folder(Path(test.model_dir or ""))
                else:
                    data = [(_arrays(inputs), _arrays(outputs)) for inputs, outputs in test.data_sets or ()]
                yield Case(kind, test.name, model, data, test.rtol, test.atol)


def _arrays(values: Any) -> list[Any]:
    from onnx import TensorProto, numpy_helper

    return [numpy_helper.to_array(v) if isinstance(v, TensorProto) else v for v in values]


def _from_folder(folder: Path) -> tuple[Any, list[tuple[list[Any], list[Any]]]]:
    import onnx

    def read(data: Path, what: str) -> list[Any]:
        tensors = []
        for i in range(len(list(data.glob(f"{what}_*.pb")))):
            tensor = onnx.TensorProto()
            tensor.ParseFromString((data / f"{what}_{i}.pb").read_bytes())
            tensors.append(onnx.numpy_helper.to_array(tensor))
        return tensors

    sets = sorted(folder.glob("test_data_set_*"))
    return onnx.load(str(folder / "model.onnx")), [(read(d, "input"), read(d, "output")) for d in sets]


def run(case: Case) -> Outcome:
    """What dlkit makes of a case."""
    from dlkit.onnx import backend

    try:
        prepared = backend.prepare(case.model)
        for inputs, expected in case.data:
            difference = compare(prepared.run(inputs), expected, case.rtol, case.atol)
            if difference:
                return Outcome(case, "wrong", difference)
    except UnsupportedOnnx as error:
        return Outcome(case, "declined", str(error))
    except Exception as error:  # whatever it is, the case was accepted and not computed
        return Outcome(case, "wrong", f"{type(error).__name__}: {error}")
    return Outcome(case, "passed")


def compare(found: tuple[Any, ...], expected: list[Any], rtol: float, atol: float) -> str:
    """How the outputs differ, by the rules of the standard's own runner; "" if they do not."""
    from onnx.backend.test.runner import Runner

    try:
        Runner.assert_similar_outputs(expected, list(found), rtol, atol)
    except AssertionError as error:
        return " ".join(str(error).split())
    return ""


# -- the page ---------------------------------------------------------------------------------------------------------


def page(outcomes: list[Outcome]) -> str:
    """docs/conformance.md."""
    import onnx

    nodes = [o for o in outcomes if o.case.kind == "node"]
    inside = [o for o in nodes if o.case.category is not None]
    torch = [o for o in outcomes if o.case.kind.startswith("pytorch")]
    wrong = [o for o in outcomes if o.result == "wrong"]
    lines = [
        "# Conformance with ONNX",
        "",
        f"The standard's own test suite (`onnx.backend.test`, onnx {onnx.__version__}) against `dlkit.onnx.backend`. This page is",
        "made by `python -m dlkit.onnx.conformance > docs/conformance.md`; `tests/onnx/test_conformance.py` runs the same",
        "cases and fails on the first wrong one.",
        "",
        f"- {_passed(inside)} of {len(inside)} node cases in dlkit's field pass (of all {len(nodes):,} node cases: {_passed(nodes):,})",
        f"- {_passed(torch)} of {len(torch)} networks and operators converted from PyTorch pass",
        f"- {len(wrong)} wrong results; everything else is declined by name",
        "",
        "| suite | cases | passed | declined | wrong |",
        "|---|--:|--:|--:|--:|",
        *(_row(kind, [o for o in outcomes if o.case.kind == kind]) for kind in KINDS),
        "",
        "## Node cases by field",
        "",
        "A case belongs to the field if each of its operators does; the definition of an operator by others counts where its",
        "telling operators stand. The last row is everything else: attention, quantisation, signal processing, strings,",
        "sequences, control flow, random numbers, recurrent cells, decision trees.",
        "",
        "| field | cases | passed | declined | wrong |",
        "|---|--:|--:|--:|--:|",
        *(_row(name, [o for o in inside if o.case.category == name]) for name in FIELD),
        _row("all of the field", inside),
        _row("outside the field", [o for o in nodes if o.case.category is None]),
        "",
        "## Declined inside the field",
        "",
        *_reasons([o for o in inside if o.result == "declined"]),
        "",
        "## Declined outside the field",
        "",
        *_reasons(
            [o for o in outcomes if o.result == "declined" and (o.case.kind != "node" or o.case.category is None)]
        ),
    ]
    if wrong:
        lines += ["", "## Wrong", "", *(f"- `{o.case.name}`: {o.reason[:300]}" for o in wrong)]
    return "\n".join(lines) + "\n"


def _passed(outcomes: list[Outcome]) -> int:
    return sum(o.result == "passed" for o in outcomes)


def _row(name: str, outcomes: list[Outcome]) -> str:
    count = Counter(o.result for o in outcomes)
    return f"| {name} | {len(outcomes):,} | {count['passed']:,} | {count['declined']:,} | {count['wrong']} |"


def _reasons(outcomes: list[Outcome]) -> list[str]:
    """One line for each reason: operators or types, how many cases, why."""
    grouped: dict[str, list[str]] = defaultdict(list)
    for o in outcomes:
        who, _, why = o.reason.partition(": ")
        if "values of type" in why:
            why, who = "a number type that dlkit does not have", why.split("type ")[1].split()[0]
        elif not why:
            who, why = o.reason.partition(" is a ")[2].split(",")[0] or o.reason, "not a tensor of numbers"
        grouped[why].append(who.split(" '")[0].split(" (")[0])
    rows = []
    for why, whom in sorted(grouped.items(), key=lambda item: -len(item[1])):
        names = ", ".join(f"{name} {n}" for name, n in Counter(whom).most_common())
        rows.append(f"| {why} | {len(whom)} | {names} |")
    return ["| reason | cases | by operator or type |", "|---|--:|---|", *rows] if rows else ["None."]


def main() -> int:
    outcomes = [run(case) for case in cases()]
    sys.stdout.write(page(outcomes))
    return int(any(o.result == "wrong" for o in outcomes))


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        sys.exit(main())
