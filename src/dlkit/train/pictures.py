"""Pictures of a run, drawn by matplotlib without a screen."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.train.files import save_atomically


def _figure(width: float, height: float, layout: Any = "constrained") -> Any:
    from matplotlib.figure import Figure  # not pyplot: no window system is touched, no global state kept

    return Figure(figsize=(width, height), layout=layout)


def _save(figure: Any, path: Path) -> None:
    import matplotlib

    # class names are no formulas, and a font without one of their letters is not the user's fault
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        for text in figure.findobj(matplotlib.text.Text):
            text.set_parse_math(False)
        save_atomically(path, lambda name: figure.savefig(name, dpi=120))


def save_curves(
    history: list[dict[str, Any]], quantities: dict[str, str], path: Path, rates: list[tuple[float, float]]
) -> None:
    """Each quantity over the epochs, training and validation, and the learning rate.

    quantities : name -> unit; shares are shown in %.  rates : (epochs done, learning rate).
    """
    figure = _figure(4.5 * (len(quantities) + 1), 3.6)
    epochs = [row["epoch"] for row in history]
    plots = figure.subplots(1, len(quantities) + 1)
    plots[-1].plot(*zip(*rates))
    plots[-1].set_xlabel("epoch")
    plots[-1].set_ylabel("learning rate")
    plots[-1].grid(alpha=0.3)
    for axes, (quantity, unit) in zip(plots, quantities.items()):
        scale = 100 if unit == "%" else 1
        for part, style in (("train", "o-"), ("val", "s--")):
            if f"{part}_{quantity}" in history[0]:
                label = {"train": "training", "val": "validation"}[part]
                axes.plot(epochs, [scale * row[f"{part}_{quantity}"] for row in history], style, ms=3, label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"{quantity} ({unit})" if unit else quantity)
        axes.grid(alpha=0.3)
        axes.legend()
        axes.xaxis.get_major_locator().set_params(integer=True)
    _save(figure, path)


def save_confusion(matrix: np.ndarray, classes: list[str], path: Path) -> None:
    """matrix : int [K, K], rows are the true classes; colours show the share of each row."""
    k = len(classes)
    side = min(max(4.0, 0.5 * k + 2), 20)
    figure = _figure(side, side * 0.9)
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(
        range(k),
        classes,
        rotation=45 if max(map(len, classes)) > 2 else 0,
        ha="right" if max(map(len, classes)) > 2 else "center",
    )
    axes.set_yticks(range(k), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if k <= 30:
        for i in range(k):
            for j in range(k):
                if matrix[i, j]:
                    axes.text(
                        j,
                        i,
                        matrix[i, j],
                        ha="center",
                        va="center",
                        fontsize=8,
                        color="white" if share[i, j] > 0.6 else "black",
                    )
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    _save(figure, path)


def save_mistakes(images: np.ndarray, captions: list[str], path: Path) -> None:
    """images : uint8 [N, H, W, C], each with what it is and what it was taken for."""
    columns = min(6, max(len(images), 1))
    rows = max(-(-len(images) // columns), 1)
    figure = _figure(1.7 * columns, 2.1 * rows)
    for i, axes in enumerate(np.atleast_1d(figure.subplots(rows, columns)).ravel()):
        axes.axis("off")
        if i < len(images):
            picture = images[i][..., 0] if images.shape[-1] == 1 else images[i]
            axes.imshow(picture, cmap="gray" if images.shape[-1] == 1 else None, vmin=0, vmax=255)
            axes.set_title(captions[i], fontsize=8)
    if not len(images):
        figure.suptitle("no mistakes")
    _save(figure, path)


@dataclass
class SheetRow:
    """images : uint8 [N, H, W, C]; marked : which get a red frame."""

    title: str
    images: np.ndarray
    captions: list[str]
    marked: list[bool]


def save_sheet(rows: list[SheetRow], columns: int, path: Path) -> None:
    """A contact sheet: rows of small pictures, what they have in common written at their left."""
    count = max(len(rows), 1)
    width, height = 1.0 + 1.25 * columns, 1.7 * count
    figure = _figure(width, height, None)  # a hundred axes of one size need no layout to be solved for
    for i, row in enumerate(rows):
        top = 1 - i / count
        figure.text(0.5 / width, top - 1.02 / height, row.title, ha="center", va="center", fontsize=8)
        for j, (image, caption, marked) in enumerate(zip(row.images, row.captions, row.marked)):
            axes = figure.add_axes(((1.0 + 1.25 * j) / width, top - 1.6 / height, 1.15 / width, 1.15 / height))
            grey = image.shape[-1] == 1
            axes.imshow(image[..., 0] if grey else image, cmap="gray" if grey else None, vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
            axes.set_title(caption, fontsize=7, pad=3)
            axes.spines[:].set(visible=marked, color="red", linewidth=2)
    if not rows:
        figure.suptitle("no mistakes")
    _save(figure, path)


def save_fillings(rows: Sequence[tuple[np.ndarray, ...]], path: Path) -> None:
    """Rows of pictures beside each other, float in 0..1 [H, W, C], pixel for pixel."""
    from PIL import Image

    gap = 4
    height = sum(row[0].shape[0] + gap for row in rows) - gap
    width = max(sum(picture.shape[1] + gap for picture in row) for row in rows) - gap
    sheet = np.full((height, width, rows[0][0].shape[2]), 255, np.uint8)
    top = 0
    for row in rows:
        left = 0
        for picture in row:
            h, w = picture.shape[:2]
            sheet[top : top + h, left : left + w] = np.rint(255 * picture)
            left += w + gap
        top += row[0].shape[0] + gap
    save_atomically(path, lambda name: Image.fromarray(sheet.squeeze()).save(name))


def save_gradients(
    layers: list[str], signal: list[float], weight: list[float | None], gradient: list[float | None], path: Path
) -> None:
    """Layer by layer, on a logarithmic scale: the gradient that arrives at its output, and the sizes of its weights and
    of their gradients. None: the layer has no weights."""
    figure = _figure(11, max(2.5, 0.28 * len(layers) + 1.6))
    left, right = figure.subplots(1, 2, sharey=True)
    rows = np.arange(len(layers))
    left.plot(np.where(np.array(signal) > 0, signal, np.nan), rows, "o-", ms=4)
    left.set_xlabel("‖dL/dy‖ at the layer's output, per example")
    for sizes, mark, label in ((weight, "s", "weights"), (gradient, "o", "their gradients")):
        shown = [np.nan if v is None or v <= 0 else v for v in sizes]
        right.plot(shown, rows, mark, ms=5, label=label)
    right.set_xlabel("root mean square")
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    _whole_decades(left, [v for v in signal if v])
    _whole_decades(right, [v for v in (*weight, *gradient) if v])
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.set_yticks(rows, layers)
    left.invert_yaxis()  # the input is at the top, as in the tables
    _save(figure, path)


@dataclass(frozen=True)
class Panel:
    """A picture, uint8 [H, W, 1 or 3], with what is written above it."""

    image: np.ndarray
    title: str


def save_panels(rows: list[list[Panel]], path: Path) -> None:
    """A contact sheet of large pictures in rows; those of a row have one height."""
    side = 2.6
    widths = [[side * p.image.shape[1] / p.image.shape[0] for p in row] for row in rows]
    figure = _figure(max(sum(w) + 0.15 * len(w) for w in widths) + 0.2, (side + 0.45) * len(rows) + 0.1, None)
    width, height = figure.get_size_inches()
    for i, (row, sizes) in enumerate(zip(rows, widths)):
        left, bottom = 0.15, height - (side + 0.45) * (i + 1)
        for panel, size in zip(row, sizes):
            axes = figure.add_axes((left / width, bottom / height, size / width, side / height))
            grey = panel.image.shape[-1] == 1
            axes.imshow(panel.image[..., 0] if grey else panel.image, cmap="gray" if grey else None, vmin=0, vmax=255)
            axes.set_axis_off()
            axes.set_title(panel.title, fontsize=8, pad=3)
            left += size + 0.15
    _save(figure, path)


@dataclass(frozen=True)
class Axis:
    """One vertical axis: marks (height from 0 to 1, text) and the height at which each line crosses it."""

    name: str
    marks: list[tuple[float, str]]
    places: list[float]


def save_parallel_coordinates(axes: list[Axis], scores: list[float | None], label: str, path: Path) -> None:
    """A line for each trial across the axes of what was varied, ending at its score; None: grey, without one. The first
    trial is the best one, its line is thick."""
    known = [s for s in scores if s is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    span = high - low or 1.0
    ends = [(low, 0.0), (high, 1.0)] if high > low else [(low, 0.5)]
    columns = [*axes, Axis(label, [(at, f"{value:.4g}") for value, at in ends], [])]
    figure = _figure(1.7 * len(columns) + 1, 4.4)
    plot = figure.subplots()
    colours = _colormap("viridis")
    for i in reversed(range(len(scores))):  # the best on top
        score = scores[i]
        heights = [axis.places[i] for axis in axes]
        if score is None:
            plot.plot(range(len(heights)), heights, color="0.8", lw=1)
            continue
        share = (score - low) / span if high > low else 0.5
        plot.plot(range(len(columns)), [*heights, share], color=colours(share), lw=1.2 if i else 3.5)
    for x, axis in enumerate(columns):
        plot.axvline(x, color="0.3", lw=0.8)
        for height, text in axis.marks:
            plot.text(x + 0.03, height, text, fontsize=8, va="center", bbox={"fc": "white", "ec": "none", "pad": 0.8})
    plot.set_xticks(range(len(columns)), [axis.name for axis in columns])
    plot.set_yticks([])
    plot.set_xlim(-0.15, len(columns) - 0.55)
    plot.spines[:].set_visible(False)
    _save(figure, path)


def _colormap(name: str) -> Any:
    import matplotlib

    return matplotlib.colormaps[name]


def save_bars(values: dict[str, float], label: str, path: Path) -> None:
    """A horizontal bar for each name, the longest at the top."""
    names = sorted(values, key=lambda name: values[name])
    figure = _figure(6, 0.45 * len(names) + 1.2)
    plot = figure.subplots()
    bars = plot.barh(names, [values[n] for n in names])
    plot.bar_label(bars, [f"{values[n]:.2f}" for n in names], padding=3, fontsize=9)
    plot.set_xlabel(label)
    plot.set_xlim(0, 1.15 * max(values.values()))
    plot.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _whole_decades(axes: Any, values: list[float]) -> None:
    """A logarithmic scale from one power of ten to another, written without the formulas that `_save` turns off."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = np.log10([min(values, default=0.1), max(values, default=1.0)])
    axes.set_xscale("log")
    axes.set_xlim(10 ** np.floor(low - 0.05), 10 ** np.ceil(high + 0.05))
    axes.xaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_major_formatter(lambda v, _: f"{v:.0e}")
    axes.xaxis.set_minor_locator(NullLocator())
