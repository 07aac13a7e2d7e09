"""Tensors under the names that torchvision and timm give them, as dlkit's networks want them.

    what            there                       here
    convolution     weight [K, C/G, R, S]       weight [R, S, C/G, K]
    linear          weight [out, in]            weight [in, out]
    batch norm      weight, bias                gamma, beta
    flattened       channel by channel          pixel by pixel

The last line concerns a linear layer behind a flattened image: its rows are put in the other order. Names differ where
dlkit's activations are part of a layer, so that lists have fewer members; timm has names of its own for VGG's classifier
and MobileNet v2.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from dlkit.errors import CheckpointError
from dlkit.nn import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, Module, observe_modules
from dlkit.nn.summary import run_on_shapes
from dlkit.tensor import Tensor

Tensors = dict[str, np.ndarray]
COUNTER = "num_batches_tracked"  # of batch norm: how many batches its averages have seen


def from_torch(model_name: str, model: Module, input_shape: tuple[int, ...], tensors: Tensors) -> Tensors:
    """`tensors` by the names and in the order of axes that `model` has, as far as they have a place there.

    What has none keeps its name; what is missing or has another size is the caller's to see.
    Raises : CheckpointError for a weight with a number of axes that no such layer has.
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, (Conv2d, Linear, BatchNorm2d))}
    places = _places(model_name, list(layers), tensors)
    flattened = flattened_inputs(model, input_shape)
    out: Tensors = {}
    for name, array in tensors.items():
        layer, _, what = name.rpartition(".")
        if what == COUNTER:
            continue
        place = places.get(layer, layer)
        module = layers.get(place)
        if isinstance(module, BatchNorm2d):
            what = {"weight": "gamma", "bias": "beta"}.get(what, what)
        elif isinstance(module, Conv2d) and what == "weight":
            array = _checked(name, array, (4,)).transpose(2, 3, 1, 0)
        elif isinstance(module, Linear) and what == "weight":
            array = _linear(_checked(name, array, (2, 4)), flattened.get(place))
        out[f"{place}.{what}" if place else what] = array
    return out


def _checked(name: str, w: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    if w.ndim not in axes:
        raise CheckpointError(
            f"{name!r} has shape {w.shape}; a weight with {' or '.join(map(str, axes))} axes is needed"
        )
    return w


def _linear(w: np.ndarray, flattened: tuple[int, int, int] | None) -> np.ndarray:
    """[out, in] or, written as a convolution over all pixels, [out, C, H, W] -> [in, out], pixel by pixel."""
    if w.ndim == 2 and flattened is not None:
        height, width, channels = flattened
        if w.shape[1] == height * width * channels:
            w = w.reshape(-1, channels, height, width)
    if w.ndim == 4:
        return w.transpose(2, 3, 1, 0).reshape(-1, w.shape[0])
    return w.T


def flattened_inputs(model: Module, input_shape: tuple[int, ...]) -> dict[str, tuple[int, int, int]]:
    """Linear layers whose input is a flattened image -> (H, W, C) of that image. Found by passing shapes through."""
    names = {id(m): name for name, m in model.named_modules()}
    images: dict[int, tuple[Tensor, tuple[int, int, int]]] = {}  # the tensors are kept, or their ids would come again
    found: dict[str, tuple[int, int, int]] = {}

    def on_module(module: Module, inputs: tuple, y: Any) -> None:
        if isinstance(module, Flatten) and inputs[0].ndim == 4:
            images[id(y)] = y, inputs[0].shape[1:]
        elif isinstance(module, Dropout) and id(inputs[0]) in images:
            images[id(y)] = y, images[id(inputs[0])][1]
        elif isinstance(module, Linear) and id(inputs[0]) in images:
            found[names[id(module)]] = images[id(inputs[0])][1]

    run_on_shapes(model, input_shape, (), observe_modules(on_module))
    return found


# -- which layer is which ------------------------------------------------------------------------------------------------

MOBILENET_V2 = re.compile(r"blocks\.(\d+)\.(\d+)\.(conv_pw|bn1|conv_dw|bn2|conv_pwl|bn3)")
MOBILENET_V2_STAGES = (1, 2, 3, 4, 3, 3, 1)  # blocks in each
EXPANDING = {
    "conv_pw": "0.conv",
    "bn1": "0.bn",
    "conv_dw": "1.conv",
    "bn2": "1.bn",
    "conv_pwl": "2.conv",
    "bn3": "2.bn",
}
FIRST = {"conv_dw": "0.conv", "bn1": "0.bn", "conv_pw": "1.conv", "bn2": "1.bn"}  # the block without expansion
TIMM_VGG = {"pre_logits.fc1": 0, "pre_logits.fc2": 1, "head.fc": 2}  # which of the classifier's linear layers


def _places(model_name: str, own: list[str], tensors: Tensors) -> dict[str, str]:
    """Names of layers there -> here, where they differ."""
    there = list(dict.fromkeys(name.rpartition(".")[0] for name in tensors))
    if model_name == "mobilenet_v2":
        if any(name.startswith("blocks.") for name in there):
            return {name: place for name in there if (place := _timm_mobilenet_v2(name)) is not None}
        return _in_order(there, own, "features.") | _in_order(there, own, "classifier.")
    if model_name == "alexnet" or model_name.startswith("vgg"):
        classifier = [name for name in own if name.startswith("classifier.")]
        timm = {name: classifier[i] for name, i in TIMM_VGG.items() if name in there}
        return _in_order(there, own, "features.") | (timm or _in_order(there, own, "classifier."))
    return {}


def _in_order(there: list[str], own: list[str], prefix: str) -> dict[str, str]:
    """Layers under `prefix`: the first there, by number, is the first here, and so on."""
    theirs = sorted((name for name in there if name.startswith(prefix)), key=_natural)
    return dict(zip(theirs, (name for name in own if name.startswith(prefix))))


def _natural(name: str) -> list[tuple[int, str]]:
    """features.2 before features.10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]


def _timm_mobilenet_v2(name: str) -> str | None:
    last = sum(MOBILENET_V2_STAGES) + 1
    outside = {
        "conv_stem": "features.0.conv",
        "bn1": "features.0.bn",
        "conv_head": f"features.{last}.conv",
        "bn2": f"features.{last}.bn",
        "classifier": "classifier.1",
    }
    if (match := MOBILENET_V2.fullmatch(name)) is None:
        return outside.get(name)
    stage, block, layer = int(match[1]), int(match[2]), match[3]
    inside = (FIRST if stage == 0 else EXPANDING).get(layer)
    if inside is None or stage >= len(MOBILENET_V2_STAGES):
        return None
    return f"features.{1 + sum(MOBILENET_V2_STAGES[:stage]) + block}.conv.{inside}"
