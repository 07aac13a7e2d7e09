"""What stands between a file from anywhere and this machine's memory.

A model is data: nothing in it can run code. What it can do is ask for more memory than there is, so sizes are checked
before anything is allocated: a value's shape against MAX_VALUE, whether dlkit's ops make it (they say its shape first) or
NumPy does (check_size). Weights in other files are read only from the model's own folder.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.errors import OnnxError, UnsupportedOnnx
from dlkit.ops import observe

MAX_FILE = 2**31 - 1  # the protobuf format's own limit
MAX_AXES = 32


@dataclass(frozen=True)
class Limits:
    """value : bytes of one value; work : floating-point operations of one node."""

    value: int = 4 << 30
    work: float = 1e13


class _State(threading.local):
    limits = Limits()


_state = _State()


def check_size(shape: Any, dtype: Any) -> None:
    """Raises : UnsupportedOnnx if an array of this shape would be larger than the limit."""
    shape = tuple(int(n) for n in shape)
    if len(shape) > MAX_AXES:
        raise UnsupportedOnnx(f"a value with {len(shape)} axes is more than {MAX_AXES}")
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > _state.limits.value:
        raise UnsupportedOnnx(
            f"a value of shape {'×'.join(map(str, shape))} takes {size / 2**30:,.1f} GiB, "
            f"more than the limit of {_state.limits.value / 2**30:,.1f} GiB"
        )


def check_broadcast(*shapes: tuple[int, ...]) -> None:
    """`check_size` of what arrays of these shapes broadcast to, one byte each."""
    try:
        check_size(np.broadcast_shapes(*shapes), np.int64)
    except ValueError:
        raise OnnxError(f"shapes {' and '.join(map(str, shapes))} do not broadcast together") from None


@contextmanager
def limited(limits: Limits) -> Iterator[None]:
    """Inside the block no op and no `check_size` lets a larger value or a longer computation through."""

    def check(op: Any, shapes: list, attributes: dict, shape: tuple, dtype: Any) -> None:
        check_size(shape, dtype)
        work = op.flops(shapes, attributes)
        if work > limits.work:
            raise UnsupportedOnnx(f"{work:.1e} operations in one node are more than the limit of {limits.work:.1e}")

    before, _state.limits = _state.limits, limits
    try:
        with observe(check):
            yield
    finally:
        _state.limits = before


def dtype_of(elem_type: int) -> np.dtype:
    """NumPy's type for one of ONNX's.  Raises : UnsupportedOnnx."""
    import onnx

    names = onnx.TensorProto.DataType
    known = (
        "FLOAT",
        "DOUBLE",
        "FLOAT16",
        "BFLOAT16",
        "BOOL",
        *(f"{s}INT{n}" for s in ("", "U") for n in (8, 16, 32, 64)),
    )
    try:
        name = names.Name(elem_type)
    except ValueError:
        raise OnnxError(f"element type {elem_type} does not exist") from None
    if name not in known:
        raise UnsupportedOnnx(f"values of type {name} are not done; {', '.join(known)} are")
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type))


def array_of(tensor: Any, folder: Path | None) -> np.ndarray:
    """The values of a TensorProto.  Raises : OnnxError if they are not all there, UnsupportedOnnx for other types."""
    from onnx import TensorProto, numpy_helper

    dtype = dtype_of(tensor.data_type)
    shape = tuple(tensor.dims)
    where = f"tensor {tensor.name!r}" if tensor.name else "a constant"
    if any(n < 0 for n in shape):
        raise OnnxError(f"{where} has shape {shape}")
    check_size(shape, dtype)
    size = math.prod(shape) * dtype.itemsize
    if tensor.data_location == TensorProto.EXTERNAL:
        data = _external(tensor, folder, size, where)
        return np.frombuffer(data, dtype.newbyteorder("<")).reshape(shape).astype(dtype)
    if tensor.HasField("raw_data") and len(tensor.raw_data) != size:
        raise OnnxError(f"{where} of shape {shape} needs {size:,} bytes, the file holds {len(tensor.raw_data):,}")
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError) as error:
        raise OnnxError(f"{where} of shape {shape} is damaged ({error})") from None
    return np.array(array).reshape(shape)


def _external(tensor: Any, folder: Path | None, size: int, where: str) -> bytes:
    """The bytes of a tensor that lie in another file of the model's folder."""
    entries = {e.key: e.value for e in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise OnnxError(f"{where} lies in another file, {location!r}; load the model from its folder")
    path = (folder / location).resolve()
    if not location or not path.is_relative_to(folder.resolve()):
        raise OnnxError(f"{where} lies in {location!r}, outside the model's folder; it is not read")
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
        if offset < 0 or length != size or not path.is_file() or path.stat().st_size < offset + length:
            raise OnnxError(f"{where} needs {size:,} bytes of {location!r} from {offset:,}, which does not hold them")
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)
    except (OSError, ValueError) as error:
        raise OnnxError(f"{where} cannot be read from {location!r} ({error})") from None
