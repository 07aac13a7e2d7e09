"""A case's inputs and answers as files, for processes of their own: arrays as .npz, options as one JSON text in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.bench.case import Inputs

OPTIONS = "__options__"


def write_inputs(path: str | Path, inputs: Inputs) -> None:
    options = {name: x for name, x in inputs.items() if not isinstance(x, np.ndarray)}
    arrays: dict[str, Any] = {name: x for name, x in inputs.items() if isinstance(x, np.ndarray)}
    arrays[OPTIONS] = np.array(json.dumps(options))
    np.savez(path, **arrays)


def read_inputs(path: str | Path) -> Inputs:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return {**json.loads(str(arrays.pop(OPTIONS))), **arrays}


def write_arrays(path: str | Path, arrays: list[np.ndarray]) -> None:
    np.savez(path, *arrays)


def read_arrays(path: str | Path) -> list[np.ndarray]:
    with np.load(path) as file:
        return [file[name] for name in file.files]
