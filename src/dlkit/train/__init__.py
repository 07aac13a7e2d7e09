"""Training a network: configuration, loop, checkpoints, evaluation."""

from dlkit.train.config import TrainConfig
from dlkit.train.evaluation import Evaluation, evaluate
from dlkit.train.loop import Trainer, train
from dlkit.train.run import RunFolder
from dlkit.train.state import TrainResult

__all__ = ["Evaluation", "RunFolder", "TrainConfig", "TrainResult", "Trainer", "evaluate", "train"]
