"""What fixing a kind of mistake would gain, from the table of mistakes that a person has tagged.

If all mistakes with a tag were put right, the error could not fall by more than their share of it: the ceiling of what
work on them can bring (Ng, Machine Learning Yearning, chapters 13-19).
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlkit.errors import DataError
from dlkit.train.examine import Examined, examine

NEEDED = ("example", "true", "predicted", "tags")


@dataclass(frozen=True)
class TaggedRow:
    line: int
    example: int
    true: str
    predicted: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Gain:
    """mistakes : how many of the tagged ones carry the tag; gain : by how much the error falls at most; error, accuracy :
    what they would then be."""

    tag: str
    mistakes: int
    share: float
    gain: float
    error: float
    accuracy: float


@dataclass
class Gains:
    """gains : largest first. Where only some mistakes are tagged, they stand for all: `tagged` of `mistakes`."""

    run: str
    data: str
    split: str
    examples: int
    mistakes: int
    tagged: int
    error: float
    accuracy: float
    gains: list[Gain]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def gains(run_path: str, table: str, *, data: str | None = None, split: str = "test") -> Gains:
    """The ceiling of each tag in `table`, which is what `mistakes.analyse` wrote for the same run and set, tagged by hand.

    A mistake may carry several tags. One without any counts as not looked at.
    Raises : DataError if the table is none, has no tags, or a row is no mistake of this network on this set.
    """
    rows = read_tags(Path(table))
    if not any(row.tags for row in rows):
        raise DataError(
            f"{table}: no row has a tag; write what is the matter into the column 'tags' (such as blurry; dark)"
        )
    examined = examine(run_path, data=data, part=split)
    _check(rows, examined, table)
    total, wrong = len(examined.source), len(examined.mistakes)
    tagged = [row for row in rows if row.tags]
    error = 1 - examined.result.accuracy
    counts: dict[str, int] = {}
    for row in tagged:
        for tag in row.tags:
            counts[tag] = counts.get(tag, 0) + 1
    found = []
    for tag, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        share = n / len(tagged)
        found.append(Gain(tag, n, share, share * error, (1 - share) * error, 1 - (1 - share) * error))
    return Gains(
        run=str(examined.run),
        data=examined.data,
        split=split,
        examples=total,
        mistakes=wrong,
        tagged=len(tagged),
        error=error,
        accuracy=examined.result.accuracy,
        gains=found,
    )


def read_tags(path: Path) -> list[TaggedRow]:
    """The rows of a table of mistakes, also after a spreadsheet has written it (semicolons or tabs, a byte order mark).

    Raises : DataError if it cannot be read or lacks a column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file in UTF-8 ({error.reason}); save it as csv, UTF-8") from None
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    try:
        reader = csv.DictReader(io.StringIO(text), delimiter=delimiter)
        missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(
                f"{path}: has no column {missing[0]!r}; give the table that dlkit errors wrote, with its header"
            )
        rows = [_row(path, reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise DataError(f"{path}: not a csv table ({error})") from None
    seen: dict[int, int] = {}
    for row in rows:
        if row.example in seen:
            raise DataError(
                f"{path}: line {row.line}: example {row.example} stands in line {seen[row.example]} already"
            )
        seen[row.example] = row.line
    return rows


def _row(path: Path, line: int, cells: dict[str, Any]) -> TaggedRow:
    if not str(cells["example"] or "").strip().isdecimal():
        raise DataError(f"{path}: line {line}: example is {cells['example']!r}; expected its number")
    tags = dict.fromkeys(tag.strip().lower() for tag in re.split("[;,]", cells["tags"] or ""))
    return TaggedRow(line, int(cells["example"]), cells["true"], cells["predicted"], tuple(t for t in tags if t))


def _check(rows: list[TaggedRow], examined: Examined, table: str) -> None:
    """Every row must be a mistake of this network on this set, or the shares mean nothing."""
    result, classes = examined.result, examined.classes
    actual = {
        i: (classes[label], classes[guess])
        for i, label, guess in zip(range(len(result.labels)), result.labels.tolist(), result.predictions.tolist())
        if label != guess
    }
    for row in rows:
        if actual.get(row.example) != (row.true, row.predicted):
            raise DataError(
                f"{table}: line {row.line}: example {row.example} ({row.true} taken for {row.predicted}) is no such mistake "
                f"of {examined.run} on the {examined.split} set of {examined.data}; give the --data and --split that "
                "the table was made with"
            )
