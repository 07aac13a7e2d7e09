"""What this machine and installation have: CPU features, threads, backends, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from dataclasses import dataclass
from typing import Any

from dlkit.backends import BACKENDS, current_backend, support
from dlkit.errors import DlkitError
from dlkit.threads import cores, set_num_threads

PACKAGES = ("numpy", "numba", "click", "safetensors", "pillow", "scikit-learn", "matplotlib", "h5py", "pooch")
SWITCHES = (
    "DLKIT_BACKEND",
    "DLKIT_ISA",
    "DLKIT_DATA_DIR",
    "DLKIT_DEBUG",
    "OMP_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMBA_CACHE_DIR",
)


@dataclass
class Diagnosis:
    """numba : what its cache holds of compiled kernels; backends : name -> "available" or why not; kernels : kernel -> backends that offer it, first choice first;
    problems : what a user should mend, in words."""

    versions: dict[str, str]
    machine: dict[str, Any]
    native: dict[str, Any]
    numba: dict[str, Any]
    backends: dict[str, str]
    chosen: str
    kernels: dict[str, list[str]]
    environment: dict[str, str]
    problems: list[str]

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def diagnose() -> Diagnosis:
    problems: list[str] = []
    backends = {b.name: b.available() or "available" for b in BACKENDS.values() if b.device == "cpu"}
    native: dict[str, Any] = {}
    if backends["native"] == "available":
        from dlkit._native import matrix

        native = {
            "cpu_has": matrix.isa_cpu(),
            "kernels_use": matrix.isa_name(),
            "openmp": matrix.has_openmp(),
            "threads": matrix.max_threads(),
        }
        if error := matrix.isa_request_error():
            problems.append(f"{error} (it is {os.environ.get('DLKIT_ISA')!r}); the kernels use {matrix.isa_name()}")
        if not native["openmp"]:
            problems.append(
                "the kernels were built without OpenMP and use one thread; install a compiler with OpenMP "
                "and run pip install --force-reinstall . in its folder"
            )
    else:
        problems.append(
            f"the native kernels are missing ({backends['native']}): training will be slow; reinstall with a C "
            "compiler at hand"
        )
    numba: dict[str, Any] = {}
    if backends["numba"] == "available":
        from dlkit.backends.numba import cached

        numba = cached()
    else:
        problems.append(f"the numba backend cannot be used ({backends['numba']})")
    versions = {"dlkit": _version("dlkit"), "python": platform.python_version(), **{p: _version(p) for p in PACKAGES}}
    machine = {
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": cores(),
        "python": sys.executable,
    }
    environment = {name: os.environ[name] for name in SWITCHES if name in os.environ}
    chosen = ""
    try:
        chosen = current_backend()
    except DlkitError as error:
        problems.append(str(error))
    try:
        set_num_threads(0)
    except DlkitError as error:
        problems.append(str(error))
    return Diagnosis(versions, machine, native, numba, backends, chosen, support(), environment, problems)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
