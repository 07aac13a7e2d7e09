"""Error analysis: which mistakes a network makes, sorted so that a person can look through them and name what they share.

`analyse` writes a contact sheet, one row for each confusion, and a table to tag by hand; `tags.gains` reads the tagged
table back. Suspected label errors come first: examples that the network, sure of itself, takes for another class.
"""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.errors import ConfigError
from dlkit.train.evaluation import Evaluation
from dlkit.train.examine import Examined, examine
from dlkit.train.files import write_atomically

COLUMNS = ("example", "name", "true", "predicted", "confidence", "true_probability", "suspect", "tags")
ROWS, PER_ROW = 14, 8  # of the contact sheet


@dataclass(frozen=True)
class Mistake:
    """confidence : probability of the class it was taken for; suspect : its label may be what is wrong."""

    example: int
    name: str
    true: str
    predicted: str
    confidence: float
    true_probability: float
    suspect: bool


@dataclass(frozen=True)
class Confusion:
    """How often `true` was taken for `predicted`; share : of all mistakes."""

    true: str
    predicted: str
    count: int
    share: float


@dataclass
class ErrorAnalysis:
    """confusions : most frequent first; suspects : surest first; rows : what the table holds, all mistakes or a sample."""

    run: str
    data: str
    split: str
    examples: int
    mistakes: int
    error: float
    confusions: list[Confusion]
    suspects: list[Mistake]
    rows: int
    table: str
    picture: str | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def analyse(
    run_path: str,
    *,
    data: str | None = None,
    split: str = "test",
    sample: int | None = None,
    out: str | None = None,
    seed: int = 0,
) -> ErrorAnalysis:
    """Looks at every mistake of a run's best network on its test (or val, train) set, or on another data set.

    out : the table to write, RUN/errors.csv; for images the contact sheet is written beside it, as .png.
    sample : at most this many mistakes in the table, drawn at random, where there are too many to look at all.
    Raises : ConfigError if `out` is a table that was tagged already: nothing done by hand is overwritten.
    """
    from dlkit.train.run import RunFolder

    if sample is not None and sample < 1:
        raise ConfigError(f"sample (={sample}) must be at least 1")
    table = Path(out) if out else RunFolder.open(run_path).path / "errors.csv"
    _refuse_tagged(table, run_path)
    examined = examine(run_path, data=data, part=split)
    found = mistakes_of(examined)
    shown = found if sample is None or sample >= len(found) else _drawn(found, sample, seed)
    write_atomically(table, table_of(shown))
    picture = None
    if examined.source.is_image:
        picture = table.with_suffix(".png")
        _draw(examined, found, picture)
    return ErrorAnalysis(
        run=str(examined.run),
        data=examined.data,
        split=split,
        examples=len(examined.source),
        mistakes=len(found),
        error=1 - examined.result.accuracy,
        confusions=confusions_of(found),
        suspects=[m for m in found if m.suspect],
        rows=len(shown),
        table=str(table),
        picture=str(picture) if picture else None,
    )


def mistakes_of(examined: Examined) -> list[Mistake]:
    """Every mistake: suspected label errors first, then the confusions, most frequent first; the surest first in each."""
    result, classes = examined.result, examined.classes
    suspect = suspects(result)
    found = []
    for i in examined.mistakes.tolist():
        true, predicted = int(result.labels[i]), int(result.probabilities[i].argmax())
        found.append(
            Mistake(
                example=i,
                name=examined.source.name(i),
                true=classes[true],
                predicted=classes[predicted],
                confidence=float(result.probabilities[i, predicted]),
                true_probability=float(result.probabilities[i, true]),
                suspect=bool(suspect[i]),
            )
        )
    rank = {(c.true, c.predicted): place for place, c in enumerate(confusions_of(found))}
    return sorted(
        found,
        key=lambda m: (not m.suspect, 0 if m.suspect else rank[m.true, m.predicted], -m.confidence, m.example),
    )


def suspects(result: Evaluation) -> np.ndarray:
    """bool [N]: labels that are likely to be wrong.

    An example labelled i counts as one of class j if its probability of j is at least the mean probability of j among
    the examples labelled j, and j is its likeliest such class; it is suspect if j is not i. The bar adapts to each
    class: a network that is sure of everything must be surer still.
    Source : Northcutt, Jiang & Chuang 2021, Confident learning, J. Artif. Intell. Res. 70, equations 1 and 2
    """
    p, labels = result.probabilities, result.labels
    bar = np.full(p.shape[1], np.inf)  # no example has this label: nothing says how sure is sure
    for j in np.unique(labels):
        bar[j] = p[labels == j, j].mean(dtype=np.float64)
    likeliest = np.where(p >= bar, p, -1.0)
    return (likeliest.max(axis=1) >= 0) & (likeliest.argmax(axis=1) != labels)


def confusions_of(mistakes: list[Mistake]) -> list[Confusion]:
    counts: dict[tuple[str, str], int] = {}
    for m in mistakes:
        counts[m.true, m.predicted] = counts.get((m.true, m.predicted), 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Confusion(true, predicted, n, n / len(mistakes)) for (true, predicted), n in ordered]


def table_of(mistakes: list[Mistake]) -> str:
    """The table as csv text, with an empty column for tags."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for m in mistakes:
        numbers = (f"{m.confidence:.4f}", f"{m.true_probability:.4f}", "yes" if m.suspect else "")
        writer.writerow((m.example, m.name, m.true, m.predicted, *numbers, ""))
    return text.getvalue()


def _refuse_tagged(table: Path, run_path: str) -> None:
    from dlkit.train.tags import read_tags

    if table.exists() and any(row.tags for row in read_tags(table)):
        raise ConfigError(
            f"{table} holds tags, which would be lost; see what they gain with dlkit errors {run_path} --tags {table}, "
            "or choose another --out"
        )


def _drawn(mistakes: list[Mistake], count: int, seed: int) -> list[Mistake]:
    chosen = np.random.default_rng(seed).choice(len(mistakes), count, replace=False)
    return [mistakes[i] for i in np.sort(chosen)]


def _draw(examined: Examined, mistakes: list[Mistake], path: Path) -> None:
    """A row of suspected label errors, then one for each of the most frequent confusions."""
    from dlkit.train.pictures import SheetRow, save_sheet

    def row(title: str, members: list[Mistake], with_classes: bool) -> SheetRow:
        shown = members[:PER_ROW]
        captions = [
            f"{m.example}: {100 * m.confidence:.0f} %" + (f"\n{m.predicted},\nnot {m.true}?" if with_classes else "")
            for m in shown
        ]
        images = examined.source.read([m.example for m in shown])
        return SheetRow(f"{title}\n({len(members)})", images, captions, [m.suspect for m in shown])

    doubtful = [m for m in mistakes if m.suspect]
    rows = [row("label\nwrong?", doubtful, True)] if doubtful else []
    for c in confusions_of(mistakes)[: ROWS - len(rows)]:
        members = [m for m in mistakes if (m.true, m.predicted) == (c.true, c.predicted)]
        rows.append(row(f"{c.true}\ntaken for\n{c.predicted}", members, False))
    save_sheet(rows, PER_ROW, path)
