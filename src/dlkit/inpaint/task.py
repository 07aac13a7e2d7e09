"""Filling holes: a U-Net of partial convolutions on crops of the user's photos, with holes drawn at random.

The loss is that of Liu et al. 2018 without its perceptual and style terms, which need a network trained on a million
photos. What is left asks for nearness to the truth and for smoothness, so fillings of large holes are soft.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dlkit import nn, ops, random
from dlkit.data import load, stratified_split
from dlkit.data.holes import KINDS, random_hole
from dlkit.data.loader import ahead
from dlkit.data.normalize import Normalizer
from dlkit.data.photos import Photos, SourcePhotos, open_photos
from dlkit.errors import ConfigError, DataError
from dlkit.inpaint import Job, inpaint
from dlkit.inpaint.methods.net import Network, coarse_to_fine
from dlkit.models import PartialUNet
from dlkit.models.partial_unet import reach_of
from dlkit.tensor import Tensor
from dlkit.train.config import TrainConfig
from dlkit.train.origin import Origin
from dlkit.train.pictures import save_fillings
from dlkit.train.tasks.task import Row, Task, task

HOLE, VALID, TV = 6.0, 1.0, 0.1  # weights of the loss's terms
PREFETCH = 3
MOST_CROPS = 16  # of one photo in an epoch
MEASURED = 16  # photos at most that an epoch is judged by, each with a hole of every kind
MEASURED_SIDE = 256  # pixels of them, from the middle
SHOWN = 6  # fillings in samples.png
WIDTH, DEPTH = 32, 4

Batch = tuple[np.ndarray, np.ndarray]  # x float32 [B, S, S, C] in 0..1, known float32 [B, S, S, 1] of zeros and ones


@dataclass
class PhotoSet:
    """Photos by their purpose; each part is (where they are, which of them)."""

    name: str
    train: tuple[Photos, np.ndarray]
    val: tuple[Photos, np.ndarray]
    test: tuple[Photos, np.ndarray]
    notes: list[str] = field(default_factory=list)

    def remarks(self) -> list[str]:
        return self.notes


@dataclass
class Crops:
    """Batches of crops, mirrored at random, each with a hole of its own.

    An epoch takes as many crops of each photo as cover it, at most MOST_CROPS, in a random order.
    """

    photos: Photos
    crop: int
    batch_size: int
    mask_kind: str
    seed: int
    drop_last: bool
    chosen: np.ndarray

    @cached_property
    def _each(self) -> np.ndarray:
        """Every photo's number, once for each of its crops."""
        areas = [math.prod(self.photos.sizes[i]) for i in self.chosen]
        return np.repeat(self.chosen, [min(MOST_CROPS, -(-area // self.crop**2)) for area in areas])

    def __len__(self) -> int:
        whole, rest = divmod(len(self._each), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        order = random.derive(self.seed, random.ORDER, epoch).permutation(self._each)

        def make(i: int) -> Batch:
            rng = random.derive(self.seed, random.AUGMENT, epoch, i)
            members = order[i * self.batch_size : (i + 1) * self.batch_size]
            return crops_of(self.photos, members, self.crop, self.mask_kind, rng)

        return ahead(make, start, len(self), PREFETCH, 1)


def crops_of(photos: Photos, members: np.ndarray, crop: int, mask_kind: str, rng: np.random.Generator) -> Batch:
    """One crop from a random place of each photo, mirrored or not, and what of it is known."""
    x = np.empty((len(members), crop, crop, photos.channels), np.float32)
    known = np.empty((len(members), crop, crop, 1), np.float32)
    for b, i in enumerate(members):
        height, width = photos.sizes[i]
        top, left = rng.integers(0, height - crop + 1), rng.integers(0, width - crop + 1)
        part = photos.read(int(i))[top : top + crop, left : left + crop]
        x[b] = part[:, ::-1] if rng.random() < 0.5 else part
        known[b, ..., 0] = ~random_hole(mask_kind, crop, crop, rng)
    x /= 255
    return x, known


@task("inpaint", used_by="dlkit inpaint --weights RUN")
class Inpaint(Task):
    """Best is the epoch with the highest PSNR in the holes of the validation photos, whose holes stay the same."""

    loader: Crops
    defaults: ClassVar[dict[str, Any]] = {"batch_size": 8, "lr": 0.003, "clip_norm": 1.0}

    @classmethod
    def load(cls, config: TrainConfig) -> PhotoSet:
        path = Path(config.data)
        if path.is_dir() or (path.suffix.lower() == ".zip" and path.is_file()):
            photos = open_photos(path, config.grey)
            data = split_photos(path.name, photos, np.arange(len(photos)), config)
            if photos.reduced:
                data.notes.append(f"{photos.reduced} large photos are reduced")
        else:
            data = _of_data_set(config)
        return _large_enough(data, config)

    @classmethod
    def build(
        cls, config: TrainConfig, input_shape: tuple[int, ...], classes: int, network: bytes | None = None
    ) -> nn.Module:
        return PartialUNet(input_shape[2], width=config.width or WIDTH, depth=config.depth or DEPTH)

    def __init__(self, config: TrainConfig, data: PhotoSet, origin: Origin | None):
        self.data, self.model_name = data, "partial-unet"
        photos, chosen = data.train
        self.classes: list[str] = []
        self.quantities = {"loss": "", "psnr": "dB"}
        self.input_shape = (config.crop_size, config.crop_size, photos.channels)
        self.normalizer = Normalizer("scale", np.zeros(photos.channels), np.ones(photos.channels), True)
        self.loader = Crops(
            photos, config.crop_size, config.batch_size, config.mask_kind, config.seed, config.drop_last, chosen
        )
        if not len(self.loader):
            raise ConfigError(
                f"{data.name}: an epoch has less than one batch of {config.batch_size}; lower --batch-size"
            )
        self.judged, self.tested = Judged(*data.val, config), Judged(*data.test, config)
        self.validated = len(self.judged) > 0

    def inputs(self, batch: Batch, device: str) -> tuple[Tensor, ...]:
        x, known = batch
        return Tensor(x * known, device=device), Tensor(known, device=device)

    def loss(self, y: Tensor, batch: Batch) -> Tensor:
        return inpainting_loss(y, *batch)

    def sums(self, y: Tensor, batch: Batch, loss: float) -> dict[str, float]:
        x, known = batch
        hole = 1 - known
        squares = float((((y.detach().numpy().clip(0, 1) - x) * hole) ** 2).sum(dtype=np.float64))
        return {"loss": loss * len(x), "seen": len(x), "squares": squares, "unknown": float(hole.sum()) * x.shape[3]}

    def train_row(self, sums: dict[str, float]) -> Row:
        return {"train_loss": sums["loss"] / sums["seen"], "train_psnr": decibels(sums["squares"] / sums["unknown"])}

    def validate(self, model: nn.Module, device: str, folder: Path) -> Row | None:
        if not self.validated:
            return None
        found = self.judged.measure(model, device)
        save_fillings(found.shown, folder / "samples.png")
        return {"val_loss": found.loss, "val_psnr": found.psnr(), "val_psnr_biharmonic": self.judged.biharmonic.psnr()}

    def score(self, row: Row) -> tuple[float, ...]:
        return (row["val_psnr"],)

    def test(self, model: nn.Module, device: str, folder: Path) -> Row:
        """On the test photos, also by kind of hole: {"strokes": {"net": 24.1, "biharmonic": 23.0}, ...}"""
        judged = self.tested
        if not len(judged):
            return {}
        found = judged.measure(model, device)
        kinds = {k: {"net": found.psnr(k), "biharmonic": judged.biharmonic.psnr(k)} for k in judged.kinds}
        total = {"test_loss": found.loss, "test_psnr": found.psnr(), "test_psnr_biharmonic": judged.biharmonic.psnr()}
        return {**total, "test_psnr_by_kind": kinds}

    def describe(self) -> str:
        parts = [f"{len(part[1]):,} {what}" for part, what in zip(self._parts(), ("training", "validation", "test"))]
        grey = "grey" if self.input_shape[2] == 1 else "RGB"
        return f"{self.data.name}: {', '.join(parts)} photos, {grey}, crops of {self.loader.crop}×{self.loader.crop}"

    def _parts(self) -> tuple:
        return self.data.train, self.data.val, self.data.test

    def describe_row(self, row: Row) -> str:
        text = f"loss {row['train_loss']:.4f}"
        if "val_psnr" in row:
            text += (
                f"   validation loss {row['val_loss']:.4f}, in the hole {row['val_psnr']:.2f} dB "
                f"(biharmonic {row['val_psnr_biharmonic']:.2f})"
            )
        return text

    def describe_test(self, metrics: Row) -> str | None:
        if metrics["test_psnr"] is None:
            return None
        of = ", ".join(
            f"{k} {v['net']:.2f} ({v['biharmonic']:.2f})" for k, v in metrics.get("test_psnr_by_kind", {}).items()
        )
        return f"test, dB in the hole (biharmonic's): {metrics['test_psnr']:.2f} ({metrics['test_psnr_biharmonic']:.2f}); {of}"


def inpainting_loss(y: Tensor, x: np.ndarray, known: np.ndarray) -> Tensor:
    """6 · L1 in the hole + L1 outside + 0.1 · total variation of the filled image along the hole, each over all N·H·W·C.

    y, x : [N, H, W, C]; known : [N, H, W, 1] of zeros and ones
    Source : Liu et al. 2018, equations 3, 6 and 7; without equations 4 and 5 (perceptual and style terms).
    """
    count = float(x.size)
    truth, seen = Tensor(x, device=y.device), Tensor(known, device=y.device)
    hole = 1.0 - seen
    error = ops.abs(y - truth)
    near = ops.sum(error * (VALID * seen + HOLE * hole))
    filled = truth * seen + y * hole
    along = ops.sum(ops.abs(filled[:, 1:] - filled[:, :-1]) * ops.maximum(hole[:, 1:], hole[:, :-1]))
    across = ops.sum(ops.abs(filled[:, :, 1:] - filled[:, :, :-1]) * ops.maximum(hole[:, :, 1:], hole[:, :, :-1]))
    return (near + TV * (along + across)) / count


# -- judging -----------------------------------------------------------------------------------------------------------


def decibels(mean_square: float) -> float:
    """PSNR of values in 0..1; at most 100 dB, so that a perfect filling is a number too."""
    return 10 * math.log10(1 / max(mean_square, 1e-10))


@dataclass
class Fillings:
    """loss : mean over the fillings; by_kind : each kind's PSNRs; shown : (input, filled, truth) to be looked at"""

    loss: float = 0.0
    by_kind: dict[str, list[float]] = field(default_factory=dict)
    shown: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)

    def psnr(self, kind: str | None = None) -> float:
        """The mean of one kind's, or of all."""
        values = [v for k, many in self.by_kind.items() if kind in (None, k) for v in many]
        return sum(values) / len(values)


class Judged:
    """Photos with holes that stay the same, to compare networks and epochs by.

    Of each of at most MEASURED photos the middle, with one hole of each kind (of the one kind that is trained for).
    """

    def __init__(self, photos: Photos, chosen: np.ndarray, config: TrainConfig):
        self.photos, self.seed, self.reach = photos, config.seed, reach_of(config.crop_size)
        mask_kind = config.mask_kind
        self.kinds = list(KINDS) if mask_kind == "mixed" else [mask_kind]
        self.chosen = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), MEASURED)).astype(int)]

    def __len__(self) -> int:
        return len(self.chosen) * len(self.kinds)

    def cases(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """(kind, x float32 [H, W, C] in 0..1, hole bool [H, W])"""
        for i in map(int, self.chosen):
            x = middle(self.photos.read(i)).astype(np.float32) / 255
            for number, kind in enumerate(self.kinds):
                rng = random.derive(self.seed, random.HOLES, i, number)
                yield kind, x, random_hole(kind, x.shape[0], x.shape[1], rng)

    def measure(self, model: nn.Module, device: str) -> Fillings:
        """What `dlkit inpaint` would make of them with this network."""
        network = Network(model, self.photos.channels, self.reach, device, mirrored=False)
        found, apart = Fillings(), max(1, len(self) // SHOWN)
        apart += apart % len(self.kinds) == 0  # one step further than a multiple of the kinds: not always the same kind
        for number, (kind, x, hole) in enumerate(self.cases()):
            unknown = hole[..., None]
            y = coarse_to_fine(np.where(unknown, np.float32(0), x), hole, network, Job())
            filled = np.where(unknown, y.clip(0, 1), x)
            known = (~unknown[None]).astype(np.float32)
            found.loss += inpainting_loss(Tensor(filled[None]), x[None], known).item() / len(self)
            found.by_kind.setdefault(kind, []).append(psnr(filled, x, hole))
            if number % apart == 0 and len(found.shown) < SHOWN:
                found.shown.append((np.where(unknown, 1, x), filled, x))
        return found

    @cached_property
    def biharmonic(self) -> Fillings:
        """What a method without weights makes of the same holes."""
        found = Fillings()
        for kind, x, hole in self.cases():
            found.by_kind.setdefault(kind, []).append(psnr(inpaint(x, hole, "biharmonic").image, x, hole))
        return found


def middle(pixels: np.ndarray) -> np.ndarray:
    top, left = (max(0, n - MEASURED_SIDE) // 2 for n in pixels.shape[:2])
    return pixels[top : top + MEASURED_SIDE, left : left + MEASURED_SIDE]


def psnr(filled: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> float:
    """dB over the hole's pixels, all channels together, of values in 0..1."""
    return decibels(float(np.mean((filled[hole].astype(np.float64) - truth[hole]) ** 2)))


# -- data --------------------------------------------------------------------------------------------------------------


def split_photos(name: str, photos: Photos, chosen: np.ndarray, config: TrainConfig) -> PhotoSet:
    """The photos dealt out by --test-split and --val-split."""
    chosen, test = _held_back(chosen, config.test_split, config.seed)
    train, val = _held_back(chosen, config.val_split, config.seed)
    return PhotoSet(name, (photos, train), (photos, val), (photos, test))


def _held_back(chosen: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(kept, held); of a single photo none is held."""
    if not share:
        return chosen, chosen[:0]
    keep, held = stratified_split(np.zeros(len(chosen), np.int64), share, seed)
    return chosen[keep], chosen[held]


def _of_data_set(config: TrainConfig) -> PhotoSet:
    """The images of a data set by name or in another format; its own test set is kept apart."""
    data = load(config.data, grey=config.grey, test_split=config.test_split, seed=config.seed)
    if not data.train.is_image:
        raise DataError(
            f"{config.data}: holds no images; --task inpaint needs a folder or .zip of photos (--data photos/)"
        )
    train = SourcePhotos(data.train)
    split = split_photos(data.name, train, np.arange(len(train)), replace(config, test_split=0.0))
    if data.test is not None:
        split.test = SourcePhotos(data.test), np.arange(len(data.test))
    return split


def _large_enough(data: PhotoSet, config: TrainConfig) -> PhotoSet:
    """Without the training photos that are smaller than a crop."""
    photos, chosen = data.train
    large = np.array([min(photos.sizes[i]) >= config.crop_size for i in chosen])
    if not large.any():
        height, width = photos.sizes[int(chosen[0])]
        raise DataError(
            f"{config.data}: no photo is as large as a crop of {config.crop_size}×{config.crop_size} (the first is "
            f"{width}×{height}); give larger photos (--data photos/) or a smaller --crop-size"
        )
    if not large.all():
        data.notes.append(f"{(~large).sum()} photos are smaller than a crop and not used for training")
    data.train = photos, chosen[large]
    return data
