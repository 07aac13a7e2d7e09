"""How networks learn: optimisers, learning-rate schedules, gradient clipping."""

from dlkit.optim.muon import Muon
from dlkit.optim.optimizer import OPTIMIZERS, SGD, Adam, AdamW, Optimizer, RMSprop, clip_gradients
from dlkit.optim.schedule import SCHEDULES, Schedule

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adam",
    "AdamW",
    "Muon",
    "Optimizer",
    "RMSprop",
    "Schedule",
    "clip_gradients",
]
