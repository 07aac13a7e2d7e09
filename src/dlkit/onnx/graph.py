"""An ONNX graph, checked and ready to run: its steps in order, its weights, its inputs and outputs.

model file ──► safety: sizes, folders ──► Graph: every operator has a converter, every name a maker
                                             └──► GraphModule (module.py): weights that train
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.errors import OnnxError, UnsupportedOnnx
from dlkit.onnx.convert import NEWEST, OLDEST, Context, Converter, find
from dlkit.onnx.expand import DEEPEST, definition_of
from dlkit.onnx.safety import array_of, dtype_of

MAX_NODES = 200_000
DOMAINS = {"ai.onnx": ""}  # two names for one domain


@dataclass(frozen=True)
class Port:
    """An input or output of the graph. Sizes are numbers, names of unknown numbers, or None."""

    name: str
    dtype: np.dtype
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class Step:
    """One operator with the names of its inputs and outputs ("" where one is omitted)."""

    converter: Converter
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    label: str

    def run(self, inputs: tuple, training: bool) -> tuple:
        context = Context(training, tuple(map(bool, self.outputs)))
        with explained(self.label):
            return self.converter(inputs, self.attributes, context)


class explained:
    """Puts a node's name in front of what went wrong in it; whatever a library raises becomes an OnnxError."""

    def __init__(self, label: str):
        self.label = label

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, UnsupportedOnnx):
            raise UnsupportedOnnx(f"{self.label}: {error}") from None
        if isinstance(error, (OnnxError, ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError)):
            raise OnnxError(f"{self.label}: {' '.join(str(error).split())}") from error


@dataclass
class Graph:
    """See the module's docstring. `weights` are the initialisers; `metadata` the model's own notes."""

    inputs: list[Port]
    outputs: list[Port]
    weights: dict[str, np.ndarray]
    steps: list[Step]
    metadata: dict[str, str] = field(default_factory=dict)

    def operators(self) -> list[str]:
        return sorted({step.converter.op for step in self.steps})

    def last_uses(self) -> list[list[str]]:
        """For each step, the values that nothing needs after it."""
        last = {name: i for i, step in enumerate(self.steps) for name in (*step.inputs, *step.outputs)}
        kept = {p.name for p in self.outputs}
        gone: list[list[str]] = [[] for _ in self.steps]
        for name, i in last.items():
            if name and name not in kept:
                gone[i].append(name)
        return gone


def build_graph(model: Any, folder: Path | None = None) -> Graph:
    """The graph of a ModelProto; weights in other files are looked for in `folder`.

    Raises : OnnxError for a model that is not sound, UnsupportedOnnx (naming operator, domain, version and reason) for
    one that needs what dlkit does not do.
    """
    return _Builder(model, folder).build()


class _Builder:
    def __init__(self, model: Any, folder: Path | None):
        self.model, self.graph, self.folder = model, model.graph, folder
        self.versions = _versions(model.opset_import)
        self.steps: list[Step] = []
        self.made: set[str] = set()
        self.types: dict[str, Any] | None = None
        self.inner = 0

    def build(self) -> Graph:
        graph = self.graph
        if graph.sparse_initializer:
            raise UnsupportedOnnx("sparse weights are not done")
        if len(graph.node) > MAX_NODES:
            raise UnsupportedOnnx(f"{len(graph.node):,} nodes are more than {MAX_NODES:,}")
        weights = {}
        for tensor in graph.initializer:
            if not tensor.name or tensor.name in weights:
                raise OnnxError(f"two weights are called {tensor.name!r}")
            weights[tensor.name] = array_of(tensor, self.folder)
        inputs = [port(i) for i in graph.input if i.name not in weights]
        self.made = {*weights, *(i.name for i in inputs)}
        if len({i.name for i in inputs}) != len(inputs):
            raise OnnxError("two inputs have the same name")
        self.add(graph.node, self.versions, 0)
        outputs = [self.output(o) for o in graph.output]
        if not outputs:
            raise OnnxError("the graph has no outputs")
        metadata = {p.key: p.value for p in self.model.metadata_props}
        return Graph(inputs, outputs, weights, self.steps, metadata)

    def output(self, info: Any) -> Port:
        if info.name not in self.made:
            raise OnnxError(f"output {info.name!r} is made by no node")
        return port(info)

    def add(self, nodes: Iterable[Any], versions: dict[str, int], depth: int) -> None:
        for node in nodes:
            label = _label(node, versions)
            with explained(label):
                self.add_node(node, versions, depth, label)

    def add_node(self, node: Any, versions: dict[str, int], depth: int, label: str) -> None:
        domain = DOMAINS.get(node.domain, node.domain)
        for name in node.input:
            if name and name not in self.made:
                raise OnnxError(f"input {name!r} is made by no node before it (a cycle, or nodes out of order)")
        if domain not in versions:
            raise OnnxError(f"the model imports no operators of domain {domain!r}")
        version = versions[domain]
        if domain == "" and not (version <= NEWEST and (version >= OLDEST or _unchanged(node.op_type, version))):
            raise UnsupportedOnnx(f"opset {version} is not known; {OLDEST} to {NEWEST} are")
        found = find(domain, node.op_type, version)
        if found is None:
            self.expand(node, domain, version, depth, label)
            return
        attributes = {a.name: attribute_value(a, self.folder) for a in node.attribute}
        inputs = list(node.input)
        while inputs and not inputs[-1]:
            inputs.pop()
        found.check(tuple(inputs), attributes)
        self.name_outputs(node.output)
        self.steps.append(Step(found, tuple(inputs), tuple(node.output), attributes, label))

    def name_outputs(self, names: Iterable[str]) -> None:
        for name in filter(None, names):
            if name in self.made:
                raise OnnxError(f"the value {name!r} is made twice")
            self.made.add(name)

    def expand(self, node: Any, domain: str, version: int, depth: int, label: str) -> None:
        """Puts the standard's own definition of an operator in its place."""
        import onnx

        if not onnx.defs.has(node.op_type, domain):
            raise OnnxError(f"there is no operator {node.op_type!r} in domain {domain or 'ai.onnx'!r}")
        self.inner += 1
        prefix = f"{node.op_type}.{self.inner}."
        types = [self.type_of(name) for name in node.input]
        definition = None if depth >= DEEPEST else definition_of(node, version, types, prefix)
        if definition is None:
            raise UnsupportedOnnx("this operator is not done")
        made = set(self.made)
        self.add(definition.nodes, {**self.versions, **definition.versions}, depth + 1)
        missing = [name for name in node.output if name and name not in self.made]
        if missing or made & set(filter(None, node.output)):
            raise OnnxError(f"the operator's definition does not make {missing or 'new values'}")

    def type_of(self, name: str) -> Any:
        """The type of a value as the standard's inference finds it; empty if that is not known."""
        import onnx

        if self.types is None:
            self.types = {}
            try:
                inferred = onnx.shape_inference.infer_shapes(self.model).graph
            except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
                inferred = self.graph  # it says what it says about its inputs
            for info in (*inferred.input, *inferred.value_info, *inferred.output):
                self.types[info.name] = info.type
            for tensor in self.graph.initializer:
                self.types[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        return self.types.get(name) or onnx.TypeProto()


def _unchanged(op: str, version: int) -> bool:
    """Does an operator of an old opset version mean what it meant in the oldest one that is known?"""
    import onnx

    try:
        then, later = (onnx.defs.get_schema(op, v, "").since_version for v in (version, OLDEST))
    except onnx.defs.SchemaError:
        return False
    return then == later


def _versions(imports: Iterable[Any]) -> dict[str, int]:
    return {DOMAINS.get(o.domain, o.domain): o.version for o in imports}


def _label(node: Any, versions: dict[str, int]) -> str:
    domain = DOMAINS.get(node.domain, node.domain)
    where = f"{domain.encode('unicode_escape').decode() or 'ai.onnx'} {versions.get(domain, '?')}"
    name = f" {node.name[:60]!r}" if node.name else ""
    op = node.op_type if node.op_type.isidentifier() else repr(node.op_type)  # a name may hold line breaks
    return f"{op[:60]}{name} ({where})"


def port(info: Any) -> Port:
    """Raises : UnsupportedOnnx for anything but a tensor of numbers."""
    kind = info.type.WhichOneof("value")
    if kind != "tensor_type":
        raise UnsupportedOnnx(
            f"{info.name!r} is a {(kind or 'value without a type').removesuffix('_type')}, not a tensor"
        )
    tensor = info.type.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in tensor.shape.dim)
    with explained(f"{info.name!r}"):
        return Port(info.name, dtype_of(tensor.elem_type), shape)


def attribute_value(attribute: Any, folder: Path | None) -> Any:
    """An attribute as a Python number, text, list or array."""
    from onnx import AttributeProto

    kind = attribute.type
    if kind == AttributeProto.FLOAT:
        return attribute.f
    if kind == AttributeProto.INT:
        return attribute.i
    if kind == AttributeProto.STRING:
        return _text(attribute.s)
    if kind == AttributeProto.TENSOR:
        return array_of(attribute.t, folder)
    if kind == AttributeProto.FLOATS:
        return list(attribute.floats)
    if kind == AttributeProto.INTS:
        return list(attribute.ints)
    if kind == AttributeProto.STRINGS:
        return [_text(s) for s in attribute.strings]
    try:
        name = AttributeProto.AttributeType.Name(kind)
    except ValueError:
        name = str(kind)
    raise UnsupportedOnnx(f"attribute {attribute.name!r} of type {name} is not done")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise OnnxError("an attribute's text is not UTF-8") from None
