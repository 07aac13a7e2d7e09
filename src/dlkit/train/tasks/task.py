"""What a task is, and the one list of them.

    @task("classify", used_by="dlkit evaluate and dlkit predict")
    class Classify(Task): ...

The Trainer knows epochs, batches, the schedule, checkpoints, resuming, Ctrl-C and divergence. A task knows its data, what
a batch is, the loss, the row of an epoch, which epoch is best, how the test is done and what lands in metrics.json. It is
made once for each run and keeps nothing that changes while training: that is what makes a resumed run equal to an
uninterrupted one.

    batch ──inputs──► model(*inputs) ──► y ──loss──► scalar to be minimised
                                         └──sums──► numbers added up over the epoch ──train_row──► the epoch's row

`--task` offers what is registered. An option of TrainConfig that only some tasks read names them: `tasks=("inpaint",)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from dlkit.data.normalize import Normalizer
from dlkit.nn import Module
from dlkit.registry import Registry
from dlkit.tensor import Tensor
from dlkit.train.config import TrainConfig

if TYPE_CHECKING:
    from dlkit.train.origin import Origin

Row = dict[str, Any]


class Data(Protocol):
    """What a task reads: all else about it is between the task and its formats."""

    name: str

    def remarks(self) -> list[str]: ...


class Batches(Protocol):
    def __len__(self) -> int: ...
    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of epoch `epoch` from `start` on; batch i is the same wherever one starts."""
        ...


class Task(ABC):
    """One run's task.

    loader : the batches to train on        validated : whether there are validation examples
    model_name : for the run folder and the result
    classes, input_shape, normalizer : what a checkpoint keeps, so that the network can be built and fed again;
        a task without classes has []
    quantities : what rows and metrics hold, with the unit for the curves; "loss" is always there. A row holds
        train_<quantity> and, with validation, val_<quantity>, the metrics test_<quantity> too
    """

    name: ClassVar[str]
    used_by: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {}  # of TrainConfig, where this task's are others
    quantities: dict[str, str]

    loader: Batches
    validated: bool
    model_name: str
    classes: list[str]
    input_shape: tuple[int, ...]
    normalizer: Normalizer
    features: list[str] | None = None  # what a table calls its columns

    @classmethod
    @abstractmethod
    def load(cls, config: TrainConfig) -> Any:
        """The data that `config` names."""

    @abstractmethod
    def __init__(self, config: TrainConfig, data: Any, origin: Origin | None): ...

    @classmethod
    def build(
        cls, config: TrainConfig, input_shape: tuple[int, ...], classes: int, network: bytes | None = None
    ) -> Module:
        """The network, its weights drawn from the default generator; `network` is the ONNX file it starts from."""
        return config.build(input_shape, classes, network)

    def fingerprints(self) -> dict[str, str]:
        """Of the data that a run's sets are drawn from: they must not have changed when it is gone on with."""
        return {}

    def restore(self, normalizer: Normalizer) -> None:
        """Takes the normalizer of the run that is gone on with."""
        self.normalizer = normalizer

    # -- one step ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def inputs(self, batch: Any, device: str) -> tuple[Tensor, ...]:
        """What the network is called with."""

    @abstractmethod
    def loss(self, y: Any, batch: Any) -> Tensor:
        """The loss of the network's output `y`, a scalar."""

    @abstractmethod
    def sums(self, y: Any, batch: Any, loss: float) -> dict[str, float]:
        """What this batch adds to the sums of its epoch, by name."""

    # -- one epoch ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def train_row(self, sums: dict[str, float]) -> Row:
        """train_<quantity> from the sums of an epoch."""

    @abstractmethod
    def validate(self, model: Module, device: str, folder: Path) -> Row | None:
        """val_<quantity>, "val_loss" among them; None without validation data. May leave pictures in `folder`."""

    @abstractmethod
    def score(self, row: Row) -> tuple[float, ...]:
        """Of a row with validation, and what `costs` gave; the epoch with the highest is the best."""

    def objective(self, row: Row) -> float:
        """What matters most in the score, conditions apart, as a number to compare trainings by; higher is better."""
        return self.score(row)[0]

    def costs(self, model: Module) -> Row:
        """What is measured on the network alone, once before training: size, latency."""
        return {}

    def verdict(self, row: Row) -> Row:
        """What metrics.json says about the best epoch's row and the costs beside the numbers."""
        return {}

    @abstractmethod
    def test(self, model: Module, device: str, folder: Path) -> Row:
        """What the best network's test adds to metrics.json: test_<quantity>; {} without test data."""

    # -- in words ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def describe(self) -> str:
        """The data, in a line."""

    @abstractmethod
    def describe_row(self, row: Row) -> str:
        """An epoch, in a line."""

    @abstractmethod
    def describe_test(self, metrics: Row) -> str | None:
        """The test, in a line; None if there was none."""


TASKS: Registry[type[Task]] = Registry("task")
T = TypeVar("T", bound=type[Task])


def task(name: str, *, used_by: str) -> Callable[[T], T]:
    """Puts the decorated class into TASKS. `used_by` says what a finished run is good for: for messages."""

    def register(cls: T) -> T:
        cls.name, cls.used_by = name, used_by
        TASKS.add(name, cls)
        return cls

    return register
