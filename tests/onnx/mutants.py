"""ONNX files with something wrong, drawn from a seed; and what a process does with thousands of them.

    python mutants.py FIRST COUNT        prints one line for each outcome that is neither an answer nor a DlkitError

Run in a process of its own: memory is limited, and a mutant that takes longer than two seconds kills it.
"""

from __future__ import annotations

import resource
import signal
import sys
import traceback
from collections import Counter

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dlkit import nn, tape
from dlkit.errors import DlkitError
from dlkit.models import Hourglass, build_model
from dlkit.onnx import Limits, export_model, load_bytes

SECONDS = 2.0
MEMORY = 6 << 30  # address space: NumPy's and the C library's threads reserve much of it without using it
LIMITS = Limits(value=64 << 20, work=2e8)


def seeds() -> list[bytes]:
    """Sound files: exported networks, and nodes that make, move and mix."""
    networks = [
        export_model(build_model("lenet5", (12, 12, 1), 3), (12, 12, 1)),
        export_model(build_model("mlp", (5,), 3, hidden=(4,), batch_norm=True), (5,)),
        export_model(build_model("cnn", (8, 8, 1), 2, width=2), (8, 8, 1)),
        export_model(Hourglass(2, input_channels=2, scales=2, skip=1), (8, 8, 2)),
        export_model(nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2), nn.GELU()), (6, 6, 2)),
    ]
    return [m.SerializeToString() for m in [*networks, *nodes()]]


def nodes() -> list[onnx.ModelProto]:
    ints, floats = TensorProto.INT64, TensorProto.FLOAT
    x = [("x", floats, [1, 2, 4, 4])]

    def shape(*numbers: int) -> np.ndarray:
        return np.array(numbers, np.int64)

    return [
        one("Resize", x, {"sizes": shape(1, 2, 8, 8)}, ["x", "", "", "sizes"], mode="cubic"),
        one("Tile", x, {"repeats": shape(1, 2, 2, 3)}),
        one("Expand", x, {"shape": shape(3, 2, 4, 4)}),
        one("Pad", x, {"pads": shape(0, 0, 1, 1, 0, 0, 2, 2)}, mode="reflect"),
        one("Reshape", x, {"shape": shape(2, -1)}),
        one("Slice", x, {"starts": shape(0, 1), "ends": shape(1, 3), "axes": shape(1, 2), "steps": shape(1, 2)}),
        one("Gather", x, {"index": shape(0, 1, 1)}, axis=2),
        one("OneHot", [("i", ints, [3])], {"depth": np.array(5), "values": np.array([0.0, 1.0], np.float32)}),
        one("ConstantOfShape", [], {"shape": shape(2, 3)}),
        one("Range", [], {"start": np.array(0), "limit": np.array(9), "delta": np.array(2)}),
        one("ConvTranspose", x, {"w": np.ones((2, 1, 3, 3), np.float32)}, strides=[2, 2], pads=[1, 1, 1, 1]),
        one("AveragePool", x, {}, kernel_shape=[3, 3], ceil_mode=1, count_include_pad=1, pads=[1, 1, 1, 1]),
        one("Einsum", [("a", floats, [2, 3]), ("b", floats, [3, 4])], {}, equation="ij,jk->ik"),
        one("Softmax", x, {}, axis=1),
        one("TopK", x, {"k": shape(2)}, outputs=2),
        one("Attention", [(n, floats, [1, 2, 3, 4]) for n in "qkv"], {}),
        one("GridSample", [*x, ("grid", floats, [1, 3, 3, 2])], {}, mode="cubic"),
        one("CumSum", x, {"axis": np.array(2)}),
        one("ScatterElements", x, {"i": np.zeros((1, 1, 1, 2), np.int64), "u": np.ones((1, 1, 1, 2), np.float32)}),
        one("Split", x, {"split": shape(1, 3)}, outputs=2, axis=3),
    ]


def one(
    op: str, inputs: list, weights: dict, order: list | None = None, outputs: int = 1, **attributes
) -> onnx.ModelProto:
    names = order or [*(name for name, *_ in inputs), *weights]
    ys = [f"y{i}" for i in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(op, names, ys, **attributes)],
        "one",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(y, TensorProto.FLOAT, None) for y in ys],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])


# -- what is done to them ----------------------------------------------------------------------------------------------

NUMBERS = (0, -1, 1, 2, 3, 7, 255, 65536, 2**31 - 1, -(2**31), 2**40, 2**62, -(2**63))
OPERATORS = (
    *("Add", "Concat", "Reshape", "Conv", "MatMul", "Gemm", "Resize", "Loop", "If", "Scan", "Identity", "Transpose"),
    *("Tile", "Expand", "ConstantOfShape", "MaxPool", "Unknown", "Einsum", "LSTM", "StringSplit", "Upsample"),
    *("SoftmaxCrossEntropyLoss", "Attention", "LinearAttention", "GroupNormalization", "CenterCropPad", "EyeLike"),
)


def mutant(files: list[bytes], number: int) -> bytes:
    """The mutant of this number, always the same."""
    rng = np.random.default_rng((20, number))
    data = files[rng.integers(len(files))]
    if rng.random() < 0.3:
        return rng.choice([flipped, flipped, truncated, doubled])(data, rng)
    for _ in range(rng.integers(1, 4)):
        data = edited(data, rng)
    return data


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if changed:
            changed[rng.integers(len(changed))] = rng.integers(256)
    return bytes(changed)


def truncated(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data) + 1)]


def doubled(data: bytes, rng: np.random.Generator) -> bytes:
    a, b = sorted(rng.integers(len(data) + 1, size=2))
    return data[:b] + data[a:]


def edited(data: bytes, rng: np.random.Generator) -> bytes:
    """One field of the model changed to something that a file may well say."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:
        return data
    graph = model.graph
    edits = [e for e in EDITS if e(graph, model, rng, dry=True)]
    if edits:
        edits[rng.integers(len(edits))](graph, model, rng, dry=False)
    try:
        return model.SerializeToString()
    except Exception:  # a text that is no UTF-8 any more
        return data


def _pick(items, rng):
    return items[rng.integers(len(items))]


def dims(graph, model, rng, dry):
    if dry or not graph.initializer:
        return bool(graph.initializer)
    tensor = _pick(graph.initializer, rng)
    sizes = list(tensor.dims) or [1]
    sizes[rng.integers(len(sizes))] = int(_pick(NUMBERS, rng))
    if rng.random() < 0.2:
        sizes += [1] * int(rng.integers(1, 80))
    tensor.ClearField("dims")
    tensor.dims.extend(sizes)


def contents(graph, model, rng, dry):
    """Whole numbers in a weight: shapes, pads, repeats."""
    chosen = [t for t in graph.initializer if t.data_type == TensorProto.INT64]
    if dry or not chosen:
        return bool(chosen)
    tensor = _pick(chosen, rng)
    try:
        array = np.array(numpy_helper.to_array(tensor))
    except Exception:
        return None
    if array.size:
        array.reshape(-1)[rng.integers(array.size)] = int(_pick(NUMBERS, rng))
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def element_type(graph, model, rng, dry):
    if dry or not graph.initializer:
        return bool(graph.initializer)
    _pick(graph.initializer, rng).data_type = int(rng.integers(0, 30))


def elsewhere(graph, model, rng, dry):
    if dry or not graph.initializer:
        return bool(graph.initializer)
    tensor = _pick(graph.initializer, rng)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", str(_pick(("../../etc/passwd", "/etc/passwd", "w.bin", ""), rng))),
        ("offset", "-5"),
    ):
        tensor.external_data.add(key=key, value=value)


def attribute(graph, model, rng, dry):
    chosen = [n for n in graph.node if n.attribute]
    if dry or not chosen:
        return bool(chosen)
    a = _pick(_pick(chosen, rng).attribute, rng)
    number = int(_pick(NUMBERS, rng))
    if a.ints and rng.random() < 0.8:
        a.ints[rng.integers(len(a.ints))] = number
    elif a.type == onnx.AttributeProto.FLOAT:
        a.f = float(_pick((0.0, -1.0, np.inf, np.nan, 1e30, 1e-30), rng))
    elif a.type == onnx.AttributeProto.STRING:
        a.s = bytes(_pick((b"", b"\xff\xfe", b"SAME_UPPER", b"linear", b"iiiii->", b"ij,kl->ijkl", b"x" * 999), rng))
    elif rng.random() < 0.3:
        a.type = int(rng.integers(0, 15))
    else:
        a.i = number


def operator(graph, model, rng, dry):
    if dry or not graph.node:
        return bool(graph.node)
    _pick(graph.node, rng).op_type = str(_pick(OPERATORS, rng))


def wiring(graph, model, rng, dry):
    """An input from anywhere: a later node (a cycle), the node itself, nothing."""
    chosen = [n for n in graph.node if n.input]
    if dry or not chosen:
        return bool(chosen)
    node = _pick(chosen, rng)
    names = ["", "nowhere", *(o for n in graph.node for o in n.output), *(t.name for t in graph.initializer)]
    node.input[rng.integers(len(node.input))] = str(_pick(names, rng))


def more_nodes(graph, model, rng, dry):
    if dry or not graph.node:
        return bool(graph.node)
    copy = graph.node.add()
    copy.CopyFrom(_pick(list(graph.node)[:-1] or list(graph.node), rng))
    if rng.random() < 0.7 and copy.output:
        copy.output[0] = "copy"
        graph.output.add(name="copy").type.tensor_type.elem_type = 1


def fewer_nodes(graph, model, rng, dry):
    if dry or not graph.node:
        return bool(graph.node)
    del graph.node[rng.integers(len(graph.node))]


def version(graph, model, rng, dry):
    if dry or not model.opset_import:
        return bool(model.opset_import)
    _pick(model.opset_import, rng).version = int(_pick((*NUMBERS, *range(1, 30)), rng))


def input_shape(graph, model, rng, dry):
    chosen = [i for i in graph.input if i.type.tensor_type.shape.dim]
    if dry or not chosen:
        return bool(chosen)
    _pick(_pick(chosen, rng).type.tensor_type.shape.dim, rng).dim_value = int(_pick(NUMBERS, rng))


EDITS = (
    *(dims, contents, contents, element_type, elsewhere, attribute, attribute, operator, wiring, more_nodes),
    *(fewer_nodes, version, input_shape),
)


# -- what becomes of them ----------------------------------------------------------------------------------------------


def answer(data: bytes) -> str:
    """Loads and runs one file as a user would; says how it ended."""
    try:
        module = load_bytes(data, channels_last=False, limits=LIMITS)
        inputs = []
        for port in module.graph.inputs:
            sizes = [n if isinstance(n, int) and 0 <= n < 100 else 1 for n in port.shape or ()]
            if np.prod(sizes) > 1e5:
                return "input too large to try"
            inputs.append(np.ones(sizes, port.dtype))
        with tape.no_grad():
            module(*inputs)
    except DlkitError as error:
        if "\n" in str(error):
            raise AssertionError(f"more than one line: {error}") from error
        return type(error).__name__
    return "computed"


def main(first: int, count: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    files = seeds()
    outcomes: Counter[str] = Counter()
    for number in range(first, first + count):
        data = mutant(files, number)
        print("at", number, file=sys.stderr, flush=True)  # the last line, if this process is killed
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            outcomes[answer(data)] += 1
        except Exception as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"mutant {number}: {type(error).__name__}: {error} ({where.filename}:{where.lineno})")
            outcomes["failed"] += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    print(dict(outcomes))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
