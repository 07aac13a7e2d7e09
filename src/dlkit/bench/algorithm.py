"""Which way of convolving the native kernels choose for a case, where they tell."""

from __future__ import annotations

from dlkit.backends import current_backend
from dlkit.bench.case import Case, Inputs


def algorithm(case: Case, inputs: Inputs) -> str | None:
    """ "direct", "winograd", ...; None for other work, other backends and builds that do not tell."""
    if case.group != "conv" or current_backend() != "native":
        return None
    from dlkit._native import matrix

    tell = getattr(matrix, "conv2d_algorithm", None)
    if tell is None:
        return None
    direction = case.peer.removeprefix("conv2d_")
    return tell(direction, inputs["x"].shape, inputs["w"].shape, inputs["stride"], inputs["padding"], inputs["groups"])
