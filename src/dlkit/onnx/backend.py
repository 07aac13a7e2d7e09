"""dlkit as an ONNX backend, in the convention that the standard's tests and tools expect of a module.

    import dlkit.onnx.backend as backend
    backend.prepare(model).run([x])        backend.run_node(node, [x])        backend.supports_device("CPU")

Values are NumPy arrays in ONNX's own order of axes. A model that needs what dlkit does not do is declined: `is_compatible`
is False and `prepare` raises UnsupportedOnnx.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, Device, DeviceType, namedtupledict

from dlkit import tape
from dlkit.errors import OnnxError, UnsupportedOnnx
from dlkit.onnx.convert import NEWEST
from dlkit.onnx.graph import build_graph
from dlkit.onnx.layout import plain
from dlkit.onnx.module import GraphModule
from dlkit.tensor import Tensor


class DlkitRep(BackendRep):
    """A model that is ready to run."""

    def __init__(self, module: GraphModule):
        self.module = module
        self.module.eval()

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs for `inputs`: one array, a list of them, or a dictionary by name."""
        names = [port.name for port in self.module.graph.inputs]
        if isinstance(inputs, dict):
            inputs = [inputs[name] for name in names]
        elif isinstance(inputs, np.ndarray):
            inputs = [inputs]
        with tape.no_grad():
            outputs = self.module.run(tuple(inputs))
        arrays = [y.numpy() if isinstance(y, Tensor) else np.asarray(plain(y)) for y in outputs]
        return namedtupledict("Outputs", [port.name for port in self.module.graph.outputs])(*arrays)


class DlkitBackend(Backend):
    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        try:
            build_graph(model)
        except UnsupportedOnnx:
            return False
        return cls.supports_device(device)

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> DlkitRep:
        """Raises : UnsupportedOnnx, naming the operator, its domain and version and the reason; OnnxError."""
        if not cls.supports_device(device):
            raise UnsupportedOnnx(f"device {device!r} is not done; CPU is")
        return DlkitRep(GraphModule(build_graph(model), channels_last=False))

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """One node, by default of the newest opset version that dlkit knows (`opset_version=`)."""
        arrays = list(inputs.values()) if isinstance(inputs, dict) else list(inputs)
        names = [name for name in node.input if name]
        if len(arrays) != len(names):
            raise OnnxError(f"{len(arrays)} inputs were given, the node has {len(names)}")
        types = [onnx.helper.np_dtype_to_tensor_dtype(a.dtype) for a in map(np.asarray, arrays)]
        graph = onnx.helper.make_graph(
            [node],
            "node",
            [onnx.helper.make_tensor_value_info(n, t, np.shape(a)) for n, t, a in zip(names, types, arrays)],
            [onnx.helper.make_tensor_value_info(n, types[0] if types else 1, None) for n in node.output if n],
        )
        version = kwargs.get("opset_version", NEWEST)
        opsets = [onnx.helper.make_opsetid(node.domain, version if node.domain in ("", "ai.onnx") else 1)]
        return cls.run_model(onnx.helper.make_model(graph, opset_imports=opsets), arrays, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        try:
            return Device(device).type == DeviceType.CPU
        except (AttributeError, ValueError):
            return False


is_compatible = DlkitBackend.is_compatible
prepare = DlkitBackend.prepare
run_model = DlkitBackend.run_model
run_node = DlkitBackend.run_node
supports_device = DlkitBackend.supports_device
