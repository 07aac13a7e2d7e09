"""The layers as Keras calls them, without the size of their input: a network is written on symbols.

    from dlkit.layers import Conv2d, Flatten, Input, Linear, MaxPool2d, Model

    x = Input((32, 32, 3))
    y = MaxPool2d(2)(Conv2d(16, 3, activation="relu")(x))
    model = Model(x, Linear(10)(Flatten()(y)))

Layers with parameters are `Deferred`: the shape they are called on makes them, with the same options as in `dlkit.nn`. All
other names are those of `dlkit.nn`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlkit import nn
from dlkit.nn.deferred import Deferred

__all__ = [*nn.__all__]


def __getattr__(name: str) -> Any:
    if name in nn.__all__:
        return getattr(nn, name)
    raise AttributeError(f"module 'dlkit.layers' has no attribute {name!r}")


def _deferred(name: str, layer: Callable[..., nn.Module], *sizes: Any, **options: Any) -> Deferred:
    """`layer(channels, *sizes, **options)`, once the channels are known."""
    shown = ", ".join([*map(str, sizes), *(f"{n}={v!r}" for n, v in options.items())])
    return Deferred(f"{name}({shown})", lambda channels: layer(channels, *sizes, **options))


def Linear(out_features: int, **options: Any) -> Deferred:  # noqa: N802
    """`nn.Linear` for whatever number of features arrives."""
    return _deferred("Linear", nn.Linear, out_features, **options)


def Conv2d(out_channels: int, kernel_size: int | tuple[int, int], **options: Any) -> Deferred:  # noqa: N802
    """`nn.Conv2d` for whatever number of channels arrives."""
    return _deferred("Conv2d", nn.Conv2d, out_channels, kernel_size, **options)


def ConvTranspose2d(out_channels: int, kernel_size: int | tuple[int, int], **options: Any) -> Deferred:  # noqa: N802
    """`nn.ConvTranspose2d` for whatever number of channels arrives."""
    return _deferred("ConvTranspose2d", nn.ConvTranspose2d, out_channels, kernel_size, **options)


def BatchNorm1d(**options: Any) -> Deferred:  # noqa: N802
    return _deferred("BatchNorm1d", nn.BatchNorm1d, **options)


def BatchNorm2d(**options: Any) -> Deferred:  # noqa: N802
    return _deferred("BatchNorm2d", nn.BatchNorm2d, **options)


def LayerNorm(**options: Any) -> Deferred:  # noqa: N802
    return _deferred("LayerNorm", nn.LayerNorm, **options)


def InstanceNorm2d(**options: Any) -> Deferred:  # noqa: N802
    return _deferred("InstanceNorm2d", nn.InstanceNorm2d, **options)


def GroupNorm(groups: int, **options: Any) -> Deferred:  # noqa: N802
    return Deferred(f"GroupNorm({groups})", lambda channels: nn.GroupNorm(groups, channels, **options))
