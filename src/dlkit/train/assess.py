"""What a trained network does on its test set: numbers by scikit-learn, pictures of the confusions and mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.data import Dataset
from dlkit.errors import DataError
from dlkit.train.config import TrainConfig
from dlkit.train.evaluation import evaluate
from dlkit.train.run import RunFolder
from dlkit.train.tasks.classify import Classify, split_validation


@dataclass
class Assessment:
    """per_class : class -> precision, recall, f1, support; confusion : int [K, K], rows are the true classes."""

    run: str
    data: str
    split: str
    examples: int
    accuracy: float
    loss: float
    classes: list[str]
    per_class: dict[str, dict[str, float]]
    confusion: list[list[int]]
    pictures: list[str]

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def assess(run_path: str, *, data: str | None = None, split: str = "test", mistakes: int = 24) -> Assessment:
    """Evaluates a run's best network on its test (or val, train) set, or on another data set with the same classes.

    Writes evaluation.json, confusion.png and, for images, mistakes.png into the run folder.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    from dlkit.train.pictures import save_confusion, save_mistakes

    run = RunFolder.open(run_path)
    checkpoint = run.load_best()
    config = checkpoint.config
    if data is not None:
        config = TrainConfig.from_dict({**config.to_dict(), "data": data, **_same_shape(checkpoint.input_shape)})
    dataset = Classify.load(config)
    if dataset.train.shape != checkpoint.input_shape or dataset.classes != checkpoint.classes:
        raise DataError(
            f"{config.data}: examples of shape {dataset.train.shape} in classes {_few(dataset.classes)}; the network "
            f"was trained on {checkpoint.input_shape} in {_few(checkpoint.classes)}"
        )
    source = _source(dataset, config, split)
    result = evaluate(checkpoint.build(), source, checkpoint.normalizer)
    k = len(checkpoint.classes)
    precision, recall, f1, support = precision_recall_fscore_support(
        result.labels, result.predictions, labels=np.arange(k), zero_division=0
    )
    confusion = confusion_matrix(result.labels, result.predictions, labels=np.arange(k))
    assessment = Assessment(
        run=str(run),
        data=dataset.name,
        split=split,
        examples=len(source),
        accuracy=result.accuracy,
        loss=result.loss,
        classes=checkpoint.classes,
        per_class={
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(checkpoint.classes)
        },
        confusion=confusion.tolist(),
        pictures=[],
    )
    run.write_json("evaluation.json", assessment.to_dict())
    pictures = [run.path / "confusion.png"]
    save_confusion(confusion, checkpoint.classes, pictures[0])
    if source.is_image and mistakes:
        pictures.append(run.path / "mistakes.png")
        wrong = np.flatnonzero(result.predictions != result.labels)
        surest = wrong[np.argsort(-result.probabilities[wrong].max(axis=1), kind="stable")][:mistakes]
        captions = [
            f"{checkpoint.classes[result.labels[i]]} taken for\n{checkpoint.classes[result.predictions[i]]} "
            f"({100 * result.probabilities[i].max():.0f} %)"
            for i in surest
        ]
        save_mistakes(source.read(surest), captions, pictures[1])
    assessment.pictures = [str(p) for p in pictures]
    return assessment


def _same_shape(input_shape: tuple[int, ...]) -> dict[str, Any]:
    if len(input_shape) != 3:
        return {}
    if input_shape[0] != input_shape[1]:
        return {"grey": input_shape[2] == 1}
    return {"image_size": input_shape[0], "grey": input_shape[2] == 1}


def _source(dataset: Dataset, config: TrainConfig, split: str) -> Any:
    train, val = split_validation(dataset, config)
    source = {"train": train, "val": val, "test": dataset.test}[split]
    if source is None or not len(source):
        raise DataError(
            f"{dataset.name}: has no {split} set (test_split {config.test_split}, val_split {config.val_split})"
        )
    return source


def _few(classes: list[str]) -> str:
    return ", ".join(classes[:6]) + (f", ... ({len(classes)})" if len(classes) > 6 else "")
