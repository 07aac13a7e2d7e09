"""Pictures of a run, drawn by matplotlib without a screen."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlkit.train.files import save_atomically


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # not pyplot: no window system is touched, no global state kept

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    import matplotlib

    # class names are no formulas, and a font without one of their letters is not the user's fault
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        for text in figure.findobj(matplotlib.text.Text):
            text.set_parse_math(False)
        save_atomically(path, lambda name: figure.savefig(name, dpi=120))


def save_curves(history: list[dict[str, Any]], quantities: dict[str, str], path: Path) -> None:
    """Each quantity over the epochs, training and validation. quantities : name -> unit; shares are shown in %"""
    figure = _figure(4.5 * len(quantities), 3.6)
    epochs = [row["epoch"] for row in history]
    for axes, (quantity, unit) in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities.items()):
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


def _whole_decades(axes: Any, values: list[float]) -> None:
    """A logarithmic scale from one power of ten to another, written without the formulas that `_save` turns off."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = np.log10([min(values, default=0.1), max(values, default=1.0)])
    axes.set_xscale("log")
    axes.set_xlim(10 ** np.floor(low - 0.05), 10 ** np.ceil(high + 0.05))
    axes.xaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_major_formatter(lambda v, _: f"{v:.0e}")
    axes.xaxis.set_minor_locator(NullLocator())
