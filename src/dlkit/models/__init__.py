"""Networks by name. Importing this package imports each module beside it; each registers its models in MODELS."""

from __future__ import annotations

import importlib
import pkgutil

from dlkit.models.hourglass import Hourglass
from dlkit.models.partial_unet import PartialUNet
from dlkit.models.registry import MODELS, ModelEntry, build_model, model

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["MODELS", "Hourglass", "ModelEntry", "PartialUNet", "build_model", "model"]
