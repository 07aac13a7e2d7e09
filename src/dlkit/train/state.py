"""How far a training has come, and what it came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dlkit.errors import CheckpointError


@dataclass
class State:
    """How far a run has come. `batch` batches of epoch `epoch` are done; the task's sums run over them."""

    epoch: int = 0
    batch: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    best_epoch: int = -1
    best_score: tuple[float, ...] | None = None
    costs: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False

    @classmethod
    def from_dict(cls, saved: dict[str, Any], path: Path) -> State:
        """Raises : CheckpointError if `saved` is not what `asdict` made of a State."""
        try:
            if "loss_sum" in saved:  # as written when classification was the only task
                rest = {k: v for k, v in saved.items() if k not in ("loss_sum", "correct", "seen")}
                sums = {"loss": saved["loss_sum"], "correct": saved["correct"], "seen": saved["seen"]}
                best = saved["best_score"]  # with validation: accuracy, -loss
                validated = best and "val_loss" in saved["history"][-1]
                saved = {**rest, "sums": sums, "best_score": [1.0, *best] if validated else best}
            state = cls(**saved)
            if min(state.epoch, state.batch) < 0 or len(state.history) != state.epoch:
                raise ValueError(f"epoch {state.epoch}, {len(state.history)} of them in the history")
            if not isinstance(state.sums, dict):
                raise ValueError(f"sums are {state.sums!r}")
            state.best_score = tuple(state.best_score) if state.best_score else None  # type: ignore[assignment]
        except (TypeError, ValueError, KeyError) as error:
            raise CheckpointError(f"{path}: its training state is damaged ({error})") from None
        return state

    def add(self, sums: dict[str, float]) -> None:
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, 0) + value


@dataclass
class TrainResult:
    """What a training came to. `stopped` is "finished", "early" or "interrupted".

    metrics : test_<quantity> and val_<quantity> of the task, of the best network (None where there was no such data),
        train_loss of the last epoch; each is an attribute too: `result.test_accuracy`
    """

    metrics: dict[str, Any]
    epochs: int
    best_epoch: int
    seconds: float
    parameters: int
    data: str
    model: str
    backend: str
    stopped: str
    run: str
    notes: list[str]

    def __getattr__(self, name: str) -> Any:
        if name != "metrics" and name in self.metrics:
            return self.metrics[name]
        raise AttributeError(f"TrainResult has no {name!r}")

    def to_dict(self) -> dict[str, Any]:
        rest = asdict(self)
        return {**rest.pop("metrics"), **rest}
