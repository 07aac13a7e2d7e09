"""An ONNX network as a classifier that dlkit can ask and train: one input, logits out, and what the file says about its
classes and how to prepare its input.

dlkit writes that into the file's metadata_props: `dlkit.classes` (a JSON list of names), `dlkit.normalizer` and
`dlkit.input_shape`. Files from elsewhere say nothing of the kind; then classes are numbered.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dlkit import random
from dlkit.errors import OnnxError
from dlkit.nn import INITS
from dlkit.onnx.graph import Graph, Step, build_graph
from dlkit.onnx.load import parse, read_file
from dlkit.onnx.module import GraphModule
from dlkit.onnx.safety import Limits, array_of, limited

CLASSES, NORMALIZER, INPUT_SHAPE = "dlkit.classes", "dlkit.normalizer", "dlkit.input_shape"
BETWEEN = ("Flatten", "Squeeze", "GlobalAveragePool", "ReduceMean", "Identity", "Relu", "Dropout")  # head and output


@dataclass
class Classifier:
    """graph : ends in logits [N, classes]; input_shape : (H, W, C) or (F,), None where the file leaves it open;
    classes, normalizer : what the file says about them, if it does."""

    graph: Graph
    input_shape: tuple[int | None, ...]
    classes: list[str] | None = None
    normalizer: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def outputs(self) -> int | None:
        """How many classes its last weights make; None if they are not found."""
        found = _head(self.graph)
        return None if found is None else found.classes

    def module(self, classes: int | None = None) -> GraphModule:
        """The network in inference mode, with a new, untrained last layer if `classes` differ from what it has.

        Raises : OnnxError if there is no last layer that could be replaced.
        """
        graph = self.graph
        if classes is not None and self.outputs != classes:
            graph = with_new_head(graph, classes)
        module = GraphModule(graph)
        module.eval()
        return module


def read_network(path: str | Path) -> bytes:
    """An ONNX file with all its weights inside, as it goes into a checkpoint."""
    from onnx import TensorProto, numpy_helper

    path = Path(path)
    model = parse(read_file(path), str(path))
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            with limited(Limits()):
                inside = numpy_helper.from_array(array_of(tensor, path.parent), tensor.name)
            tensor.CopyFrom(inside)
    return model.SerializeToString()


def open_classifier(data: bytes, where: str) -> Classifier:
    """Raises : OnnxError if the file is not sound or not a network with one input of images or features."""
    try:
        with limited(Limits()):
            graph = build_graph(parse(data, where))
        return _described(graph)
    except OnnxError as error:
        message = str(error)
        raise type(error)(message if message.startswith(where) else f"{where}: {message}") from None


def _described(graph: Graph) -> Classifier:
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise OnnxError(
            f"a classifier has one input and one output; this has {len(graph.inputs)}, {len(graph.outputs)}"
        )
    port = graph.inputs[0]
    if port.dtype != np.float32 or port.shape is None or len(port.shape) not in (2, 4):
        raise OnnxError(f"input {port.name!r} must be float32 images [N, C, H, W] or features [N, F]")
    sizes = [n if isinstance(n, int) and n > 0 else None for n in port.shape[1:]]
    shape = tuple(sizes if len(sizes) == 1 else (*sizes[1:], sizes[0]))
    opened = replace(port, shape=(None, *port.shape[1:]))
    graph = _without_softmax(replace(graph, inputs=[opened]))
    classes, normalizer = (_json(graph.metadata, key) for key in (CLASSES, NORMALIZER))
    if classes is not None and not (isinstance(classes, list) and all(isinstance(c, str) for c in classes)):
        raise OnnxError(f"its {CLASSES} are not a list of names")
    return Classifier(graph, shape, classes, normalizer)


def _json(metadata: dict[str, str], key: str) -> Any:
    if key not in metadata:
        return None
    try:
        return json.loads(metadata[key])
    except (ValueError, RecursionError):
        raise OnnxError(f"its metadata {key} is damaged") from None


def _without_softmax(graph: Graph) -> Graph:
    """Without a softmax at the end: dlkit's loss and predictions take logits."""
    names = _pass_back(graph, graph.outputs[0].name, ("Identity",))
    last = _maker(graph, names)
    if last is None or last.converter.op not in ("Softmax", "LogSoftmax"):
        return graph
    return replace(graph, outputs=[replace(graph.outputs[0], name=last.inputs[0])])


def _maker(graph: Graph, name: str) -> Step | None:
    return next((s for s in graph.steps if name in s.outputs), None)


def _pass_back(graph: Graph, name: str, through: tuple[str, ...]) -> str:
    """The value from which `name` comes by way of these operators."""
    while (step := _maker(graph, name)) is not None and step.converter.op in through:
        name = step.inputs[0]
    return name


# -- the last layer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Head:
    """The last weights and bias, and which axis of each counts the classes."""

    weight: str
    axis: int
    bias: str | None
    classes: int


def _head(graph: Graph) -> _Head | None:
    step = _maker(graph, _pass_back(graph, graph.outputs[0].name, BETWEEN))
    bias = None
    if step is not None and step.converter.op == "Add":
        biases = [n for n in step.inputs if n in graph.weights and graph.weights[n].ndim == 1]
        others = [n for n in step.inputs if n not in graph.weights]
        if len(biases) != 1 or len(others) != 1:
            return None
        bias, step = biases[0], _maker(graph, others[0])
    if step is None or len(step.inputs) < 2 or step.inputs[1] not in graph.weights:
        return None
    weight = step.inputs[1]
    shape = graph.weights[weight].shape
    op, attributes = step.converter.op, step.attributes
    if op == "Gemm" and len(shape) == 2:
        axis = 0 if attributes.get("transB") else 1
    elif op == "MatMul" and len(shape) == 2:
        axis = 1
    elif op == "Conv" and attributes.get("group", 1) == 1:
        axis = 0
    else:
        return None
    if bias is None and len(step.inputs) > 2 and step.inputs[2]:
        bias = step.inputs[2]
        if bias not in graph.weights or graph.weights[bias].shape[-1:] != (shape[axis],):
            return None
    used = [name for s in graph.steps for name in s.inputs]
    if used.count(weight) > 1 or (bias is not None and used.count(bias) > 1):
        return None
    return _Head(weight, axis, bias, shape[axis])


def with_new_head(graph: Graph, classes: int) -> Graph:
    """The graph with its last layer drawn anew for this many classes.

    Raises : OnnxError if the last layer is not a linear layer or convolution with weights of its own.
    """
    head = _head(graph)
    if head is None:
        raise OnnxError(
            f"its last layer cannot be replaced by one for {classes} classes (it is no Gemm, MatMul or Conv with weights "
            "of its own before the output)"
        )
    old = graph.weights[head.weight]
    fan_in = old.size // head.classes
    drawn = INITS["xavier_uniform"]((fan_in, classes), random.generator()).astype(old.dtype)
    shape = list(old.shape)
    shape[head.axis] = classes
    weights = {**graph.weights, head.weight: (drawn.T if head.axis == 0 else drawn).reshape(shape)}
    if head.bias is not None:
        weights[head.bias] = np.zeros(classes, graph.weights[head.bias].dtype)
    return replace(graph, weights=weights)
