"""A trained network as an ONNX file, and how well it agrees with what it was made from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.errors import OnnxError
from dlkit.nn import Module, inference
from dlkit.tensor import Tensor
from dlkit.train.run import RunFolder

TOLERANCE = 1e-5  # of outputs, relative to the largest


@dataclass
class Exported:
    """difference : largest of the outputs of dlkit's own import, relative to the largest output; with_onnxruntime: the
    same of ONNX Runtime's, None where that is not installed."""

    run: str
    file: str
    opset: int
    nodes: int
    parameters: int
    bytes: int
    difference: float
    with_onnxruntime: float | None

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def export_run(run_path: str, file: str | None = None) -> Exported:
    """Writes a run's best network, with its class names and normalisation, to `file` (RUN/model.onnx) and asks it back.

    Raises : OnnxError if it has no ONNX form, or if what was written does not give the same outputs to 1e-5.
    """
    from dlkit.onnx import export, load
    from dlkit.onnx.classifier import CLASSES, INPUT_SHAPE, NORMALIZER
    from dlkit.onnx.export import OPSET

    run = RunFolder.open(run_path)
    checkpoint = run.load_best()
    model = checkpoint.build()
    path = Path(file) if file else run.path / "model.onnx"
    metadata = {
        CLASSES: json.dumps(checkpoint.classes),
        NORMALIZER: json.dumps(checkpoint.normalizer.state()),
        INPUT_SHAPE: json.dumps(list(checkpoint.input_shape)),
    }
    export(model, checkpoint.input_shape, path, metadata)
    x = np.random.default_rng(0).standard_normal((2, *checkpoint.input_shape)).astype(np.float32)
    expected = _outputs(model, x)
    again = load(path)
    difference = _difference(_outputs(again, x), expected)
    theirs = _onnxruntime(path, x)
    elsewhere = None if theirs is None else _difference(theirs, expected)
    for who, value in (("dlkit", difference), ("onnxruntime", elsewhere)):
        if value is not None and not value <= TOLERANCE:
            raise OnnxError(f"{path}: {who} computes outputs from it that differ by {value:.1e} from the network's own")
    nodes = len(again.graph.steps)
    return Exported(
        str(run), str(path), OPSET, nodes, model.parameter_count(), path.stat().st_size, difference, elsewhere
    )


def _outputs(model: Module, x: np.ndarray) -> np.ndarray:
    with inference(model):
        return model(Tensor(x)).numpy()


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))


def _onnxruntime(path: Path, x: np.ndarray) -> np.ndarray | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = x.transpose(0, 3, 1, 2) if x.ndim == 4 else x
    return session.run(None, {session.get_inputs()[0].name: given})[0]
