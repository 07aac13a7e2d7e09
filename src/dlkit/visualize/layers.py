"""The maps that layers make of an image, by the layers' names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dlkit import nn
from dlkit.errors import ConfigError
from dlkit.nn.functional import Operation
from dlkit.registry import nearest
from dlkit.tensor import Tensor

# these pass on, in another size or order, what the layer before them saw
_PASSES_ON = (
    nn.Sequential,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.GlobalAvgPool2d,
    nn.Dropout,
    nn.Flatten,
    nn.Upsample,
    nn.Pad2d,
)
_OPS_PASS_ON = ("pool", "reshape", "transpose", "pad", "upsample", "dropout")


@contextmanager
def caught_maps(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """name -> output [N, H, W, K] of every layer that makes maps, in the order in which they are done, while `model` runs
    in the block. Inference mode, but recorded on the tape."""
    names = {id(m): name for name, m in model.named_modules()}
    modes = [(m, m.training) for m in model.modules()]
    found: dict[str, Tensor] = {}

    def catch(module: nn.Module, inputs: tuple, y: Any) -> None:
        name = names.get(id(module))
        if name and isinstance(y, Tensor) and y.ndim == 4 and y.shape[1] * y.shape[2] > 1 and not _passes_on(module):
            found.pop(name, None)  # a shared layer: its last call, in its place
            found[name] = y

    model.eval()
    try:
        with nn.observe_modules(catch):
            yield found
    finally:
        for module, training in modes:
            module.training = training


def _passes_on(module: nn.Module) -> bool:
    if isinstance(module, Operation):
        return any(word in module.op for word in _OPS_PASS_ON)
    return isinstance(module, _PASSES_ON)


def feature_maps(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The maps [N, H, W, K] that each layer of `model` makes of the images x [N, H, W, C], in order; {} for a network
    without such layers."""
    with caught_maps(model) as found, nn.inference(model):
        model(x)
        return dict(found)


def stages(maps: dict[str, Tensor]) -> list[str]:
    """The last layer or block of each size, in order: what there is to see without looking at every layer."""
    outer = [name for name in maps if not any(name.startswith(f"{block}.") for block in maps)]
    following = [*outer[1:], None]
    return [a for a, b in zip(outer, following) if b is None or _size(maps[a]) != _size(maps[b])]


def _size(maps: Tensor) -> tuple[int, ...]:
    return maps.shape[1:3]


def chosen(maps: dict[str, Tensor], asked: str | None) -> list[str]:
    """The layers named in `asked`, with commas between them; "all", or None for the last of each size.

    Raises : ConfigError for one that there is not.
    """
    if asked is None:
        return stages(maps)
    if asked == "all":
        return list(maps)
    names = [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in maps:
            known = list(maps)
            raise ConfigError(f"no layer {name!r} that makes maps{nearest(name, known)}; layers: {', '.join(known)}")
    return names
