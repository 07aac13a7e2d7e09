"""Tables: numeric feature columns (float32) and one label column, of class names or numbers.

The label column is the one asked for; else the one called label, class, target or y; else the last.
A first row with numbers in it is data, not a header, unless it holds the label column asked for, or beside the label's usual
name only the columns' numbers. Comma, semicolon and tab separate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import ConfigError, DataError
from ..dataset import Dataset
from . import Options
from .common import assemble, explained, name_classes

NAME = "a table (.csv, .tsv)"
OPTIONS = frozenset({"label"})
LABEL_NAMES = ("label", "class", "target", "y")
CHUNK = 4096


def accepts(path: Path) -> bool:
    return path.suffix.lower() in (".csv", ".tsv") and not path.is_dir()


def read(path: Path, options: Options) -> Dataset:
    with explained(path, NAME), open(path, newline="", encoding="utf-8-sig") as file:
        rows = _rows(file)
        number, first = next(rows, (0, []))
        if len(first) < 2:
            raise DataError(f"{path}: has {len(first)} column(s); at least one feature and a label are needed")
        columns, has_header = _columns(first, options.label)
        at = _label_column(columns, options.label, path)
        parts: list[np.ndarray] = []
        labels: list[str] = []
        chunk = [] if has_header else [(number, first)]
        for numbered in rows:
            chunk.append(numbered)
            if len(chunk) == CHUNK:
                parts.append(_numbers(chunk, columns, at, labels, path))
                chunk = []
        parts.append(_numbers(chunk, columns, at, labels, path))
    features = np.concatenate(parts)
    if len(features) == 0:
        raise DataError(f"{path}: has a header but no rows; add examples")
    label_numbers, _, classes = name_classes(np.array(labels, dtype=object), None, path)
    notes = [] if has_header else [f"no header: the label is taken from column {at + 1}"]
    dataset = assemble(options, (features, label_numbers), None, classes, notes)
    dataset.features = columns[:at] + columns[at + 1 :] if has_header else None
    return dataset


def _rows(file) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each line that is not blank."""
    import csv

    start = file.read(65536)
    line = start.partition("\n")[0]
    delimiter = max(",;\t", key=line.count)
    file.seek(0)
    reader = csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=True)
    for row in reader:
        if row:
            yield reader.line_num, [cell.strip() for cell in row]


def _columns(first: list[str], label: str | None) -> tuple[list[str], bool]:
    numbers = [cell for cell in first if _is_number(cell)]
    counted = any(numbers == [str(n) for n in range(start, start + len(numbers))] for start in (0, 1))
    named = label in first or (counted and any(cell.lower() in LABEL_NAMES for cell in first))
    if named or not numbers:
        return first, True
    return [f"column {i + 1}" for i in range(len(first))], False


def _label_column(columns: list[str], label: str | None, path: Path) -> int:
    if label is not None:
        if label not in columns:
            shown = ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
            raise ConfigError(f"label '{label}' is no column of {path}; choose one of: {shown}")
        return columns.index(label)
    lower = [name.lower() for name in columns]
    return next((lower.index(name) for name in LABEL_NAMES if name in lower), len(columns) - 1)


def _numbers(
    chunk: list[tuple[int, list[str]]], columns: list[str], at: int, labels: list[str], path: Path
) -> np.ndarray:
    """float32 [rows, columns - 1] of the features; the labels are appended to `labels`."""
    for number, row in chunk:
        if len(row) != len(columns):
            raise DataError(
                f"{path}: row {number} has {len(row)} cells but there are {len(columns)} columns; correct it"
            )
        label = row[at]
        if label == "":
            raise DataError(f"{path}: row {number}, column '{columns[at]}' is empty; every row needs a label")
        labels.append(_tidy(label, number, columns[at], path))
    cells = [row[:at] + row[at + 1 :] for _, row in chunk]
    try:
        with np.errstate(over="ignore"):  # what does not fit turns infinite and is refused below
            values = np.array(cells, dtype=np.float32).reshape(len(chunk), len(columns) - 1)
        if np.isfinite(values).all():
            return values
    except ValueError:
        pass
    raise _bad_cell(chunk, columns, at, path)


def _tidy(label: str, number: int, column: str, path: Path) -> str:
    """`1.0` and `1` are one class, `007`, `1e5` and `1_0` names; `1.5` is a measurement, not a class."""
    if not _is_number(label):
        return label
    if whole := re.fullmatch(r"[+-]?(0|[1-9][0-9]*)(\.0*)?", label):
        return ("-" if label[0] == "-" and whole[1] != "0" else "") + whole[1]
    value = float(label)
    if value != value or value in (np.inf, -np.inf):
        raise DataError(f"{path}: row {number}, column '{column}' is '{label}'; every row needs a label")
    if value != int(value):
        raise DataError(
            f"{path}: row {number}, column '{column}' is '{label}';"
            " a label must be a class name or a whole number:"
            " choose the column with label="
        )
    return label


def _bad_cell(chunk: list[tuple[int, list[str]]], columns: list[str], at: int, path: Path) -> DataError:
    for number, row in chunk:
        for i, cell in enumerate(row):
            # float32 has its own infinity: 1e99 is a fine Python float and still does not fit
            if i != at and not (_is_number(cell) and abs(float(cell)) <= float(np.finfo(np.float32).max)):
                what = "is empty" if cell == "" else f"is '{cell}'"
                return DataError(
                    f"{path}: row {number}, column '{columns[i]}' {what};"
                    " a finite number is needed: fill in or remove it"
                )
    return DataError(f"{path}: holds cells that are no numbers; correct them")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
