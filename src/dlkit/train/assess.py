"""What a trained network does on its test set: numbers by scikit-learn, pictures of the confusions and mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.train.examine import examine


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

    examined = examine(run_path, data=data, part=split)
    run, checkpoint, source, result = examined.run, examined.checkpoint, examined.source, examined.result
    k = len(checkpoint.classes)
    precision, recall, f1, support = precision_recall_fscore_support(
        result.labels, result.predictions, labels=np.arange(k), zero_division=0
    )
    confusion = confusion_matrix(result.labels, result.predictions, labels=np.arange(k))
    assessment = Assessment(
        run=str(run),
        data=examined.data,
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
        wrong = examined.mistakes
        surest = wrong[np.argsort(-result.probabilities[wrong].max(axis=1), kind="stable")][:mistakes]
        captions = [
            f"{checkpoint.classes[result.labels[i]]} taken for\n{checkpoint.classes[result.predictions[i]]} "
            f"({100 * result.probabilities[i].max():.0f} %)"
            for i in surest
        ]
        save_mistakes(source.read(surest), captions, pictures[1])
    assessment.pictures = [str(p) for p in pictures]
    return assessment
