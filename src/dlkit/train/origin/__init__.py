"""What a training starts from instead of drawn weights: a run, an ONNX file, or a safetensors file from elsewhere."""

from dlkit.train.origin.base import Origin
from dlkit.train.origin.opening import open_origin

__all__ = ["Origin", "open_origin"]
