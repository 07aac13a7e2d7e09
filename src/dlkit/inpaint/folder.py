"""Many fillings: a folder of photos, with a mask for each or one for all."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dlkit.data.images import SUFFIXES
from dlkit.errors import ConfigError, DataError, DlkitError
from dlkit.inpaint.file import Report, Settings, inpaint_file
from dlkit.inpaint.photo import read_mask
from dlkit.threads import cores
from dlkit.train.files import OutputError, remove_leftovers, says_why


@dataclass(frozen=True)
class Task:
    image: Path
    mask: Path | str
    output: Path

    def is_done(self) -> bool:
        """Whether the output is there and newer than what it is made from."""
        if not self.output.is_file():
            return False
        sources = [self.image, *([self.mask] if isinstance(self.mask, Path) else [])]
        return self.output.stat().st_mtime >= max(source.stat().st_mtime for source in sources)


@dataclass(frozen=True)
class Outcome:
    """What came of one photo: a report, or the error in words."""

    image: Path
    report: Report | None = None
    error: str = ""


@dataclass(frozen=True)
class Plan:
    """What is to do in a folder: tasks, how many photos are done already, photos without a mask."""

    tasks: list[Task]
    done: int
    unmatched: list[Outcome]


def plan(images: Path, masks: Path | str, out: Path) -> Plan:
    """Pairs each photo with the mask of the same name (or <name>_mask), or all with one mask; leaves out what is done.

    Results are `out/<name>.png`, which keeps the pixels outside the mask exactly.

    Raises : DataError if there are no photos or the one mask cannot be read, ConfigError if two results had one name or
        `out` is where photos or masks are.
    """
    photos = pictures(images)
    if not photos:
        raise DataError(f"{images}: holds no images ({', '.join(sorted(SUFFIXES))}); give a folder of photos")
    for folder in (images, masks):
        if isinstance(folder, Path) and folder.is_dir() and folder.resolve() == out.resolve():
            raise ConfigError(
                f"{out}: the results would lie among what they are made from; give another folder with -o"
            )
    tasks, unmatched, taken = [], [], dict[str, Path]()
    of_name = by_name(pictures(masks)) if isinstance(masks, Path) and masks.is_dir() else None
    if of_name is not None and masks.resolve() == images.resolve():  # type: ignore[union-attr]
        photos = [p for p in photos if not (p.stem.endswith("_mask") and p.stem[: -len("_mask")] in of_name)]
        of_name = {name: path for name, path in of_name.items() if path not in photos}
    if of_name is None and isinstance(masks, Path):
        read_mask(masks)  # said once, not for every photo
    for photo in photos:
        if photo.stem in taken:
            raise ConfigError(f"{photo} and {taken[photo.stem]}: both results would be {photo.stem}.png; rename one")
        taken[photo.stem] = photo
        mask = masks if of_name is None else of_name.get(photo.stem, of_name.get(photo.stem + "_mask"))
        if mask is None:
            unmatched.append(Outcome(photo, error=f"{photo}: no mask of this name in {masks}; add {photo.stem}.png"))
        else:
            tasks.append(Task(photo, mask, out / f"{photo.stem}.png"))
    todo = [task for task in tasks if not task.is_done()]
    return Plan(todo, len(tasks) - len(todo), unmatched)


def by_name(masks: list[Path]) -> dict[str, Path]:
    """Raises : ConfigError where two have one name."""
    found: dict[str, Path] = {}
    for mask in masks:
        if mask.stem in found:
            raise ConfigError(f"{mask} and {found[mask.stem]}: which is the mask of {mask.stem}? remove one")
        found[mask.stem] = mask
    return found


def pictures(folder: Path) -> list[Path]:
    with says_why(folder):
        files = sorted(folder.iterdir())
    return [p for p in files if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()]


def inpaint_folder(todo: Plan, out: Path, settings: Settings) -> Iterator[Outcome]:
    """Fills each, several at once where there are cores; yields what came of each as it comes.

    A photo that cannot be filled is an Outcome with `error` set; the others are filled all the same.
    """
    yield from todo.unmatched
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror}); choose another folder with -o") from None
    remove_leftovers(out)
    total = settings.threads or cores()
    workers = max(1, min(total, len(todo.tasks)))
    each = replace(settings, threads=max(1, total // workers))
    if workers == 1:
        for task in todo.tasks:
            yield one(task, each)
        return
    # A process started afresh: OpenMP's threads do not survive a fork.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, fresh, initializer=leave_interrupts_to_the_parent) as pool:
        with interrupts_later():  # the processes start here
            running = {pool.submit(one, task, each): task for task in todo.tasks}
        try:
            for future in as_completed(running):
                yield outcome_of(future, running[future])
        except BaseException:  # Ctrl-C: stop at once, the next call goes on
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
                process.join()
            remove_leftovers(out)
            raise


def leave_interrupts_to_the_parent() -> None:
    """In each process of the pool: Ctrl-C reaches all of them, and only one should speak."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def interrupts_later() -> Iterator[None]:
    """Ctrl-C waits for the end of the block; a process that is started in it never sees one, also while it imports."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def one(task: Task, settings: Settings) -> Outcome:
    try:
        return Outcome(task.image, inpaint_file(task.image, task.mask, task.output, settings))
    except DlkitError as error:
        return Outcome(task.image, error=str(error))
    except MemoryError:
        return Outcome(task.image, error=f"{task.image}: not enough memory; use fewer --threads or a smaller image")


def outcome_of(future: Future[Outcome], task: Task) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        return Outcome(task.image, error=f"{task.image}: the process that worked on it was killed (out of memory?)")
