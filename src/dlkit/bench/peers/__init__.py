"""PyTorch's side of each case. Only this package imports torch, and only a comparison imports this package.

A peer is a function (inputs, variant) -> Work under the name that cases give as their `peer`. `variants` are the ways
in which a PyTorch user would write it, memory layouts or implementations; all are timed, and the fastest one counts.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

import torch

from dlkit.bench.case import Inputs, Work
from dlkit.registry import Registry

VERSION = torch.__version__
LAYOUTS = ("default", "channels_last")


@dataclass(frozen=True)
class Peer:
    variants: tuple[str, ...]
    build: Callable[[Inputs, str], Work]


PEERS: Registry[Peer] = Registry("peer")


def peer(name: str, variants: tuple[str, ...] = ("default",)) -> Callable:
    def register(build: Callable[[Inputs, str], Work]) -> Callable[[Inputs, str], Work]:
        PEERS.add(name, Peer(variants, build))
        return build

    return register


def set_num_threads(n: int) -> None:
    torch.set_num_threads(n)


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
