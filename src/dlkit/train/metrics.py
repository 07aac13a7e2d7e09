"""What a network is judged by: one metric to optimise, and conditions that are enough to be met.

    goal = Goal.parse("f1", "latency_ms<5, recall:cat>=0.9")
    values = goal.of_predictions(evaluation, classes) | goal.of_network(model, input_shape)
    goal.score(values)      the higher, the better: what meets all conditions goes before what does not

METRICS is the only list of what can be asked for. Precision, recall and F1 are means over the classes that the examples
have (macro averages); `recall:cat` is that of one class. Shares run from 0 to 1.
"""

from __future__ import annotations

import math
import operator
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.errors import ConfigError
from dlkit.nn import Module, inference
from dlkit.registry import Registry, nearest
from dlkit.tensor import Tensor
from dlkit.train.evaluation import Evaluation


@dataclass(frozen=True)
class Metric:
    """of : Evaluation -> number, or for one that needs no data (network, input_shape) -> number.

    per_class : can be asked of one class, and then is a function of (Evaluation, class) too.
    share : a number from 0 to 1.
    """

    name: str
    about: str
    of: Callable[..., float]
    higher_is_better: bool = True
    share: bool = True
    per_class: bool = False
    needs_data: bool = True


METRICS: Registry[Metric] = Registry("metric")


def metric(about: str, **properties: Any) -> Callable[[Callable[..., float]], Callable[..., float]]:
    def register(of: Callable[..., float]) -> Callable[..., float]:
        METRICS.add(of.__name__, Metric(of.__name__, about, of, **properties))
        return of

    return register


# -- of predictions ------------------------------------------------------------------------------------------------------


@metric("share of examples in their class")
def accuracy(result: Evaluation) -> float:
    return result.accuracy


@metric("mean cross-entropy", higher_is_better=False, share=False)
def loss(result: Evaluation) -> float:
    return result.loss


@metric("mean recall of the classes")
def balanced_accuracy(result: Evaluation) -> float:
    return recall(result)


@metric("of what is taken for the class, the share that is of it", per_class=True)
def precision(result: Evaluation, k: int | None = None) -> float:
    return _of_classes("precision_score", result, k)


@metric("of what is of the class, the share that is taken for it", per_class=True)
def recall(result: Evaluation, k: int | None = None) -> float:
    return _of_classes("recall_score", result, k)


@metric("harmonic mean of precision and recall", per_class=True)
def f1(result: Evaluation, k: int | None = None) -> float:
    return _of_classes("f1_score", result, k)


@metric("area under the ROC curve, each class against the rest", per_class=True)
def auc(result: Evaluation, k: int | None = None) -> float:
    return _ranked("roc_auc_score", result, k)


@metric("area under the precision-recall curve, each class against the rest", per_class=True)
def average_precision(result: Evaluation, k: int | None = None) -> float:
    return _ranked("average_precision_score", result, k)


@metric("Matthews' correlation of labels and predictions, from -1 to 1", share=False)
def mcc(result: Evaluation) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(result.labels, result.predictions))


def _of_classes(function: str, result: Evaluation, k: int | None) -> float:
    """scikit-learn's score of class k, or its mean over the classes that the examples have."""
    from sklearn import metrics

    classes = np.unique(result.labels) if k is None else [k]
    scores = getattr(metrics, function)(
        result.labels, result.predictions, labels=classes, average=None, zero_division=0
    )
    return float(np.mean(scores))


def _ranked(function: str, result: Evaluation, k: int | None) -> float:
    """How well the probability of a class ranks its examples before the rest; NaN where there is nothing to rank."""
    from sklearn import metrics

    present = np.unique(result.labels).tolist()
    if len(present) < 2 or (k is not None and k not in present):
        return math.nan
    score = getattr(metrics, function)
    asked = present if k is None else [k]
    return float(np.mean([score(result.labels == c, result.probabilities[:, c]) for c in asked]))


# -- of the network alone --------------------------------------------------------------------------------------------------


@metric("numbers that are trained", higher_is_better=False, share=False, needs_data=False)
def parameters(model: Module, input_shape: tuple[int, ...]) -> float:
    return model.parameter_count()


@metric(
    "of weights and running averages, in units of 10^6 bytes", higher_is_better=False, share=False, needs_data=False
)
def size_mb(model: Module, input_shape: tuple[int, ...]) -> float:
    tensors = [*(p for _, p in model.named_parameters()), *(b for _, b in model.named_buffers())]
    return sum(t.size * t.dtype.itemsize for t in tensors) / 1e6


@metric("floating-point operations for one example, in millions", higher_is_better=False, share=False, needs_data=False)
def mflops(model: Module, input_shape: tuple[int, ...]) -> float:
    from dlkit.nn.summary import summarize

    return summarize(model, input_shape).flops / 1e6


@metric("milliseconds for one example, median", higher_is_better=False, share=False, needs_data=False)
def latency_ms(model: Module, input_shape: tuple[int, ...]) -> float:
    """One example at a time, from normalised input to logits, on the threads in use: median of 30 calls after 5."""
    device = next((p.device for p in model.parameters()), "cpu")
    x = np.random.default_rng(0).standard_normal((1, *input_shape)).astype(np.float32)
    times = []
    with inference(model):
        for _ in range(35):
            began = time.perf_counter()
            model(Tensor(x, device=device)).numpy()
            times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times[5:]))


# -- conditions and the goal -----------------------------------------------------------------------------------------------

OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_CONDITION = re.compile(r"([^<>=]+?)\s*(<=|>=|<|>)\s*([^<>=]+)")


@dataclass(frozen=True)
class Asked:
    """A metric, or one of one class: `recall`, `recall:cat`."""

    metric: Metric
    of_class: str | None = None

    @classmethod
    def parse(cls, text: str) -> Asked:
        """Raises : ConfigError for an unknown metric, or a class where the metric is of all together."""
        name, colon, of_class = text.strip().partition(":")
        found = METRICS[name.strip()]
        if colon and not found.per_class:
            able = ", ".join(m.name for m in METRICS.values() if m.per_class)
            raise ConfigError(f"{text.strip()}: {found.name} is not of one class; those of a class are {able}")
        if colon and not of_class.strip():
            raise ConfigError(
                f"{text.strip()}: names no class; give one, such as {found.name}:cat, or leave out the colon"
            )
        return cls(found, of_class.strip() or None)

    def __str__(self) -> str:
        return self.metric.name if self.of_class is None else f"{self.metric.name}:{self.of_class}"

    def class_number(self, classes: list[str]) -> int | None:
        """Raises : ConfigError if there is no such class."""
        if self.of_class is None:
            return None
        if self.of_class not in classes:
            raise ConfigError(
                f"{self}: no class {self.of_class!r}{nearest(self.of_class, classes)}; classes: {', '.join(classes)}"
            )
        return classes.index(self.of_class)

    def of(self, result: Evaluation, classes: list[str]) -> float:
        number = self.class_number(classes)
        return self.metric.of(result) if number is None else self.metric.of(result, number)


@dataclass(frozen=True)
class Condition:
    """`latency_ms<5`"""

    asked: Asked
    operator: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Raises : ConfigError if it is no condition, or one that says nothing, such as accuracy<=90."""
        match = _CONDITION.fullmatch(text.strip())
        if match is None:
            raise ConfigError(
                f"satisfy: {text.strip()!r} is no condition; write one such as latency_ms<5 or recall>=0.9"
            )
        asked = Asked.parse(match[1])
        try:
            bound = float(match[3])
        except ValueError:
            raise ConfigError(f"satisfy: {text.strip()!r}: {match[3]!r} is not a number") from None
        if not math.isfinite(bound) or (asked.metric.share and not 0 <= bound <= 1):
            limits = "a share from 0 to 1" if asked.metric.share else "a finite number"
            raise ConfigError(f"satisfy: {text.strip()!r}: {asked} is {limits}, {match[3]} is not")
        return cls(asked, match[2], bound)

    def __str__(self) -> str:
        return f"{self.asked}{self.operator}{self.bound:g}"

    def holds(self, value: float) -> bool:
        return bool(OPERATORS[self.operator](value, self.bound))


@dataclass(frozen=True)
class Goal:
    """The optimising metric and the satisficing conditions. Values are given by name: {"f1": 0.9, "latency_ms": 3.1}."""

    metric: Asked
    conditions: tuple[Condition, ...] = ()

    @classmethod
    def parse(cls, metric: str = "accuracy", satisfy: str | None = None) -> Goal:
        """satisfy : conditions with commas between them.  Raises : ConfigError."""
        return cls(Asked.parse(metric), tuple(map(Condition.parse, satisfy.split(","))) if satisfy else ())

    def check(self, classes: list[str]) -> None:
        """Raises : ConfigError if a class that is asked for is not among them."""
        for asked in self.asked:
            asked.class_number(classes)

    @property
    def asked(self) -> list[Asked]:
        return list(dict.fromkeys([self.metric, *(c.asked for c in self.conditions)]))

    def of_predictions(self, result: Evaluation, classes: list[str]) -> dict[str, float]:
        """What is asked for that needs data; loss and accuracy in any case."""
        values = {"loss": result.loss, "accuracy": result.accuracy}
        return values | {str(a): a.of(result, classes) for a in self.asked if a.metric.needs_data}

    def of_network(self, model: Module, input_shape: tuple[int, ...]) -> dict[str, float]:
        """What is asked for that needs none: the same in every epoch."""
        return {str(a): float(a.metric.of(model, input_shape)) for a in self.asked if not a.metric.needs_data}

    def missed(self, values: dict[str, float]) -> list[str]:
        """The conditions that do not hold, with the value: "latency_ms<5 (7.31)"."""
        return [f"{c} ({values[str(c.asked)]:.4g})" for c in self.conditions if not c.holds(values[str(c.asked)])]

    def score(self, values: dict[str, float]) -> tuple[float, float, float]:
        """(1 if all conditions hold else 0, the metric, higher being better, then the lower loss); of what fails a
        condition the best is thus still known."""
        value = values[str(self.metric)]
        signed = value if self.metric.metric.higher_is_better else -value
        return float(not self.missed(values)), -math.inf if math.isnan(signed) else signed, -values.get("loss", 0.0)
