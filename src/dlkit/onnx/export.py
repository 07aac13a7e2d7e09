"""From a module to an ONNX file: the network is run once, and each op it applies becomes nodes.

Images come in as [N, C, H, W], weights are filters [K, C/G, R, S]; the number of examples stays open. The network is
exported as it infers: batch norm with its running statistics, no dropout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dlkit.errors import ConfigError, OnnxError, UnsupportedOnnx
from dlkit.nn import Module, inference
from dlkit.onnx.emit import EMITTERS, Call, Writer
from dlkit.onnx.emit.writer import FIRST, LAST, TO_FIRST
from dlkit.onnx.load import require_onnx
from dlkit.ops.op import Op, follow
from dlkit.symbol import leaves
from dlkit.tensor import Tensor
from dlkit.train.files import write_atomically

OPSET = 21
Shapes = tuple[int, ...] | list[tuple[int, ...]]
BATCH = 3  # examples in the traced run; an unlikely number, so that it can be told from other sizes


def export_model(module: Module, input_shape: Shapes, metadata: dict[str, str] | None = None) -> Any:
    """The network as an onnx.ModelProto, checked.

    input_shape : of one example, (H, W, C) or (F,), or a list of them; several inputs are called input_0, input_1.
    Outputs in a dict have its names, several others output_0, output_1.  metadata : texts to put into metadata_props.
    Raises : UnsupportedOnnx for an op that has no ONNX form, OnnxError if the package onnx is missing.
    """
    onnx = require_onnx()
    names = {id(t): name for name, t in [*module.named_parameters(), *module.named_buffers()]}
    w = Writer(names, BATCH)
    shapes = input_shape if isinstance(input_shape, list) else [input_shape]
    inputs = [Tensor(np.zeros((BATCH, *shape), np.float32)) for shape in shapes]
    input_names = ["input"] if len(inputs) == 1 else [f"input_{i}" for i in range(len(inputs))]
    for x, name in zip(inputs, input_names):
        w.define(x, name, FIRST if x.ndim == 4 else LAST)

    def emit(op: Op, inputs: list, attributes: dict, output: Tensor) -> None:
        if all(w.is_weight(i) or not isinstance(i, Tensor) for i in inputs):
            return  # a constant: its value is written where it is used
        if op.name not in EMITTERS:
            raise UnsupportedOnnx(f"op {op.name} has no form in ONNX; dlkit exports {', '.join(EMITTERS.names())}")
        EMITTERS[op.name](w, Call(inputs, attributes, output))

    with inference(module), follow(emit):
        y = module(*inputs)
    outputs = list(y.values()) if isinstance(y, dict) else list(leaves(y))
    output_names = list(y) if isinstance(y, dict) else [f"output_{i}" for i in range(len(outputs))]
    infos = []
    for name, out in zip(output_names if len(outputs) > 1 else ["output"], outputs):
        if not isinstance(out, Tensor) or not w.known(out):
            raise UnsupportedOnnx("the network's output does not depend on its input by ops that can be exported")
        form = FIRST if out.ndim == 4 else LAST
        w.nodes.append(onnx.helper.make_node("Identity", [w.name(out, form)], [name], name=name))
        infos.append(_info(name, out))
    weights = [onnx.numpy_helper.from_array(array, name) for name, array in w.weights.items()]
    graph = onnx.helper.make_graph(
        w.nodes, "dlkit", [_info(n, x) for n, x in zip(input_names, inputs)], infos, initializer=weights
    )
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(
        graph,
        producer_name="dlkit",
        opset_imports=opsets,
        ir_version=onnx.helper.find_min_ir_version_for(opsets),
    )
    onnx.helper.set_model_props(model, metadata or {})
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise OnnxError(
            f"the exported model does not pass ONNX's own checker: {' '.join(str(error).split())}"
        ) from None
    return model


def _info(name: str, x: Tensor) -> Any:
    import onnx

    shape: list[Any] = [x.shape[i] for i in TO_FIRST] if x.ndim == 4 else list(x.shape)
    open_batch: list[Any] = ["N", *shape[1:]] if shape and shape[0] == BATCH else shape
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(x.dtype), open_batch)


def export(module: Module, input_shape: Shapes, path: str | Path, metadata: dict[str, str] | None = None) -> Any:
    """Writes the network to an ONNX file and returns its ModelProto; see `export_model`. The file is complete or not there."""
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise ConfigError(f"{path}: an ONNX file's name ends in .onnx")
    model = export_model(module, input_shape, metadata)
    write_atomically(path, model.SerializeToString())
    return model
