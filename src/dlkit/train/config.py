"""Everything a training run is told: one dataclass, from which the command line's options are made.

A run is its configuration: `config.toml` in the run folder, given back with `--config`, trains the same network again.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.backends import BACKENDS
from dlkit.data.holes import kinds
from dlkit.errors import ConfigError
from dlkit.models import MODELS, build_model
from dlkit.models.user import is_user_model
from dlkit.nn import ACTIVATIONS, INITS, Module
from dlkit.optim import OPTIMIZERS, SCHEDULES, Schedule
from dlkit.registry import nearest
from dlkit.threads import MOST

if TYPE_CHECKING:
    from dlkit.train.metrics import Goal

NORMALIZATIONS = ("standard", "scale", "none")
MODEL_OPTIONS = ("hidden", "width", "activation", "pool", "dropout", "batch_norm", "init")


CLASSIFY, INPAINT = ("classify",), ("inpaint",)


def _option(
    default: Any,
    help: str,
    group: str,
    choices: Any = None,
    flag: str | None = None,
    tasks: tuple[str, ...] | None = None,
) -> Any:
    """tasks : which read this option; None: all"""
    metadata = {"help": help, "group": group, "choices": choices, "flag": flag, "tasks": tasks}
    return field(default=default, metadata=metadata)


def _task_defaults(name: Any) -> dict[str, Any]:
    from dlkit.train.tasks import TASKS

    return TASKS[name].defaults if name in TASKS.names() else {}


def _tasks() -> list[str]:
    from dlkit.train.tasks import TASKS  # they are made of a TrainConfig

    return TASKS.names()


@dataclass
class TrainConfig:
    """One training run. None means: decide by the data or leave it to the model's or optimiser's own default."""

    task: str = _option("classify", "What to learn.", "data", _tasks)
    data: str = _option("digits", "Data set: a name, or a path (image folder or zip, idx, npz, csv, HDF5).", "data")
    image_size: int | None = _option(None, "Bring images to this many pixels each way.", "data", tasks=CLASSIFY)
    grey: bool | None = _option(None, "Read images as grey (or, --no-grey, as RGB).", "data")
    label: str | None = _option(None, "Label column of a csv file.", "data", tasks=CLASSIFY)
    classes: str | None = _option(None, "Only these classes, e.g. cat,dog.", "data", tasks=CLASSIFY)
    limit_per_class: int | None = _option(None, "At most this many training examples of each.", "data", tasks=CLASSIFY)
    dev_data: str | None = _option(None, "Validate on this data set instead.", "data", tasks=CLASSIFY)
    test_data: str | None = _option(None, "Test on this data set instead.", "data", tasks=CLASSIFY)
    test_split: float = _option(0.2, "Share held back as test set where the data have none.", "data")
    val_split: float = _option(0.1, "Share of the training set held back for validation (0: none).", "data")
    train_dev_split: float | None = _option(
        None,
        "Share of the training set held back beside the dev set, to tell variance from data mismatch (default: "
        "--val-split with --dev-data, else 0).",
        "data",
        tasks=CLASSIFY,
    )
    normalize: str = _option(
        "standard", "Input normalisation, fitted on the training set.", "data", NORMALIZATIONS, tasks=CLASSIFY
    )
    augment: str = _option(
        "none", "Random changes, e.g. flip,crop=4,shift=0.1,rotate=10,scale=0.1,cutout=8.", "data", tasks=CLASSIFY
    )
    mirror: str | None = _option(None, "Address to download a named data set from.", "data", tasks=CLASSIFY)

    model: str | None = _option(
        None,
        "Network, or your own: file.py:build (default: cnn for images, mlp for features).",
        "model",
        MODELS.names,
        tasks=CLASSIFY,
    )
    from_model: str | None = _option(
        None,
        "Start from this run, ONNX file, safetensors file, or published weights (dlkit weights list).",
        "model",
        flag="--from",
        tasks=CLASSIFY,
    )
    freeze: str = _option(
        "none",
        "With --from: layers that do not learn; all-but-head, or up to the layer named.",
        "model",
        tasks=CLASSIFY,
    )
    unfreeze_every: int = _option(
        0,
        "Set one frozen part more free after every so many epochs, the last first (0: never).",
        "model",
        tasks=CLASSIFY,
    )
    lr_backbone: float | None = _option(
        None, "With --from: learning rate of all layers but the last.", "model", tasks=CLASSIFY
    )
    hidden: tuple[int, ...] | None = _option(
        None, "Hidden layer sizes of shallow and mlp, e.g. 128,64.", "model", tasks=CLASSIFY
    )
    width: int | None = _option(None, "Filters of the first block, or of each scale of the filling network.", "model")
    activation: str | None = _option(None, "Activation of the hidden layers.", "model", ACTIVATIONS, tasks=CLASSIFY)
    pool: str | None = _option(None, "Pooling of lenet5.", "model", ("average", "max"), tasks=CLASSIFY)
    dropout: float | None = _option(None, "Probability that a unit is dropped while training.", "model", tasks=CLASSIFY)
    batch_norm: bool | None = _option(None, "Batch normalisation in mlp, vgg and unet.", "model", tasks=CLASSIFY)
    init: str | None = _option(None, "Initial weights.", "model", INITS.names, tasks=CLASSIFY)

    crop_size: int = _option(64, "Side of the crops to learn filling from.", "inpaint", tasks=INPAINT)
    mask_kind: str = _option("mixed", "What holes to learn to fill.", "inpaint", kinds, tasks=INPAINT)
    depth: int | None = _option(
        None, "How often the filling network halves the image (default: 4).", "inpaint", tasks=INPAINT
    )

    epochs: int = _option(20, "Passes over the training set.", "training")
    batch_size: int = _option(64, "Examples per step.", "training")
    optimizer: str = _option("adam", "Optimisation algorithm.", "training", OPTIMIZERS.names)
    lr: float | None = _option(
        None, "Learning rate (default: the optimiser's own; 0.003 for adam in one_cycle).", "training"
    )
    momentum: float | None = _option(None, "Momentum, of the optimisers that have one.", "training")
    weight_decay: float = _option(0.0, "L2 regularisation as weight decay, on weights only.", "training")
    l2: float = _option(0.0, "L2 regularisation as a term of the loss, l2/2 · Σ w².", "training")
    schedule: str = _option("one_cycle", "Learning rate over time.", "training", SCHEDULES.names)
    decay: float = _option(0.1, "Rate or factor of the schedule's decay.", "training")
    decay_every: int = _option(10, "Epochs between the steps of the step schedule.", "training")
    warmup: float = _option(0.0, "Epochs of linear warm-up.", "training")
    label_smoothing: float = _option(0.0, "Share of each target spread over all classes.", "training", tasks=CLASSIFY)
    class_weights: str = _option(
        "none", "Weight of each class in the loss.", "training", ("none", "balanced"), tasks=CLASSIFY
    )
    clip_norm: float = _option(0.0, "Largest norm of the whole gradient (0: no clipping).", "training")
    metric: str = _option(
        "accuracy",
        "What makes an epoch the best: accuracy, loss, f1, recall, recall:CLASS, auc, ... (docs/practice.md).",
        "training",
        tasks=CLASSIFY,
    )
    satisfy: str | None = _option(
        None, 'Conditions that go before it, e.g. "latency_ms<5,recall>=0.9".', "training", tasks=CLASSIFY
    )
    patience: int = _option(0, "Stop after this many epochs without a better validation result (0: never).", "training")
    drop_last: bool = _option(
        False, "Leave out the last, smaller batch of an epoch, unless it is the only one.", "training"
    )

    seed: int = _option(0, "Start of all random numbers.", "run")
    out: str | None = _option(None, "Run folder (default: runs/DATA-MODEL-NUMBER).", "run")
    backend: str | None = _option(
        None, "Who computes.", "run", lambda: [b.name for b in BACKENDS.values() if b.device == "cpu"]
    )
    tensorboard: bool = _option(False, "Write event files for TensorBoard into the run folder.", "run")
    threads: int = _option(0, "CPU threads (0: OMP_NUM_THREADS or one per core).", "run")

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            setattr(self, f.name, _checked(f.name, getattr(self, f.name), _types()[f.name], f.metadata["choices"]))
        self._check_task()
        at_least = {
            "epochs": 1,
            "batch_size": 1,
            "threads": 0,
            "seed": 0,
            "patience": 0,
            "weight_decay": 0,
            "l2": 0,
            "clip_norm": 0,
            "decay_every": 1,
            "width": 1,
            "image_size": 1,
            "limit_per_class": 1,
            "unfreeze_every": 0,
            "crop_size": 8,
            "depth": 1,
        }
        for name, least in at_least.items():
            if (value := getattr(self, name)) is not None and value < least:
                raise ConfigError(f"{name} (={value}) must be at least {least}")
        for name in ("test_split", "val_split", "train_dev_split", "label_smoothing", "dropout"):
            if (value := getattr(self, name)) is not None and not 0 <= value < 1:
                raise ConfigError(f"{name} (={value}) must be at least 0 and below 1")
        for name, kind in (
            ("data", "name or path"),
            ("out", "folder"),
            ("from_model", "path"),
            ("classes", "list of names"),
        ):
            if getattr(self, name) == "":
                raise ConfigError(f"{name} is empty; give a {kind} or leave it out")
        if self.from_model is not None and self.from_model.lower().endswith(".onnx"):
            for name in ("model", *MODEL_OPTIONS):
                if getattr(self, name) is not None:
                    raise ConfigError(f"{name} was given, but the network comes from {self.from_model}; leave one out")
        at_most = {"threads": MOST, "width": 65_536, "image_size": 20_000, "crop_size": 4096, "depth": 10}
        for name, most in at_most.items():
            if (value := getattr(self, name)) is not None and value > most:
                raise ConfigError(f"{name} (={value}) must be at most {most}")
        if self.lr is not None and not self.lr > 0:
            raise ConfigError(f"lr (={self.lr}) must be positive")
        if self.hidden is not None and not (self.hidden and min(self.hidden) >= 1 and max(self.hidden) <= 1_000_000):
            raise ConfigError(f"hidden (={','.join(map(str, self.hidden))}) must be layer sizes from 1 to 1,000,000")
        self.learning_rate_schedule()
        self._check_goal()
        self._check_tuning()
        from dlkit.data.augment import Augment

        Augment.parse(self.augment)

    def _check_task(self) -> None:
        """Raises : ConfigError for an option that the task does not read."""
        for f in dataclasses.fields(self):
            tasks = f.metadata["tasks"]
            if tasks is not None and self.task not in tasks and getattr(self, f.name) != f.default:
                flag = (f.metadata["flag"] or f.name).lstrip("-").replace("_", "-")
                raise ConfigError(
                    f"{f.name} was given, but task {self.task!r} does not use it; leave --{flag} out (it is an option of "
                    f"--task {', '.join(tasks)})"
                )

    def _check_goal(self) -> None:
        """Raises : ConfigError for an unknown metric or condition, or if there is nothing to measure them on."""
        if (self.metric, self.satisfy) == ("accuracy", None):
            return
        self.goal()
        if not self.val_split and self.dev_data is None:
            name = "metric" if self.satisfy is None else "satisfy"
            raise ConfigError(f"{name} was given, but val_split is 0; the best epoch is chosen on validation examples")

    def _check_tuning(self) -> None:
        """Raises : ConfigError for options of transfer learning without anything to start from."""
        for name, given in (("freeze", self.freeze != "none"), ("lr_backbone", self.lr_backbone is not None)):
            if given and self.from_model is None:
                flag = name.replace("_", "-")
                raise ConfigError(
                    f"{name} (={getattr(self, name)}) needs trained weights; give --from, or leave --{flag} out"
                )
        if self.unfreeze_every and self.freeze == "none":
            raise ConfigError(f"unfreeze_every (={self.unfreeze_every}) sets free what --freeze froze; give both")
        if self.lr_backbone is not None and not self.lr_backbone > 0:
            raise ConfigError(f"lr_backbone (={self.lr_backbone}) must be positive; to keep the weights use --freeze")

    # -- what it makes ----------------------------------------------------------------------------------------------

    def learning_rate_schedule(self) -> Schedule:
        return Schedule(self.schedule, self.decay, self.decay_every, self.warmup)

    def build(self, input_shape: tuple[int, ...], classes: int, network: bytes | None = None) -> Module:
        """The network, that of the ONNX file `network` where one is given.

        Raises : ConfigError if an option was given that the model does not have, OnnxError.
        """
        if network is not None:
            from dlkit.onnx.classifier import open_classifier

            return open_classifier(network, self.from_model or "network").module(classes)
        options = {n: getattr(self, n) for n in MODEL_OPTIONS}
        return build_model(self.model or default_model(input_shape), input_shape, classes, **options)

    def goal(self) -> Goal:
        from dlkit.train.metrics import Goal

        return Goal.parse(self.metric, self.satisfy)

    def optimizer_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"weight_decay": self.weight_decay}
        if self.lr is not None:
            options["lr"] = self.lr
        elif self.schedule == "one_cycle" and self.optimizer in ("adam", "adamw"):
            options["lr"] = 3e-3  # a peak that lasts for a moment may be higher than a rate that stays
        if self.momentum is not None:
            having = [n for n in OPTIMIZERS.names() if "momentum" in inspect.signature(OPTIMIZERS[n]).parameters]
            if self.optimizer not in having:
                raise ConfigError(
                    f"momentum was given, but optimizer {self.optimizer!r} has none; it is an option of {', '.join(having)}"
                )
            options["momentum"] = self.momentum
        return options

    # -- files ---------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Without what is None (TOML has no null)."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items() if v is not None}

    def to_toml(self) -> str:
        import tomli_w

        return tomli_w.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "configuration") -> TrainConfig:
        """What is not given is the task's own default, then that of all tasks."""
        known = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(f"{where}: unknown option {name!r}{nearest(name, known)}")
        try:
            return cls(**{**_task_defaults(values.get("task")), **values})
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None


def default_model(input_shape: tuple[int, ...]) -> str:
    return "cnn" if len(input_shape) == 3 and min(input_shape[:2]) >= 4 else "mlp"


def read_toml(path: str | os.PathLike) -> dict[str, Any]:
    """The options in a TOML file.  Raises : ConfigError if it cannot be read or is not TOML."""
    try:
        values = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file ({error})") from None
    return values


_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}


@functools.cache
def _types() -> dict[str, Any]:
    return typing.get_type_hints(TrainConfig)


def _checked(name: str, value: Any, kind: Any, choices: Any) -> Any:
    """`value` as `kind`, so that a TOML file with the wrong type fails here and not deep inside."""
    optional = isinstance(kind, types.UnionType) and type(None) in typing.get_args(kind)
    if value is None and optional:
        return None
    if optional:
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)) or not all(
            isinstance(n, int) and not isinstance(n, bool) for n in value
        ):
            raise ConfigError(f"{name} (={value!r}) must be a list of whole numbers")
        return tuple(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(
            f"{name} (={value!r}) must be {_WORDS[kind]}, not {_WORDS.get(type(value), type(value).__name__)}"
        )
    if kind is float and value != value:
        raise ConfigError(f"{name} is not a number")
    if choices is not None:
        known = list(choices() if callable(choices) else choices)
        if value not in known and not (name == "model" and is_user_model(value)):
            raise ConfigError(f"unknown {name} {value!r}{nearest(value, known)}; known: {', '.join(known)}")
    return value
