"""Every error dlkit raises on purpose.

    DlkitError                  exit status 1
    ├── UsageError              exit status 2: the call itself was wrong
    │   ├── ShapeError          shapes that do not fit (also a ValueError)
    │   ├── DTypeError          number types that do not fit (also a TypeError)
    │   ├── ConfigError         an option or configuration value (also a ValueError)
    │   └── OnnxError           a file that is not a sound ONNX model
    │       └── UnsupportedOnnx one that is, but asks for what dlkit does not do
    ├── DataError               a file or data set that cannot be used
    ├── CheckpointError         a run folder or checkpoint that cannot be used
    ├── BackendError            a kernel or backend that is not to be had
    ├── GradientError           a derivative that does not exist or cannot be computed
    ├── DivergedError           training that produced NaN or infinity
    ├── SearchError             a search that came to nothing, or whose storage cannot be used
    └── BenchmarkError          a benchmark whose answer is wrong or whose process failed

A message says what was given, what was expected and what to do, in one line.
"""

from __future__ import annotations


class DlkitError(Exception):
    """Root of the tree; `exit_code` is the command line's exit status."""

    exit_code = 1


class UsageError(DlkitError):
    exit_code = 2


class ShapeError(UsageError, ValueError):
    pass


class DTypeError(UsageError, TypeError):
    pass


class ConfigError(UsageError, ValueError):
    pass


class OnnxError(UsageError):
    pass


class UnsupportedOnnx(OnnxError):  # noqa: N818 - "unsupported ONNX" is what it says
    pass


class DataError(DlkitError):
    pass


class CheckpointError(DlkitError):
    pass


class BackendError(DlkitError):
    pass


class GradientError(DlkitError):
    pass


class DivergedError(DlkitError):
    pass


class SearchError(DlkitError):
    pass


class BenchmarkError(DlkitError):
    pass
