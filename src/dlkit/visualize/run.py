"""The pictures that `dlkit visualize` leaves in a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dlkit import nn
from dlkit.data import images
from dlkit.errors import ConfigError, DataError
from dlkit.nn import inference
from dlkit.registry import nearest
from dlkit.tensor import Tensor
from dlkit.train.evaluation import probabilities_of
from dlkit.train.files import save_atomically, says_why
from dlkit.train.pictures import Panel, save_panels
from dlkit.train.predict import Predictor
from dlkit.train.tiles import filter_tiles, map_tiles
from dlkit.visualize.colours import enlarged, overlaid, shades
from dlkit.visualize.explain import explain
from dlkit.visualize.layers import chosen, feature_maps

LIKELIEST = 3  # classes that Grad-CAM is drawn for where none is named


@dataclass
class Visualization:
    """sheets : a contact sheet of each kind.  files : every picture by itself.  layers : whose maps are shown.

    predictions : file -> class -> probability, of the classes that are explained.  notes : what could not be shown.
    """

    folder: str
    sheets: list[str]
    files: list[str]
    layers: list[str]
    predictions: dict[str, dict[str, float]]
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def visualize(
    run: str, files: list[str], *, out: str | None = None, layers: str | None = None, label: str | None = None
) -> Visualization:
    """Filters, feature maps, saliency and Grad-CAM of a classifier on image files, as PNG files in `out` (RUN/visualize).

    run : a run folder or an ONNX file.  layers : names with commas between them, "all", or None for the last one of each
    size; Grad-CAM is that of the last one.  label : the class to be explained, by default the likeliest three.
    Raises : ConfigError for an unknown layer or class, DataError for what is not an image, OutputError.
    """
    predictor = Predictor.open(run)
    if len(predictor.input_shape) != 3 or not predictor.classes:
        what = "features" if predictor.classes else "images without classes"
        raise ConfigError(f"{run}: takes {what}; only networks that classify images can be shown")
    if label is not None and label not in predictor.classes:
        known = predictor.classes
        raise ConfigError(f"no class {label!r}{nearest(label, known)}; classes: {', '.join(known[:20])}")
    pixels = [_read(Path(file), predictor.input_shape) for file in files]
    folder = Path(out) if out else (Path(run).parent if run.endswith(".onnx") else Path(run)) / "visualize"
    with says_why(folder):
        folder.mkdir(parents=True, exist_ok=True)
    drawing = _Drawing(predictor, folder, layers)
    drawing.filters()
    for file, image in zip(files, pixels):
        drawing.image(file, image, label)
    return drawing.finished()


class _Drawing:
    """Collects the rows of the contact sheets while every picture is saved by itself."""

    def __init__(self, predictor: Predictor, folder: Path, layers: str | None):
        self.model, self.predictor, self.folder = predictor.model, predictor, folder
        blank = np.zeros((1, *predictor.input_shape), np.float32)
        maps = feature_maps(self.model, Tensor(blank))
        self.layers = chosen(maps, layers) if maps or layers else []
        self.rows: dict[str, list[list[Panel]]] = {}
        self.files: list[str] = []
        self.predictions: dict[str, dict[str, float]] = {}
        self.stems: set[str] = set()

    def filters(self) -> None:
        """Of the first convolution, and of those among the chosen layers."""
        found = [(name, m) for name, m in self.model.named_modules() if isinstance(m, nn.Conv2d)]
        shown = [(name, m) for i, (name, m) in enumerate(found) if i == 0 or name in self.layers]
        row = []
        for name, module in shown:
            picture = filter_tiles(module.weight.numpy())
            self._save(picture, f"filters-{name}")
            r, s, c, k = module.weight.shape
            row.append(Panel(picture, f"{name}: {k} filters {r}×{s}×{c}"))
        if row:
            self.rows["filters"] = [row]

    def image(self, file: str, image: np.ndarray, label: str | None) -> None:
        stem = self._stem(file)
        x = Tensor(self.predictor.normalizer(image[None]))
        with inference(self.model):
            p = probabilities_of(self.model, x.numpy())[0]
        classes = self.predictor.classes
        asked = [classes.index(label)] if label is not None else np.argsort(-p, kind="stable")[:LIKELIEST].tolist()
        self.predictions[file] = {classes[k]: float(p[k]) for k in asked}
        original = Panel(enlarged(image), Path(file).name)
        self._maps(stem, x, original)
        explanations = [(k, explain(self.model, x, k, self.layers[-1] if self.layers else None)) for k in asked]
        first, of_first = explanations[0]
        picture = enlarged(shades(of_first.saliency))
        self._save(picture, f"{stem}-saliency")
        title = f"what moves the score of {classes[first]}"
        self.rows.setdefault("saliency", []).append([original, Panel(picture, title)])
        row = [original]
        for k, explanation in explanations:
            if explanation.cam is not None:
                picture = overlaid(enlarged(image), explanation.cam)
                self._save(picture, f"{stem}-gradcam-{classes[k]}")
                row.append(Panel(picture, f"{classes[k]} ({100 * p[k]:.1f} %)"))
        if len(row) > 1:
            self.rows.setdefault("gradcam", []).append(row)

    def _maps(self, stem: str, x: Tensor, original: Panel) -> None:
        row = [original]
        found = feature_maps(self.model, x) if self.layers else {}
        for name in self.layers:
            maps = found[name].numpy()[0]
            scale = max(1, 32 // min(maps.shape[:2]))
            picture = map_tiles(maps, scale)
            self._save(picture, f"{stem}-{name}")
            h, w, k = maps.shape
            row.append(Panel(picture, f"{name}: {k} maps {h}×{w}"))
        if self.layers:
            self.rows.setdefault("activations", []).append(row)

    def finished(self) -> Visualization:
        sheets = []
        for name, rows in self.rows.items():
            path = self.folder / f"{name}.png"
            save_panels(rows, path)
            sheets.append(str(path))
        notes = [] if self.layers else ["no layers that make maps: neither feature maps nor Grad-CAM"]
        return Visualization(str(self.folder), sheets, self.files, self.layers, self.predictions, notes)

    def _stem(self, file: str) -> str:
        """A name for the pictures of a file, different for each."""
        base = stem = Path(file).stem
        number = 1
        while stem in self.stems:
            number += 1
            stem = f"{base}-{number}"
        self.stems.add(stem)
        return stem

    def _save(self, pixels: np.ndarray, name: str) -> None:
        from PIL import Image

        path = self.folder / (re.sub(r"[^\w.-]+", "_", name) + ".png")  # a class may be called anything
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        save_atomically(path, picture.save)
        self.files.append(str(path))


def _read(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """uint8 [H, W, C], brought to the size and mode that the network takes."""
    try:
        return images.decode(path.read_bytes(), shape, str(path))[0]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
