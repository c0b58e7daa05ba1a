"""Reading ahead of a network, batches of one size, and writing behind it: threads that keep memory flat."""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from cyclegan.errors import ImageError
from cyclegan.pixels import PictureFacts, record, recorded_facts
from cyclegan.rasters.files import Stack
from cyclegan.rasters.raster import Raster
from cyclegan.translation.files import MAX_HELD_PIXELS, Item, PictureReader

THREADS = 2
"""Threads that read, and that write. On a processor, more would only take turns with the network."""
NICENESS = 5
"""Added to the threads', so that they take what the network leaves of the processors."""
MOST_AHEAD = 64
"""The most pictures that are read, or wait to be written."""
SIZES = 16
"""The most sizes of which a batch is collected at once."""

Read = Image.Image | Raster | Stack


def read_ahead(
    items: Iterable[Item], reader: PictureReader, *, threads: int = THREADS
) -> Iterator[tuple[Item, Read | ImageError]]:
    """Yield each item with its picture, or why it can't be read, in their order; threads read the next ones.

    At most MOST_AHEAD pictures of MAX_HELD_PIXELS in all wait here. What pictures lost as they were read is recorded in
    the block of `recorded_facts` that this runs in.
    """
    source, waiting = iter(items), deque()
    known: dict[PictureFacts, PictureFacts] = {}  # Most have the same, which are kept once.
    with ThreadPoolExecutor(threads, thread_name_prefix="read", initializer=_step_back) as pool:
        try:
            while True:
                while len(waiting) < MOST_AHEAD and _held(waiting) <= MAX_HELD_PIXELS:
                    item = next(source, None)
                    if item is None:
                        break
                    waiting.append((item, pool.submit(contextvars.copy_context().run, _read, reader, item)))
                if not waiting:
                    return
                item, reading = waiting.popleft()
                picture, facts = reading.result()
                for one in facts:
                    record(known.setdefault(one, one))
                yield item, picture
        finally:
            for _, reading in waiting:
                reading.cancel()


def _step_back() -> None:
    """Lower this thread's priority, where the system has one for each thread."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.nice(0) + NICENESS)


def _read(reader: PictureReader, item: Item) -> tuple[Read | ImageError, list[PictureFacts]]:
    with recorded_facts() as facts:
        try:
            return reader.read(item), facts
        except ImageError as error:
            return error, facts


def _held(waiting: Iterable[tuple[Item, Future]]) -> int:
    """Return the pixels of the pictures that are read and wait."""
    done = (reading.result()[0] for _, reading in waiting if reading.done())
    return sum(picture.width * picture.height for picture in done if isinstance(picture, Image.Image | Raster))


@dataclass
class Batches:
    """Pictures that wait for others of their size.

    Attributes:
        key: returns what pictures of a batch share.
        most: returns the number of pictures of such a batch.
    """

    key: Callable[[Any], Any]
    most: Callable[[Any], int]
    _groups: dict[Any, list[Any]] = field(default_factory=dict)

    def add(self, one: Any) -> Iterator[list[Any]]:
        """Add a picture; yield the batches that are full, or have waited while too many others came."""
        key = self.key(one)
        group = self._groups.setdefault(key, [])
        group.append(one)
        if len(group) >= self.most(key):
            yield self._groups.pop(key)
        elif len(self._groups) > SIZES:
            yield self._groups.pop(next(iter(self._groups)))

    def rest(self) -> Iterator[list[Any]]:
        """Yield what is left."""
        while self._groups:
            yield self._groups.pop(next(iter(self._groups)))


class WriteBehind:
    """Threads that write while the network computes; at most MOST_AHEAD tasks wait.

    Leaving the block waits for all tasks, unless an exception ends it: then those that haven't begun are dropped.
    """

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="write", initializer=_step_back)
        self._waiting: deque[tuple[Future, Callable[[Future], None]]] = deque()

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while kind is None and self._waiting:
                self._finish()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def put(self, task: Callable[[], Any], after: Callable[[Future], None]) -> None:
        """Do a task in a thread; then call `after` with its future, in the caller's thread, in the order of tasks."""
        self._waiting.append((self._pool.submit(task), after))
        while len(self._waiting) > MOST_AHEAD or self._waiting and self._waiting[0][0].done():
            self._finish()

    def _finish(self) -> None:
        future, after = self._waiting.popleft()
        future.exception()  # Waits.
        after(future)
