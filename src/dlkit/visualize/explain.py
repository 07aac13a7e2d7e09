"""Which pixels decide: derivatives of one class's score, before the softmax."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlkit import nn
from dlkit.errors import ShapeError
from dlkit.tape import grad
from dlkit.tensor import Tensor
from dlkit.visualize.layers import caught_maps, chosen


@dataclass(frozen=True)
class Explanation:
    """saliency : float32 [H, W], how much each pixel moves the score.  cam : float32 [H', W'], Grad-CAM in the size of the
    layer's maps, not negative; None for a network without maps.  layer : whose maps."""

    saliency: np.ndarray
    cam: np.ndarray | None
    layer: str | None


def explain(model: nn.Module, x: Tensor, k: int, layer: str | None = None) -> Explanation:
    """Saliency and Grad-CAM of class k for one image x [1, H, W, C]; layer : by default the last one that makes maps.

    saliency = max over channels of |ds/dx|                  Simonyan, Vedaldi & Zisserman 2014, section 3.1
    cam = relu(Σ_c α_c A_c),  α_c = mean over pixels of ds/dA_c     Selvaraju et al. 2017, equations 1 and 2

    s is the score of class k, A_c map c of the layer.
    Raises : ShapeError for more than one image, ConfigError for an unknown layer.
    """
    if x.ndim != 4 or x.shape[0] != 1:
        raise ShapeError(f"one image [1, H, W, C] is explained at a time; got {x.shape}")
    image = Tensor(x.numpy(), device=x.device, requires_grad=True)
    with caught_maps(model) as maps:
        scores = model(image)
    name = chosen(maps, layer)[-1] if maps or layer else None
    slopes: list[Tensor] = []
    if name is not None:
        maps[name].register_hook(slopes.append)
    (dx,) = grad(scores[0, k], [image])
    saliency = np.abs(dx.numpy()[0]).max(axis=-1)
    if name is None:
        return Explanation(saliency, None, None)
    alpha = slopes[0].numpy()[0].mean(axis=(0, 1))
    return Explanation(saliency, np.maximum(maps[name].numpy()[0] @ alpha, 0), name)
