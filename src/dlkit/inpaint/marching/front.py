"""Fast marching: in which order a hole is filled from its edge, and how far each pixel is from there.

Source : Sethian 1996, PNAS 93(4); in the form of Telea 2004, J. Graphics Tools 9(1), §2.3: a pixel gets its time when a
neighbour's front first touches it.
"""

# mypy: allow-untyped-defs

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlkit.inpaint.method import Job
from dlkit.inpaint.spread import spread
from dlkit.jit import jit

RADIUS = 3  # of the disc of pixels a new one is made from; OpenCV's users take 3
PAD = RADIUS + 1  # cells around the image, never known: nothing in the loops asks where the image ends
FAR = np.float32(1e6)
CHUNK = 100_000  # pixels between two reports of progress and looks at the clock


@dataclass
class March:
    """Flat arrays over the padded image.

    order : int64 [n], the hole's places as they are filled, as many as the time allowed        time : float32, distance to the hole's edge, negative
    outside        known : uint8, 1 where the image is known, set to 1 by the loops as they fill
    pixels : float32 [places, C], grey levels 0..255
    """

    order: np.ndarray
    time: np.ndarray
    known: np.ndarray
    pixels: np.ndarray
    stride: int

    @classmethod
    def into(cls, image: np.ndarray, hole: np.ndarray, job: Job, outward: bool = True) -> March:
        """outward : False where nobody asks for the time of known pixels: it stays FAR"""
        border = (PAD, PAD)
        inside = np.pad(hole, PAD).astype(np.uint8).ravel()
        known = np.pad(~hole, PAD).astype(np.uint8).ravel()
        stride = hole.shape[1] + 2 * PAD
        time = np.full(inside.size, FAR, np.float32)
        band = np.flatnonzero(touches(inside, known, stride))
        if outward:
            outside = known.copy()
            outside[band] = 0
            in_order(band, outside, time, stride, RADIUS + 1.0, job)
            time[(known == 1) & (time < FAR)] *= -1
        order = in_order(band, inside, time, stride, float(FAR), job)
        pixels = np.pad(image * np.float32(255), (border, border, (0, 0))).reshape(-1, image.shape[2])
        return cls(order, time, known, pixels, stride)

    def image(self, shape: tuple[int, ...]) -> np.ndarray:
        """float32 [H, W, C] in 0..1; what the time did not allow to fill is spread from what is known by now"""
        within = slice(PAD, -PAD), slice(PAD, -PAD)
        image = self.pixels.reshape(-1, self.stride, shape[2])[within] / np.float32(255)
        unknown = self.known.reshape(-1, self.stride)[within] == 0
        return spread(image, unknown) if unknown.any() else image

    def disc(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """int64: the steps in rows, in columns and in places to the other pixels of the disc"""
        i, j = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1].reshape(2, -1)
        within = (i * i + j * j > 0) & (i * i + j * j <= RADIUS * RADIUS)
        return i[within], j[within], i[within] * self.stride + j[within]

    def chunks(self, job: Job):
        """The order in pieces, with progress between them, until the time is up."""
        for start in range(0, self.order.size, CHUNK):
            if job.expired():
                return
            job.progress(start / self.order.size)
            yield self.order[start : start + CHUNK]


def touches(inside: np.ndarray, known: np.ndarray, stride: int) -> np.ndarray:
    """bool: known cells with a neighbour in the hole"""
    near = np.zeros(inside.size, bool)
    for shift in (-stride, -1, 1, stride):
        near |= np.roll(inside, shift) == 1
    return near & (known == 1)


def in_order(band: np.ndarray, todo: np.ndarray, time: np.ndarray, stride: int, limit: float, job: Job) -> np.ndarray:
    """Sets `time` over the cells where `todo` is 1 from 0 at `band` outwards, up to `limit`; todo becomes 0.

    Returns : int64, the cells in the order in which they are touched, until the time of the job is up
    """
    order = np.empty(int(np.count_nonzero(todo)), np.int64)
    keys = np.zeros(band.size + order.size + 1, np.float32)
    cells = np.empty(keys.size, np.int64)
    cells[: band.size] = band  # all at time 0: any order is a heap
    time[band] = 0
    size, count = band.size, 0
    while size > 0 and not job.expired():
        size, count = march(CHUNK, keys, cells, size, todo, time, order, count, stride, limit)
    return order[:count]


@jit
def march(most, keys, cells, size, todo, time, order, count, stride, limit):
    """At most so many cells taken from the front, a heap of `size`.  Returns : its new size, how many are in order"""
    for _ in range(most):
        if size == 0:
            break
        place, size = pop(keys, cells, size)
        for step in (-stride, -1, stride, 1):
            q = place + step
            if todo[q] == 1:
                t = arrival(q, todo, time, stride)
                todo[q] = 0
                time[q] = t
                order[count] = q
                count += 1
                if t < limit:
                    size = push(keys, cells, size, t, q)
    return size, count


@jit
def arrival(q, todo, time, stride):
    """The least solution of |∇T| = 1 over the four quadrants around q"""
    up = min(known_time(q - stride, todo, time), known_time(q + stride, todo, time))
    side = min(known_time(q - 1, todo, time), known_time(q + 1, todo, time))
    if abs(up - side) >= 1:
        return np.float32(1 + min(up, side))
    return np.float32((up + side + np.sqrt(2 - (up - side) ** 2)) / 2)


@jit
def known_time(q, todo, time):
    return time[q] if todo[q] == 0 and time[q] >= 0 else FAR


@jit
def push(keys, cells, size, key, cell):
    """A binary heap; returns its new size."""
    child = size
    while child > 0:
        parent = (child - 1) >> 1
        if keys[parent] <= key:
            break
        keys[child], cells[child] = keys[parent], cells[parent]
        child = parent
    keys[child], cells[child] = key, cell
    return size + 1


@jit
def pop(keys, cells, size):
    """(the cell with the least key, the heap's new size)"""
    least = cells[0]
    size -= 1
    key, cell = keys[size], cells[size]
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[parent], cells[parent] = keys[child], cells[child]
        parent = child
    keys[parent], cells[parent] = key, cell
    return least, size
