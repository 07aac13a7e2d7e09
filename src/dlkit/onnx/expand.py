"""Operators that ONNX itself defines by others: one without a converter becomes the nodes of its definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dlkit.errors import OnnxError

DEEPEST = 8  # definitions inside definitions


@dataclass(frozen=True)
class Definition:
    """The nodes that stand for one node, and the versions of the operators they use."""

    nodes: list[Any]
    versions: dict[str, int]


def definition_of(node: Any, version: int, types: Sequence[Any], prefix: str) -> Definition | None:
    """The standard's definition of `node` in an opset version, its inner names under `prefix`; None if it has none.

    types : TypeProto of each input; some definitions depend on them.
    """
    import onnx

    try:
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    except onnx.defs.SchemaError:
        return None
    attributes = {a.name: a for a in node.attribute}
    for name, attribute in schema.attributes.items():
        if name not in attributes and attribute.default_value.name:
            attributes[name] = attribute.default_value
    body = _body(schema, node, attributes, version, types)
    if body is None:
        return None
    names = dict(zip(body.input, (*node.input, *("",) * len(body.input))))
    names.update((inner, outer) for inner, outer in zip(body.output, node.output) if outer)
    names[""] = ""

    def outer(inner: str) -> str:
        return names.get(inner, prefix + inner)

    nodes = []
    for inner in body.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(inner)
        del copy.input[:], copy.output[:], copy.attribute[:]
        copy.input.extend(map(outer, inner.input))
        copy.output.extend(map(outer, inner.output))
        for attribute in inner.attribute:
            if attribute.ref_attr_name:
                if attribute.ref_attr_name in attributes:
                    copy.attribute.add().CopyFrom(attributes[attribute.ref_attr_name])
                    copy.attribute[-1].name = attribute.name
            else:
                copy.attribute.add().CopyFrom(attribute)
        nodes.append(copy)
    return Definition(nodes, {o.domain: o.version for o in body.opset_import})


def _body(schema: Any, node: Any, attributes: dict[str, Any], version: int, types: Sequence[Any]) -> Any:
    """The definition for the newest opset version that is not newer than `version`, as a FunctionProto."""
    import onnx

    plain = [v for v in schema.function_opset_versions if v <= version]
    if plain:
        body = onnx.FunctionProto()
        body.ParseFromString(schema.get_function_with_opset_version(max(plain)))
        return body
    by_type = [v for v in schema.context_dependent_function_opset_versions if v <= version]
    if not by_type:
        return None
    whole = onnx.NodeProto()
    whole.CopyFrom(node)
    del whole.attribute[:]
    whole.attribute.extend(attributes.values())
    try:
        text = schema.get_context_dependent_function_with_opset_version(
            max(by_type), whole.SerializeToString(), [t.SerializeToString() for t in types]
        )
    except Exception as error:  # the C++ library's own errors have no common type
        raise OnnxError(f"its definition does not take these inputs ({error})") from None
    body = onnx.FunctionProto()
    body.ParseFromString(text)
    return body if body.node else None
