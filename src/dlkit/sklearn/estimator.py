"""DLKitClassifier and DLKitRegressor: parameters as `dlkit train` has them, behaviour as scikit-learn asks for it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from dlkit import nn, ops
from dlkit.errors import ConfigError, DTypeError, ShapeError
from dlkit.optim import OPTIMIZERS
from dlkit.sklearn.learner import Learner, drawn, output_of
from dlkit.tensor import Tensor
from dlkit.train.config import TrainConfig

Builder = Callable[[tuple[int, ...], int], nn.Module]
_MODEL = ("hidden", "width", "activation", "dropout", "batch_norm", "init")
_TRAINING = ("epochs", "batch_size", "optimizer", "lr", "momentum", "weight_decay", "schedule")


_PARAMETERS = """
    model : a name in `dlkit models` (None: `mlp`, or `cnn` with an image_shape), or a function that makes a module from
        (input shape, number of outputs).
    image_shape : (H, W, C) of the pictures whose pixels are the rows of X, for convolutional networks.
    hidden, width, activation, dropout, batch_norm, init : options of the model; None leaves them to it.
    epochs, batch_size, optimizer, lr, momentum, weight_decay, schedule : as in `dlkit train`.
    standardize : bring every feature (of images every channel) to mean 0 and standard deviation 1 first.
    dtype : "float32" or "float64", what the network computes in; None: as X is. float32 is the faster one.
    random_state : seed of initial weights, order and dropout; an int makes a fit repeatable.

    After `fit`: network_ (a dlkit.nn.Module), loss_curve_ (mean loss of each epoch), n_features_in_"""


class _Network(BaseEstimator, ABC):
    """What classifier and regressor share. Subclasses give `_targets`, `_outputs` and `_losses`."""

    _numeric: bool  # whether y is made of numbers

    def __init__(
        self,
        model: str | Builder | None = None,
        *,
        image_shape: tuple[int, int, int] | None = None,
        hidden: tuple[int, ...] | None = None,
        width: int | None = None,
        activation: str | None = None,
        dropout: float | None = None,
        batch_norm: bool | None = None,
        init: str | None = None,
        epochs: int = 100,
        batch_size: int = 64,
        optimizer: str = "adam",
        lr: float | None = None,
        momentum: float | None = None,
        weight_decay: float = 0.0,
        schedule: str = "one_cycle",
        standardize: bool = True,
        dtype: str | None = None,
        random_state: Any = None,
    ):
        self.model = model
        self.image_shape = image_shape
        self.hidden = hidden
        self.width = width
        self.activation = activation
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.init = init
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.standardize = standardize
        self.dtype = dtype
        self.random_state = random_state

    # -- what the two differ in ------------------------------------------------------------------------------------

    @abstractmethod
    def _targets(self, y: np.ndarray) -> np.ndarray:
        """What the loss compares the network's output with: one entry or row for each example."""

    @abstractmethod
    def _outputs(self) -> int:
        """How many numbers the network makes of one example."""

    @staticmethod
    @abstractmethod
    def _losses(output: Tensor, target: np.ndarray) -> Tensor:
        """The loss of each example."""

    # -- learning --------------------------------------------------------------------------------------------------

    def _begin(self, X: np.ndarray, weight: np.ndarray | None) -> Learner:
        """A new network with weights drawn, and the scaling of its input fitted to X.

        Raises : ConfigError, ShapeError, DTypeError for parameters that do not fit each other or X.
        """
        config = self._config()
        shape = self._example_shape()
        self._dtype = self._dtype_for(X)
        self._scaler = StandardScaler(with_mean=self.standardize, with_std=self.standardize)
        pixels = math.prod(shape[:-1])
        repeated = None if weight is None else np.repeat(weight, pixels)
        self._scaler.fit(X.reshape(-1, shape[-1]), sample_weight=repeated)
        seed = int(check_random_state(self.random_state).randint(2**31))
        build = self.model if callable(self.model) else config.build
        network = drawn(lambda: build(shape, self._outputs()), seed).astype(self._dtype)
        optimizer = OPTIMIZERS[config.optimizer](network.parameters(), **config.optimizer_options())
        self.network_ = network
        self.loss_curve_: list[float] = []
        return Learner(network, optimizer, seed, optimizer.lr)

    def _learn(self, learner: Learner, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> None:
        """All epochs of a fit."""
        config = self._config()
        x, target, weight = self._prepared(X), self._targets(y), self._relative(weight)
        per_epoch = -(-len(x) // config.batch_size)
        base, schedule = learner.lr, config.learning_rate_schedule()
        for epoch in range(config.epochs):

            def rate(step: int, done: int = epoch * per_epoch) -> float:
                return base * schedule.factor(done + step, per_epoch, config.epochs * per_epoch)

            loss = learner.epoch(x, target, weight, self._losses, config.batch_size, rate)
            self.loss_curve_.append(loss)

    def _learn_more(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> None:
        """One epoch of `partial_fit`, at a constant learning rate."""
        learner, config = self._learner, self._config()
        x, target, weight = self._prepared(X), self._targets(y), self._relative(weight)
        loss = learner.epoch(x, target, weight, self._losses, config.batch_size, lambda step: learner.lr)
        self.loss_curve_.append(loss)

    def _config(self) -> TrainConfig:
        """The parameters, checked as those of a training are.  Raises : ConfigError."""
        values = {name: getattr(self, name) for name in (*_MODEL, *_TRAINING)}
        if callable(self.model):
            for name in _MODEL:
                if values[name] is not None:
                    raise ConfigError(f"{name} is an option of models with a name; this model is a function")
        else:
            values["model"] = self.model
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}
        return TrainConfig.from_dict(plain, type(self).__name__)

    def _dtype_for(self, X: np.ndarray) -> np.dtype:
        if self.dtype not in (None, "float32", "float64"):
            raise DTypeError(f"dtype (={self.dtype!r}) must be 'float32', 'float64' or None")
        return np.dtype(self.dtype or X.dtype)

    # -- arrays ----------------------------------------------------------------------------------------------------

    def _example_shape(self) -> tuple[int, ...]:
        if self.image_shape is None:
            return (self.n_features_in_,)
        shape = tuple(self.image_shape)
        if len(shape) != 3 or math.prod(shape) != self.n_features_in_:
            raise ShapeError(
                f"image_shape (={shape}) must be (H, W, C) with H·W·C the number of features (={self.n_features_in_})"
            )
        return shape

    def _checked(self, X: Any, y: Any, weight: Any, reset: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """X, y and weights as scikit-learn checks them, without the examples whose weight is 0."""
        X, y = validate_data(
            self, X, y, reset=reset, dtype=(np.float64, np.float32), multi_output=True, y_numeric=self._numeric
        )
        if weight is None:
            return X, y, None
        weight = check_array(weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
        if weight.shape != (len(X),):
            raise ShapeError(
                f"sample_weight has shape {weight.shape}; one weight for each of {len(X)} examples is needed"
            )
        if weight.min() < 0 or not weight.any():
            raise ConfigError("sample_weight must not be negative, and at least one weight must not be zero")
        used = weight > 0
        return X[used], y[used], weight[used]

    def _relative(self, weight: np.ndarray | None) -> np.ndarray | None:
        """1 on average."""
        return None if weight is None else (weight / weight.mean()).astype(self._dtype)

    def _prepared(self, X: np.ndarray) -> np.ndarray:
        """Scaled, in the network's type and shape."""
        shape = self._example_shape()
        scaled = self._scaler.transform(X.reshape(-1, shape[-1]))
        return np.ascontiguousarray(scaled, dtype=self._dtype).reshape(len(X), *shape)

    def _output(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        return output_of(self.network_, self._prepared(X))


class DLKitClassifier(ClassifierMixin, _Network):
    __doc__ = f"""A network that tells classes apart, trained by cross-entropy.
    {_PARAMETERS}, classes_ (the labels, sorted)."""
    _numeric = False

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> DLKitClassifier:
        """Trains a new network. An example of weight w counts in the loss as w equal ones would."""
        X, y, weight = self._checked(X, y, sample_weight, reset=True)
        y = self._labels(y)
        self.classes_ = np.unique(y)
        self._learner = self._begin(X, weight)
        self._learn(self._learner, X, y, weight)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> DLKitClassifier:
        """One more epoch, on these examples. The first call needs all `classes`; its X also fits the scaling."""
        first = not hasattr(self, "network_")
        if first and classes is None:
            raise ConfigError("the first partial_fit needs classes, the labels of all examples to come")
        X, y, weight = self._checked(X, y, sample_weight, reset=first)
        y = self._labels(y)
        if first:
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise ConfigError(f"classes {list(classes)} are not those of the first fit, {list(self.classes_)}")
        if len(unknown := np.setdiff1d(y, self.classes_)):
            raise ConfigError(f"y has labels {list(unknown)} that are not among the classes {list(self.classes_)}")
        if first:
            self._learner = self._begin(X, weight)
        self._learn_more(X, y, weight)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """float [N, K]: the probability of each class, in the order of classes_."""
        output = self._output(X)
        return ops.softmax(Tensor(output), axis=-1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each row."""
        best = self._output(X).argmax(axis=1)
        return self.classes_[best]

    def _labels(self, y: np.ndarray) -> np.ndarray:
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        return y

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.classes_, y)

    def _outputs(self) -> int:
        return len(self.classes_)

    @staticmethod
    def _losses(output: Tensor, target: np.ndarray) -> Tensor:
        return ops.cross_entropy(output, target, reduction="none")


class DLKitRegressor(RegressorMixin, _Network):
    __doc__ = f"""A network that predicts one number, or several, trained by squared error on standardised targets.
    {_PARAMETERS}."""
    _numeric = True

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> DLKitRegressor:
        """Trains a new network. An example of weight w counts in the loss as w equal ones would."""
        X, y, weight = self._checked(X, y, sample_weight, reset=True)
        self._fit_targets(y, weight)
        self._learner = self._begin(X, weight)
        self._learn(self._learner, X, y, weight)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> DLKitRegressor:
        """One more epoch, on these examples. The first call's X and y also fit the scaling."""
        first = not hasattr(self, "network_")
        X, y, weight = self._checked(X, y, sample_weight, reset=first)
        if first:
            self._fit_targets(y, weight)
            self._learner = self._begin(X, weight)
        self._learn_more(X, y, weight)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """float [N], or [N, K] if the network was fitted to K numbers for each example."""
        output = self._output(X)
        y = self._target_scaler.inverse_transform(output.astype(np.float64))
        return y[:, 0] if self._single else y

    def _fit_targets(self, y: np.ndarray, weight: np.ndarray | None) -> None:
        self._single = y.ndim == 1
        self._target_scaler = StandardScaler().fit(y.reshape(len(y), -1), sample_weight=weight)

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return self._target_scaler.transform(y.reshape(len(y), -1)).astype(self._dtype)

    def _outputs(self) -> int:
        return int(self._target_scaler.n_features_in_)

    @staticmethod
    def _losses(output: Tensor, target: np.ndarray) -> Tensor:
        return ops.mse(output, target, reduction="none").mean(axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
