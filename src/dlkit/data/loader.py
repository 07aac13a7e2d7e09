"""Batches in a reproducible order, made ready in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from operator import index
from typing import Any

import numpy as np

from dlkit import random
from dlkit.errors import ConfigError

Batch = tuple[np.ndarray, np.ndarray]


class Loader:
    """Cuts a Source into batches of x float32[B,*shape] and y int64[B].

    `normalizer` turns what the source reads into float32; `augment`, for images, varies it before.
    The last batch is smaller unless `drop_last`. Up to `prefetch` batches are held ready by `workers`
    threads (with more than one, `source.read` must be safe to call from several); 0 makes each batch
    when asked for.

    Nothing random is kept between batches: the order of epoch e is drawn from branch (seed, 1, e), the
    augmentation of its batch i from (seed, 2, e, i) (see dlkit.random). So batch i of epoch e is the
    same wherever an epoch is started and however it is prefetched.

    Raises ConfigError for a setting out of range, no batch at all, or augmentation of features.
    """

    def __init__(
        self,
        source: Any,
        batch_size: int,
        *,
        normalizer: Callable[[np.ndarray], np.ndarray],
        augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        prefetch: int = 3,
        workers: int = 1,
    ) -> None:
        self.batch_size = _at_least(1, "batch_size", batch_size)
        self.prefetch = _at_least(0, "prefetch", prefetch)
        self.workers = _at_least(1, "workers", workers)
        self.seed = _at_least(0, "seed", seed)
        self.source, self.normalizer, self.augment = source, normalizer, augment or None
        self.shuffle, self.drop_last = shuffle, drop_last
        self._labels = np.asarray(source.labels, np.int64)
        if self._labels.shape != (len(source),):
            raise ConfigError(
                f"loader: {len(source)} examples but labels {self._labels.shape}; "
                "expected one label each; repair the source"
            )
        if self.augment and not source.is_image:
            raise ConfigError(f"augment {augment}: expected pictures, got features; set augment to 'none'")
        if len(self) == 0:
            raise ConfigError(
                f"loader: {len(source)} examples make no batch of {batch_size}; expected at least one; "
                "use more data, a smaller batch size or drop_last=False"
            )

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.source), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch number `epoch`, from batch `start` on (all of them taken: none).

        What goes wrong while a batch is made is raised here, at that batch. Dropping the iterator (or
        its close()) ends its threads before it returns. Raises ConfigError for epoch < 0 or start
        outside 0..len(loader).
        """
        _at_least(0, "epoch", epoch)
        if _at_least(0, "start", start) > len(self):
            raise ConfigError(f"start {start}: expected 0 to {len(self)}, the batches of an epoch; lower it")
        order = np.arange(len(self.source))
        if self.shuffle:
            order = random.derive(self.seed, random.ORDER, epoch).permutation(order)

        def make(i: int) -> Batch:
            chosen = order[i * self.batch_size : (i + 1) * self.batch_size]
            x = self.source.read(chosen)
            if self.augment:
                x = self.augment(x, random.derive(self.seed, random.AUGMENT, epoch, i))
            return self.normalizer(x), self._labels[chosen]

        if self.prefetch == 0:
            return (make(i) for i in range(start, len(self)))
        return ahead(make, start, len(self), self.prefetch, self.workers)


def _at_least(least: int, name: str, value: int) -> int:
    try:
        number = index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ConfigError(f"{name} {value!r}: expected a whole number, {least} or more; change {name}")
    return number


def ahead(make: Callable[[int], Batch], start: int, stop: int, depth: int, workers: int) -> Iterator[Batch]:
    """make(start) ... make(stop - 1), in order, made by threads that keep up to `depth` ahead."""
    window = _Window(make, start, stop, depth)
    try:
        window.open(workers)
        for i in range(start, stop):
            yield window.take(i)
    finally:
        window.close()


class _Window:
    """The batches made or being made but not yet taken: `depth` at most.

    The threads know this object and not the iterator over it, so that dropping the iterator frees it.
    """

    def __init__(self, make: Callable[[int], Batch], start: int, stop: int, depth: int) -> None:
        self.make, self.stop, self.depth = make, stop, depth
        self.claimed = self.taken = start
        self.ready: dict[int, tuple[Batch | None, BaseException | None]] = {}
        self.closed = False
        self.threads: list[threading.Thread] = []
        # Re-entrant, as the garbage collector may run close() in a thread that holds it already.
        self.changed = threading.Condition(threading.RLock())

    def open(self, workers: int) -> None:
        for n in range(min(workers, self.depth, self.stop - self.taken)):
            thread = threading.Thread(target=self._work, name=f"dlkit-loader-{n}", daemon=True)
            self.threads.append(thread)
            thread.start()

    def take(self, i: int) -> Batch:
        """Wait for batch i, or raise what making it raised."""
        with self.changed:
            while i not in self.ready:
                self.changed.wait()
            batch, error = self.ready.pop(i)
            self.taken = i + 1
            self.changed.notify_all()
        if error is not None:
            raise error
        assert batch is not None
        return batch

    def close(self) -> None:
        """Stop the threads and wait for them; each finishes at most the batch in hand."""
        with self.changed:
            self.closed = True
            self.ready.clear()
            self.changed.notify_all()
        # In a worker (garbage collection again) joining would wait for itself: they end soon anyway.
        if threading.current_thread() not in self.threads:
            for thread in self.threads:
                if thread.ident is not None:
                    thread.join()

    def _work(self) -> None:
        while (i := self._claim()) is not None:
            try:
                made: tuple[Batch | None, BaseException | None] = (self.make(i), None)
            except BaseException as error:
                made = (None, error)
            with self.changed:
                if not self.closed:
                    self.ready[i] = made
                self.changed.notify_all()
            del made  # do not keep a batch alive while waiting for the next

    def _claim(self) -> int | None:
        """The next batch to make, once there is room for it; None at the end."""
        with self.changed:
            while not self.closed and self.claimed < self.stop:
                if self.claimed < self.taken + self.depth:
                    self.claimed += 1
                    return self.claimed - 1
                self.changed.wait()
            return None
