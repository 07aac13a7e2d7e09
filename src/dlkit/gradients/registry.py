"""Everything dlkit can check by itself: the ops, the layers and the networks, found in their registries."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence

from dlkit.errors import ConfigError
from dlkit.gradients.layers import check_layer, layer_classes
from dlkit.gradients.models import check_model
from dlkit.gradients.numeric import Settings
from dlkit.gradients.ops import DTYPES, check_op
from dlkit.gradients.report import GradientReport
from dlkit.models import MODELS
from dlkit.ops import OPS
from dlkit.registry import nearest


def names(pattern: str | None = None, models: bool = True) -> list[tuple[str, str]]:
    """(kind, name) of everything that is checked; `pattern` is part of a name or a shell pattern. Layers are `nn.Name`.

    Raises : ConfigError if nothing matches.
    """
    everything = [("op", n) for n, o in OPS.items() if o.differentiable]
    everything += [("layer", f"nn.{n}") for n in layer_classes()]
    everything += [("model", n) for n in MODELS if models]
    if pattern:
        matching = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
        chosen = [(kind, n) for kind, n in everything if fnmatch.fnmatchcase(n, matching)]
        if not chosen:
            close = nearest(pattern, [n for _, n in everything])
            raise ConfigError(f"nothing to check matches {pattern!r}{close}; `dlkit gradcheck --list` shows all names")
        everything = chosen
    return everything


def check_all(
    chosen: Sequence[tuple[str, str]],
    settings: Settings | None = None,
    backends: Sequence[str] | None = None,
    dtypes: Sequence[str] = DTYPES,
) -> Iterator[GradientReport]:
    """One report for each (kind, name) of `names()`, as it is done. Layers and networks are checked in float64 only."""
    settings = settings or Settings()
    if not (settings.step > 0 and settings.tolerance > 0):
        raise ConfigError(f"eps (={settings.step}) and tolerance (={settings.tolerance}) must be positive")
    for kind, name in chosen:
        if kind == "op":
            yield check_op(OPS[name], settings, backends, dtypes)
        elif kind == "layer":
            yield check_layer(name.removeprefix("nn."), settings, backends)
        else:
            yield check_model(name, settings, backends)
