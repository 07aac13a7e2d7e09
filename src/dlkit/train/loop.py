"""Training: epochs of mini-batches, validation, checkpoints. What is learned is the task's business (dlkit.train.tasks).

All randomness of step i in epoch e follows from (seed, e, i), so the state of a run is its weights, its optimiser and
how far it has come; a run resumed in the middle of an epoch continues bit for bit.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dlkit import nn, random
from dlkit.backends import BACKENDS, current_backend, kernels, use_backend
from dlkit.data.names import KNOWN
from dlkit.errors import CheckpointError, DivergedError, DlkitError
from dlkit.models.user import UserModel
from dlkit.optim import OPTIMIZERS, Optimizer, clip_gradients
from dlkit.tensor import Tensor
from dlkit.threads import set_num_threads
from dlkit.train.checkpoint import Checkpoint, load_checkpoint
from dlkit.train.config import TrainConfig
from dlkit.train.divergence import advice, first_bad_place, is_finite
from dlkit.train.files import remove_leftovers, write_atomically
from dlkit.train.origin import Origin, open_origin
from dlkit.train.progress import Progress, Several, Silent
from dlkit.train.run import RunFolder
from dlkit.train.state import State, TrainResult
from dlkit.train.tasks import TASKS, Data, Task
from dlkit.train.tuning import Tuning

_WEIGHTS, _DROPOUT = 4, 5  # branches of the tree of random numbers; the data pipeline has 0 to 3


class Trainer:
    """One run: `Trainer(config).fit()`; `Trainer.resume(path).fit()` goes on with an interrupted one.

    dataset : instead of loading `config.data`.  device : where the network lives, by default the backend's.
    network : the bytes of the ONNX file to start from, instead of reading `config.from_model`.  resumed : the weights are
    to come from the run's own checkpoint, wherever it began.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: Data | None = None,
        device: str | None = None,
        network: bytes | None = None,
        resumed: bool = False,
    ):
        config = _with_absolute_paths(config)
        origin: Origin | None = None
        if config.from_model is not None and (not resumed or network is not None):
            origin = open_origin(config.from_model, network)
            config = origin.adapted(config)
        self.user_model = UserModel.of(config.model)
        self.source: str | None = None  # the checksum of the user's file
        if self.user_model is not None:
            config = replace(config, model=str(self.user_model))
            self.source = self.user_model.checksum()
        self.config, self.origin = config, origin
        if config.tensorboard:
            from dlkit.train.events import require_tensorboard

            require_tensorboard()  # its absence is better told now than after the first epoch
        set_num_threads(config.threads)
        if config.backend:
            use_backend(config.backend)
        self.device = device or (BACKENDS[config.backend].device if config.backend else "cpu")
        self.dataset = dataset or load_data(config)
        self.task: Task = TASKS[config.task](config, self.dataset, origin)
        self.loader, self.fingerprints = self.task.loader, self.task.fingerprints()
        with random.using(random.derive(config.seed, _WEIGHTS)):
            self.model = self.task.build(config, self.task.input_shape, len(self.task.classes), self.network)
            self.tuning = self._tuning(None if resumed else origin) if config.from_model is not None else None
        self.model = self.model.to(self.device)
        parameters = self.tuning.parameters() if self.tuning else self.model.parameters()
        self.optimizer: Optimizer = OPTIMIZERS[config.optimizer](parameters, **config.optimizer_options())
        self.base_lr = self.optimizer.lr
        self.schedule = config.learning_rate_schedule()
        self.has_dropout = any(
            (isinstance(m, nn.Dropout) and m.p > 0) or getattr(m, "draws", False) for m in self.model.modules()
        )
        self.state = State()
        self.run: RunFolder | None = None
        self._stop = False

    @classmethod
    def resume(cls, path: str, **changes: Any) -> Trainer:
        """A run as its last checkpoint left it. `changes` are configuration values to replace (threads, backend, ...).

        Raises : CheckpointError if there is no run, it was finished and has no more epochs to go, or its data have changed.
        """
        run = RunFolder.open(path)
        checkpoint = load_checkpoint(run.last)
        if checkpoint.progress is None:
            raise CheckpointError(f"{run.last}: holds a network but no training state to resume")
        values = {**checkpoint.config.to_dict(), "out": str(run.path), **changes}
        config = TrainConfig.from_dict(values, "options")  # those of the checkpoint have been looked at
        state = State.from_dict(checkpoint.progress, run.last)
        begun = state.epoch + (state.batch > 0)
        if config.epochs < begun or (state.finished and config.epochs <= begun):
            raise CheckpointError(f"{path}: this run has had {begun} epochs; give a larger --epochs to go on")
        checkpoint.check_source()
        trainer = cls(config, network=checkpoint.network, resumed=True)
        as_then = (checkpoint.classes, checkpoint.input_shape, checkpoint.data or trainer.fingerprints)
        if (trainer.task.classes, trainer.task.input_shape, trainer.fingerprints) != as_then:
            raise CheckpointError(f"{path}: the data set {trainer.config.data!r} has changed since this run began")
        try:
            trainer.model.load_state_dict(checkpoint.model_state)
            trainer.optimizer.load_state_dict(checkpoint.optimizer_state)
        except (CheckpointError, KeyError, ValueError) as error:
            raise CheckpointError(f"{run.last}: does not fit the run it belongs to ({error})") from None
        trainer.task.restore(checkpoint.normalizer)
        trainer.state, trainer.run = state, run
        if trainer._is_stale():
            raise CheckpointError(
                f"{path}: this run stopped because {config.patience} epochs brought nothing better; "
                "give a larger --patience to go on"
            )
        state.finished = False
        return trainer

    # -- training ----------------------------------------------------------------------------------------------------

    def fit(self, progress: Progress | None = None, test: bool = True) -> TrainResult:
        """Trains to the end, to early stopping, or to Ctrl-C; writes the run folder; tests the best network.

        test : False for one training of many, from which another will be chosen: neither tested nor pictured.
        Raises : DivergedError if the loss becomes NaN or infinite, OutputError if the run cannot be written.
        """
        progress = progress or Silent()
        with self._nothing_kept_of_no_step():
            self._open_run()
            with self._stoppable(), self._watched(progress) as progress:
                stopped = self._train(progress)
        self.save()
        result = self._finish(stopped, test)
        if stopped != "interrupted":  # only now: interrupted in its last test, a run can be resumed to repeat that
            self.state.finished = True
            assert self.run is not None
            last = load_checkpoint(self.run.last)  # the network has the best epoch's weights by now, not these
            replace(last, progress=asdict(self.state)).save(self.run.last)
        return result

    def _open_run(self) -> None:
        """The run folder with the state to begin with, or to go on from."""
        if self.run is None:
            self.run = RunFolder.create(self.config, self.dataset.name, self.task.model_name)
            if self.user_model is not None:
                write_atomically(self.run.path / "model.py", self.user_model.text())
        else:
            remove_leftovers(self.run.path)
            self.run.write_config(self.config)
        if self.state.costs is None:
            self.state.costs = self.task.costs(self.model)
        self.save()

    def _train(self, progress: Progress) -> str:
        """All epochs that are left, or as many as stopping allows; how it ended, as in TrainResult."""
        progress.start(self)
        while self.state.epoch < self.config.epochs:
            if not self._train_epoch(progress):
                return "interrupted"
            progress.epoch(self, self._end_epoch())
            if self._is_stale():
                return "early"
            if self._stop and self.state.epoch < self.config.epochs:
                return "interrupted"
        return "finished"

    @contextmanager
    def _nothing_kept_of_no_step(self) -> Iterator[None]:
        """A new run that fails before its first step leaves no folder in the way of the next try."""
        new = self.run is None
        try:
            yield
        except DivergedError:  # says how to go on from there
            raise
        except DlkitError:
            if new and self.run is not None and (self.state.epoch, self.state.batch) == (0, 0):
                self.run.discard()
                self.run = None
            raise

    @contextmanager
    def _watched(self, progress: Progress) -> Iterator[Progress]:
        """By the caller's watcher, and by TensorBoard's if it is asked for."""
        if not self.config.tensorboard:
            yield progress
            return
        from dlkit.train.events import Events

        assert self.run is not None
        with Events(self.run.path) as events:
            yield Several(progress, events)

    def stop(self) -> None:
        """Asks a running `fit` to save and return after the step it is in."""
        self._stop = True

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Ctrl-C (and SIGTERM) end the training after the current step; a second Ctrl-C interrupts at once."""
        self._stop = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

        def on_signal(number: int, frame: Any) -> None:
            self._stop = True
            signal.signal(signal.SIGINT, signal.default_int_handler)

        for s in before:
            signal.signal(s, on_signal)
        try:
            yield
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)

    def _train_epoch(self, progress: Progress) -> bool:
        """The rest of the current epoch; False if stopped inside it."""
        state, began = self.state, time.perf_counter()
        before = state.seconds
        self.model.train()
        if self.tuning:
            self.tuning.begin_epoch(state.epoch)
        for batch in self.loader.epoch(state.epoch, state.batch):
            loss = self._step(batch)
            state.batch += 1
            state.seconds = before + time.perf_counter() - began
            progress.step(self, state.batch, len(self.loader), loss)
            if self._stop and state.batch < len(self.loader):
                return False
        return True

    def _step(self, batch: Any) -> float:
        """One forward, backward and update."""
        state, config = self.state, self.config
        self.optimizer.lr = self._learning_rate(state.epoch * len(self.loader) + state.batch)
        inputs = self.task.inputs(batch, self.device)
        if self.has_dropout:
            with random.using(random.derive(config.seed, _DROPOUT, state.epoch, state.batch)):
                y = self.model(*inputs)
        else:
            y = self.model(*inputs)
        loss = self.task.loss(y, batch)
        value = loss.item()
        if not is_finite(value):
            raise self._diverged(value, inputs)
        objective = loss + nn.l2_penalty(self.model.parameters(), config.l2) if config.l2 else loss
        self.optimizer.zero_grad()
        objective.backward()
        if config.clip_norm:
            clip_gradients(self.optimizer.parameters, config.clip_norm)
        self.optimizer.step()
        state.add(self.task.sums(y, batch, value))
        return value

    def _learning_rate(self, done: int) -> float:
        """After `done` steps."""
        steps = len(self.loader)
        return self.base_lr * self.schedule.factor(done, steps, self.config.epochs * steps)

    def _learning_rates(self, epochs: int) -> list[tuple[float, float]]:
        """(epochs done, learning rate) at a few hundred steps from the start on: for the picture."""
        steps = epochs * len(self.loader)
        return [(n / len(self.loader), self._learning_rate(n)) for n in range(0, steps, max(1, steps // 400))]

    def _diverged(self, value: float, inputs: tuple[Tensor, ...] | None) -> DivergedError:
        state = self.state
        if inputs is None:
            where = f"the weights became useless (loss {value}) by the last update of epoch {state.epoch + 1}"
        else:
            place = first_bad_place(self.model, *inputs)
            where = f"the loss became {value} in epoch {state.epoch + 1}, batch {state.batch + 1}, first in {place}"
        kept = f" and dlkit train --resume {self.run}, which goes on from the last good epoch" if self.run else ""
        return DivergedError(f"{where}; {advice(self.optimizer.lr, self.config.clip_norm)}{kept}")

    def _end_epoch(self) -> dict[str, Any]:
        """Validates, remembers the best network, writes checkpoint and history; returns the epoch's row."""
        assert self.run is not None
        state = self.state
        if not all(kernels(self.device).all_finite(p.data) for p in self.model.parameters()):
            raise self._diverged(float("nan"), None)  # the last update of an epoch, before anything is saved
        began = time.perf_counter()
        row: dict[str, Any] = {
            "epoch": state.epoch + 1,
            "lr": self.optimizer.lr,
            **self.task.train_row(state.sums),
        }
        val = self.task.validate(self.model, self.device, self.run.path)
        if val is not None:
            if not is_finite(val["val_loss"]):
                raise self._diverged(val["val_loss"], None)
            row |= val
        # without validation the newest is the best
        score = (0.0, float(state.epoch)) if val is None else self.task.score({**row, **(state.costs or {})})
        better = state.best_score is None or score > state.best_score
        if better:
            state.best_epoch, state.best_score = state.epoch + 1, score
        state.history.append(row)
        state.epoch, state.batch = state.epoch + 1, 0
        state.sums = {}
        state.seconds += time.perf_counter() - began
        if better:
            self._checkpoint(with_state=False).save(self.run.best)
        self.save()
        self.run.write_history(state.history)
        return row

    def _is_stale(self) -> bool:
        patience, history = self.config.patience, self.state.history
        validated = bool(history) and "val_loss" in history[-1]
        return bool(patience and validated and self.state.epoch - self.state.best_epoch >= patience)

    # -- its pieces ----------------------------------------------------------------------------------------------------

    def _tuning(self, origin: Origin | None) -> Tuning:
        def build(classes: int) -> nn.Module:  # for its shapes; a user's own code may want to see numbers
            with nn.undrawn() if self.user_model is None else nullcontext():
                return self.task.build(self.config, self.task.input_shape, classes, self.network)

        return Tuning(self.config, self.model, build, self.task.input_shape, self.task.classes, origin)

    def _checkpoint(self, with_state: bool) -> Checkpoint:
        return Checkpoint(
            self.config,
            self.task.classes,
            self.task.input_shape,
            self.task.normalizer,
            self.model.state_dict(),
            self.optimizer.state_dict() if with_state else {},
            asdict(self.state) if with_state else None,
            self.network,
            self.source,
            self.fingerprints,
            self.task.features,
        )

    @property
    def network(self) -> bytes | None:
        """The ONNX file that the network comes from, if it does."""
        return self.origin.data if self.origin else None

    def remarks(self) -> list[str]:
        """What a user should know about the data and the network before training starts."""
        own = self.origin.remarks(self.task.classes) if self.origin else []
        vain = ["patience has no effect: there are no validation examples"]
        return [
            *self.dataset.remarks(),
            *(vain if self.config.patience and not self.task.validated else []),
            *own,
            *(self.tuning.remarks() if self.tuning else []),
        ]

    def save(self) -> None:
        """Writes the checkpoint that `resume` goes on from."""
        assert self.run is not None
        self._checkpoint(with_state=True).save(self.run.last)

    def _metrics(self) -> dict[str, Any]:
        """The best epoch's validation, the last epoch's loss; the test is still to come."""
        history, best = self.state.history, self.state.best_epoch
        row = history[best - 1] if 0 < best <= len(history) else {}
        metrics: dict[str, Any] = {f"test_{q}": None for q in self.task.quantities}
        metrics |= {f"val_{q}": row.get(f"val_{q}") for q in self.task.quantities}
        metrics |= {"train_loss": history[-1].get("train_loss") if history else None, **(self.state.costs or {})}
        return metrics | (self.task.verdict({**row, **(self.state.costs or {})}) if "val_loss" in row else {})

    def _finish(self, stopped: str, test: bool) -> TrainResult:
        assert self.run is not None
        state = self.state
        result = TrainResult(
            metrics=self._metrics(),
            epochs=state.epoch,
            best_epoch=state.best_epoch,
            seconds=state.seconds,
            parameters=self.model.parameter_count(),
            data=self.dataset.name,
            model=self.task.model_name,
            backend=current_backend(self.device),
            stopped=stopped,
            run=str(self.run),
            notes=self.remarks(),
        )
        if stopped == "interrupted":
            return result
        if self.run.best.exists() and (state.best_epoch != state.epoch or state.batch):
            self.model.load_state_dict(load_checkpoint(self.run.best).model_state)
        if test:
            result.metrics |= self.task.test(self.model, self.device, self.run.path)
        self.run.write_json("metrics.json", result.to_dict())
        if test and state.history:
            from dlkit.train.pictures import save_curves

            save_curves(
                state.history, self.task.quantities, self.run.path / "curves.png", self._learning_rates(state.epoch)
            )
        return result


def _with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """The run may be opened from elsewhere."""
    changes: dict[str, Any] = {}
    for name in ("data", "dev_data", "test_data", "from_model"):
        what = getattr(config, name)
        if what is not None and what not in KNOWN and Path(what).exists():
            changes[name] = str(Path(what).absolute())
    return replace(config, **changes)


def load_data(config: TrainConfig) -> Any:
    """The data that the run's task reads."""
    return TASKS[config.task].load(config)


def train(config: TrainConfig, progress: Progress | None = None) -> TrainResult:
    """Trains as `config` says, from the start."""
    return Trainer(config).fit(progress)
