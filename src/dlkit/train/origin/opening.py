"""Which kind of origin a name or path is."""

from __future__ import annotations

from pathlib import Path

from dlkit.errors import CheckpointError, ConfigError
from dlkit.registry import nearest
from dlkit.train.origin.base import Origin
from dlkit.weights.published import PUBLISHED


def open_origin(path: str, network: bytes | None = None) -> Origin:
    """A run folder, an ONNX file, a safetensors file (dlkit's own or from elsewhere) or the name of published weights.

    network : the ONNX file's bytes, if a run that began from one is gone on with.
    Raises : ConfigError if it is nothing of the kind; OnnxError, CheckpointError if it cannot be used.
    """
    from dlkit.train.origin.onnx import OnnxOrigin

    if network is not None or path.lower().endswith(".onnx"):
        return OnnxOrigin.open(path, network)
    if path.lower().endswith(".safetensors"):
        return _from_safetensors(Path(path))
    if Path(path).is_dir():
        from dlkit.train.origin.run import RunOrigin
        from dlkit.train.run import RunFolder

        return RunOrigin(path, RunFolder.open(path).load_best())
    if path in PUBLISHED:
        from dlkit.weights.fetch import find

        if (file := find(path)) is None:
            raise ConfigError(f"{path} is not on this machine yet; fetch it with: dlkit weights get {path}")
        return _from_safetensors(file)
    raise ConfigError(
        f"{path}: no run folder, no .onnx or .safetensors file, and no name of published weights"
        f"{nearest(path, PUBLISHED.names())}; dlkit weights list shows those"
    )


def _from_safetensors(path: Path) -> Origin:
    from safetensors import SafetensorError, safe_open

    from dlkit.train.checkpoint import load_checkpoint
    from dlkit.train.origin.run import RunOrigin
    from dlkit.train.origin.weights import WeightsOrigin

    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(str(path), framework="numpy") as file:
            if "dlkit" in (file.metadata() or {}):
                return RunOrigin(str(path), load_checkpoint(path))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path}: damaged, or not a safetensors file of numbers that are known ({error})"
        ) from None
    return WeightsOrigin.open(str(path), tensors)
