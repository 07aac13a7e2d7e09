"""ONNX: networks from elsewhere, and dlkit's networks for elsewhere.

    model = dlkit.onnx.load("resnet18.onnx")          a Module: model(images), trains, saves, loads
    dlkit.onnx.export(model, (32, 32, 3), "mine.onnx")

dlkit.onnx.backend is an ONNX backend as the standard's own tests drive it; docs/conformance.md says what they find.
"""

from __future__ import annotations

from dlkit.onnx.export import export, export_model
from dlkit.onnx.load import load, load_bytes
from dlkit.onnx.module import GraphModule
from dlkit.onnx.safety import Limits

__all__ = ["GraphModule", "Limits", "export", "export_model", "load", "load_bytes"]
