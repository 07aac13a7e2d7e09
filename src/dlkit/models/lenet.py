from __future__ import annotations

from dlkit import nn
from dlkit.models.registry import model, require_image


@model("lenet5", source="LeCun et al. 1998, Gradient-based learning applied to document recognition, figure 2")
def lenet5(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    activation: str = "tanh",
    pool: str = "average",
    dropout: float = 0.0,
    init: str | None = None,
) -> nn.Module:
    """LeNet-5: two 5×5 convolutions with pooling, then 120, 84 and the classes.

    As published: 6 and 16 filters, average pooling, tanh, 32×32 input, which a 28×28 image reaches by two pixels of
    padding in the first layer (other sizes work as well). Deviations: C3 sees all six maps instead of a table's
    subset, pooling has no trainable scale, the last layer is softmax instead of RBF units. Modern options:
    `--activation relu --pool max --dropout 0.5`.
    """
    h, w, c = require_image("lenet5", input_shape, 12)
    window = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}
    if pool not in window:
        from dlkit.errors import ConfigError

        raise ConfigError(f"lenet5: unknown pool {pool!r}; expected average or max")
    first_padding = 2 if min(h, w) < 32 else 0
    h, w = ((n + 2 * first_padding - 4) // 2 for n in (h, w))
    h, w = ((n - 4) // 2 for n in (h, w))
    head: list[nn.Module] = [
        nn.Flatten(),
        nn.Linear(h * w * 16, 120, activation=activation, init=init),
        nn.Linear(120, 84, activation=activation, init=init),
    ]
    if dropout:
        head.append(nn.Dropout(dropout))
    return nn.Sequential(
        nn.Conv2d(c, 6, 5, padding=first_padding, activation=activation, init=init),
        window[pool](2),
        nn.Conv2d(6, 16, 5, activation=activation, init=init),
        window[pool](2),
        *head,
        nn.Linear(84, classes, init=init or "xavier_uniform"),
    )
