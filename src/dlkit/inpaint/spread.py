"""The known pixels spread into the hole: what stands in where the time ran out before a method came there."""

from __future__ import annotations

import numpy as np

from dlkit import tape
from dlkit.models.partial_unet import pull_push
from dlkit.tensor import Tensor


def spread(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """float32 [H, W, C] with its hole filled by averages from fine to coarse and back; costs next to nothing."""
    known = (~hole[None, ..., None]).astype(np.float32)
    with tape.no_grad():
        return pull_push(Tensor(image[None] * known), Tensor(known)).numpy()[0]
