"""Which way of convolving the native kernels choose for a case, where they tell."""

from __future__ import annotations

from dlkit.backends import current_backend
from dlkit.bench.case import Case, Inputs

DIRECTIONS = ("conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight")


def algorithm(case: Case, inputs: Inputs) -> str | None:
    """ "direct", "winograd", ...; None for other work, other backends and builds that do not tell."""
    if case.peer not in DIRECTIONS or current_backend() != "native":
        return None
    from dlkit._native import matrix

    tell = getattr(matrix, "conv2d_algorithm", None)
    if tell is None:
        return None
    s, p = inputs["stride"], inputs["padding"]
    names = tell(inputs["x"].shape, inputs["w"].shape, (s, s), (p, p, p, p), groups=inputs["groups"])
    return names[DIRECTIONS.index(case.peer)]
