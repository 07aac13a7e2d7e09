"""Networks of linear layers: logistic regression, one hidden layer, L layers."""

from __future__ import annotations

import math

from dlkit import nn
from dlkit.errors import ConfigError
from dlkit.models.registry import model


@model("logistic", source="Cox 1958; the first network of every course")
def logistic(input_shape: tuple[int, ...], classes: int, *, init: str = "zeros") -> nn.Module:
    """Logistic (softmax) regression: one linear layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), classes, init=init))


@model("shallow", source="one hidden layer, as in Rumelhart et al. 1986")
def shallow(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    hidden: tuple[int, ...] = (64,),
    activation: str = "tanh",
    init: str | None = None,
    dropout: float = 0.0,
) -> nn.Module:
    """One hidden layer."""
    if len(hidden) != 1:
        raise ConfigError(
            f"model 'shallow' has one hidden layer; hidden={','.join(map(str, hidden))} gives {len(hidden)} (use mlp)"
        )
    return mlp(input_shape, classes, hidden=hidden, activation=activation, init=init, dropout=dropout)


@model("mlp", source="the L-layer network of the course")
def mlp(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    hidden: tuple[int, ...] = (128, 64),
    activation: str = "relu",
    init: str | None = None,
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> nn.Module:
    """L layers: hidden ones of the given sizes, then one unit per class."""
    if not hidden or min(hidden) < 1:
        raise ConfigError(f"hidden (={','.join(map(str, hidden))}) must be one or more positive layer sizes")
    layers: list[nn.Module] = [nn.Flatten()]
    width = math.prod(input_shape)
    for units in hidden:
        if batch_norm:  # the bias before batch norm would be subtracted again
            layers += [
                nn.Linear(width, units, bias=False, init=init or nn.layers.default_init(activation)),
                nn.BatchNorm1d(units, activation=activation),
            ]
        else:
            layers.append(nn.Linear(width, units, activation=activation, init=init))
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = units
    return nn.Sequential(*layers, nn.Linear(width, classes, init="xavier_uniform" if init != "zeros" else init))
