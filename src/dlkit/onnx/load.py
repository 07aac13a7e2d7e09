"""From a file to a module, with nothing believed unseen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlkit.errors import OnnxError
from dlkit.onnx.graph import build_graph
from dlkit.onnx.module import GraphModule
from dlkit.onnx.safety import MAX_FILE, Limits, limited


def require_onnx() -> Any:
    """The package `onnx`.  Raises : OnnxError saying how to get it."""
    try:
        import onnx
    except ImportError:
        raise OnnxError('ONNX files need the package onnx; install it with: pip install "dlkit[onnx]"') from None
    return onnx


def parse(data: bytes, where: str = "model") -> Any:
    """The ModelProto in `data`.  Raises : OnnxError if it is damaged or none."""
    onnx = require_onnx()
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise OnnxError(f"{where}: truncated, damaged or not an ONNX file") from None
    if not all(isinstance(text, str) for text in _texts(model)):  # protobuf hands on what is no UTF-8 as bytes
        raise OnnxError(f"{where}: truncated, damaged or not an ONNX file (it holds names that are no text)")
    if not model.HasField("graph") or not model.opset_import:
        raise OnnxError(f"{where}: truncated, damaged or not an ONNX file (it holds no graph)")
    return model


def _texts(model: Any) -> Iterator[Any]:
    """Every name that is read from a model."""
    graph = model.graph
    for opset in model.opset_import:
        yield opset.domain
    for note in model.metadata_props:
        yield from (note.key, note.value)
    for info in (*graph.input, *graph.output):
        yield info.name
    for tensor in graph.initializer:
        yield tensor.name
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    for node in graph.node:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
            yield from (text for entry in attribute.t.external_data for text in (entry.key, entry.value))


def read_file(path: Path) -> bytes:
    """Raises : OnnxError if the file cannot be read or is larger than any ONNX file."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise OnnxError(f"{path}: larger than 2 GiB, which no ONNX file can be")
        return path.read_bytes()
    except OSError as error:
        raise OnnxError(f"{path}: cannot be read ({error.strerror})") from None


def load_bytes(
    data: bytes,
    where: str = "model",
    *,
    folder: Path | None = None,
    channels_last: bool = True,
    limits: Limits | None = None,
) -> GraphModule:
    """The network in the bytes of an ONNX file; see `load`."""
    model = parse(data, where)
    with limited(limits or Limits()):
        try:
            module = GraphModule(build_graph(model, folder), channels_last, limits)
        except OnnxError as error:
            raise type(error)(f"{where}: {error}") from None
    module.eval()
    return module


def load(path: str | Path, *, channels_last: bool = True, limits: Limits | None = None) -> GraphModule:
    """The network in an ONNX file, in inference mode: opset 6 to the newest known.

    channels_last : images go in and come out as [N, H, W, C]; False for ONNX's own [N, C, H, W].
    Raises : OnnxError if the file is no sound ONNX model, UnsupportedOnnx if it needs an operator dlkit does not have.
    """
    path = Path(path)
    return load_bytes(read_file(path), str(path), folder=path.parent, channels_last=channels_last, limits=limits)
