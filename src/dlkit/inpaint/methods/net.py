"""Filling by a network that was trained on photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlkit import ops, tape
from dlkit.errors import ConfigError
from dlkit.inpaint.mask import distance
from dlkit.inpaint.method import Job, method
from dlkit.inpaint.spread import spread
from dlkit.inpaint.tiles import OVERLAP, in_tiles
from dlkit.models.partial_unet import reach_of
from dlkit.nn import Module, inference
from dlkit.tensor import Tensor
from dlkit.train.run import RunFolder


@method(
    "net",
    source="Liu et al. 2018, Image inpainting for irregular holes using partial convolutions",
    margin=OVERLAP,
    takes=("weights",),
)
def net(image: np.ndarray, hole: np.ndarray, job: Job) -> np.ndarray:
    """A U-Net trained by `dlkit train --task inpaint`; needs --weights RUN.

    Large images are filled in tiles. What lies deeper in a hole than the network's training reached is filled at half the
    size first (and so on), enlarged, and then taken as known. Quality "best" averages over the image and its mirror image.
    """
    if job.weights is None:
        raise ConfigError("method 'net' needs a network: give --weights RUN; `dlkit train --task inpaint` trains one")
    return coarse_to_fine(image, hole, Network.load(job.weights, job), job)


@dataclass(frozen=True)
class Network:
    """model : PartialUNet        reach : how deep in a hole it is to be trusted, in pixels"""

    model: Module
    channels: int
    reach: int
    device: str
    mirrored: bool

    @classmethod
    def load(cls, run: str, job: Job) -> Network:
        """Raises : CheckpointError if there is no run of this task."""
        checkpoint = RunFolder.open(run).load_best("inpaint")
        side, _, channels = checkpoint.input_shape
        return cls(checkpoint.build().to(job.device), channels, reach_of(side), job.device, job.quality == "best")

    def __call__(self, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """float32 [H, W, C]; C is 1 or 3, whichever it was trained on."""
        known = (~hole[None, ..., None]).astype(np.float32)
        x = self._fed(image) * known
        with inference(self.model):
            y = self._run(x, known)
            if self.mirrored:
                y = (y + self._run(x[:, :, ::-1], known[:, :, ::-1])[:, :, ::-1]) / 2
        return self._back(y, image.shape[2])

    def _run(self, x: np.ndarray, known: np.ndarray) -> np.ndarray:
        masks = np.broadcast_to(known, (len(x), *known.shape[1:]))
        parts = (Tensor(np.ascontiguousarray(a), device=self.device) for a in (x, masks))
        return self.model(*parts).numpy()

    def _fed(self, image: np.ndarray) -> np.ndarray:
        """[N, H, W, channels]: for a network of greys each colour is an image, one of colours sees grey as three."""
        if image.shape[2] > self.channels:
            return np.moveaxis(image, 2, 0)[..., None]
        return np.repeat(image, self.channels // image.shape[2], axis=2)[None]

    def _back(self, y: np.ndarray, channels: int) -> np.ndarray:
        if channels > self.channels:
            return np.moveaxis(y[..., 0], 0, 2)
        return y[0] if channels == self.channels else y[0].mean(axis=2, keepdims=True)


def coarse_to_fine(image: np.ndarray, hole: np.ndarray, network: Network, job: Job, done: float = 0.0) -> np.ndarray:
    """float32 [H, W, C]; if the time runs out, what is coarser stands where the network has not been, or a blur."""
    depth = distance(hole)
    if depth.max() > network.reach and max(hole.shape) > 1:
        coarse = coarse_to_fine(*halved(image, hole), network, job, done)
        larger = enlarged(coarse, hole.shape)
        if job.expired():
            return np.where(hole[..., None], larger, image)
        deep = depth > network.reach
        image = np.where(deep[..., None], larger, image)
        hole = hole & ~deep
        done = done + (1 - done) / 4  # the coarse image has a quarter of the pixels
    filled = in_tiles(image, hole, network, job, done)
    return spread(image, hole) if filled is None else filled


def halved(image: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each 2×2 pixels as the mean of the known ones; unknown where none is."""
    even = [(0, n % 2) for n in hole.shape]
    known = np.pad(~hole, even).astype(np.float32)[..., None]
    seen = np.pad(np.where(hole[..., None], np.float32(0), image), [*even, (0, 0)])
    count, total = _sums(known), _sums(seen)
    return total / np.maximum(count, 1), count[..., 0] == 0


def _sums(x: np.ndarray) -> np.ndarray:
    return x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]


def enlarged(coarse: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    with tape.no_grad():
        return ops.upsample_bilinear(Tensor(coarse[None]), scale=2).numpy()[0, : shape[0], : shape[1]]
