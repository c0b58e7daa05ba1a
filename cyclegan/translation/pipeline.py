"""Reading ahead of networks, batches of one size, and tasks in threads behind them, all with flat memory."""

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

    At most MOST_AHEAD pictures of MAX_HELD_PIXELS in all wait here, and one more for each thread. What pictures lost as
    they were read is recorded in the block of `recorded_facts` that this runs in.
    """
    ahead, known = _Ahead(iter(items), reader), {}
    context = contextvars.copy_context
    with ThreadPoolExecutor(threads, thread_name_prefix="read", initializer=_step_back) as pool:
        try:
            for _ in range(threads):
                pool.submit(context().run, ahead.work)
            while (taken := ahead.take()) is not None:
                item, picture, facts = taken
                for one in facts:
                    record(known.setdefault(one, one))  # Most have the same, which are kept once.
                yield item, picture
        finally:
            ahead.close()


class _Ahead:
    """Pictures that threads read, in the order of the items."""

    def __init__(self, source: Iterator[Item], reader: PictureReader) -> None:
        self.source, self.reader = source, reader
        self.changed = threading.Condition()
        self.read: dict[int, tuple[Item, Read | ImageError, list[PictureFacts]]] = {}
        self.begun = self.taken = self.held = 0
        """Items that a thread has begun, items taken, and pixels of those that wait."""
        self.ended, self.error = False, None

    def work(self) -> None:
        """Read items until there are no more; run by each thread."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.ended or (
                    self.held <= MAX_HELD_PIXELS and self.begun - self.taken < MOST_AHEAD
                ))  # fmt: skip
                if self.ended:
                    return
                try:
                    item = next(self.source, None)
                except BaseException as error:  # Such as a lost network; `take` raises it.
                    self.error, item = error, None
                if item is None:
                    self.ended = True
                    self.changed.notify_all()
                    return
                number, self.begun = self.begun, self.begun + 1
            try:
                read = (item, *_read(self.reader, item))
            except BaseException as error:  # A bug; raised there, too.
                read = (item, error, [])
            with self.changed:
                self.read[number] = read
                self.held += pixels_of(read[1])
                self.changed.notify_all()

    def take(self) -> tuple[Item, Read | ImageError, list[PictureFacts]] | None:
        """Wait for the next item's picture; None after the last one. Raises what the items or a thread have raised."""
        with self.changed:
            self.changed.wait_for(lambda: self.taken in self.read or self.ended and self.taken == self.begun)
            if self.taken not in self.read:
                if self.error is not None:
                    raise self.error
                return None
            read = self.read.pop(self.taken)
            if isinstance(read[1], BaseException) and not isinstance(read[1], ImageError):
                raise read[1]
            self.taken += 1
            self.held -= pixels_of(read[1])
            self.changed.notify_all()
            return read

    def close(self) -> None:
        """Let the threads end after the picture that they read."""
        with self.changed:
            self.ended = True
            self.changed.notify_all()


def pixels_of(picture: object) -> int:
    """Return a picture's pixels; 0 for an error, and for a volume, which is read slice by slice."""
    return picture.width * picture.height if isinstance(picture, Image.Image | Raster) else 0


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


@dataclass
class Batches:
    """Pictures that wait for others of their size.

    Attributes:
        key: returns what pictures of a batch share.
        most: returns the number of pictures of such a batch.
        pixels: returns a picture's, of which MAX_HELD_PIXELS wait at most.
    """

    key: Callable[[Any], Any]
    most: Callable[[Any], int]
    pixels: Callable[[Any], int] = lambda one: 0
    _groups: dict[Any, list[Any]] = field(default_factory=dict)
    _held: int = 0

    def add(self, one: Any) -> Iterator[list[Any]]:
        """Add a picture; yield the batches that are full, or must go because too much waits."""
        key = self.key(one)
        group = self._groups.setdefault(key, [])
        group.append(one)
        self._held += self.pixels(one)
        if len(group) >= self.most(key):
            yield self._take(key)
        while self._groups and (len(self._groups) > SIZES or self._held > MAX_HELD_PIXELS):
            yield self._take(next(iter(self._groups)))

    def rest(self) -> Iterator[list[Any]]:
        """Yield what is left."""
        while self._groups:
            yield self._take(next(iter(self._groups)))

    def _take(self, key: Any) -> list[Any]:
        group = self._groups.pop(key)
        self._held -= sum(map(self.pixels, group))
        return group


class Tasks:
    """Tasks that threads do while the caller goes on, and whose results it takes in their order.

    Leaving the block waits for all tasks, unless an exception ends it: then those that haven't begun are dropped, and
    `after` is called for those that are done.

    Args:
        name: of the threads.
        threads: their number.
        most: tasks of MAX_HELD_PIXELS in all that wait or are worked on; `put` waits for the first where there are
            more. May be changed.
        step_back: let the threads take only what others leave of the processors.
    """

    def __init__(
        self, name: str = "write", threads: int = THREADS, *, most: int = MOST_AHEAD, step_back: bool = True
    ) -> None:
        self.most = most
        self._pool = ThreadPoolExecutor(threads, name, initializer=_step_back if step_back else None)
        self._waiting: deque[tuple[Future, Callable[[Future], None], int]] = deque()
        self._held = 0

    def __enter__(self) -> Tasks:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self._pool.shutdown(cancel_futures=True)
        for future, after, _ in self._waiting:  # Of what an exception has ended, some is done.
            if not future.cancelled() and future.exception() is None:
                after(future)

    def put(self, task: Callable[[], Any], after: Callable[[Future], None], pixels: int = 0) -> None:
        """Do a task in a thread; then call `after` with its future, in the caller's thread, in the order of tasks."""
        self._waiting.append((self._pool.submit(task), after, pixels))
        self._held += pixels
        while self._waiting and (
            len(self._waiting) > self.most or self._held > MAX_HELD_PIXELS or self._waiting[0][0].done()
        ):
            self._finish()

    def finish(self) -> None:
        """Wait for all tasks."""
        while self._waiting:
            self._finish()

    def _finish(self) -> None:
        future, after, pixels = self._waiting.popleft()
        future.exception()  # Waits.
        self._held -= pixels
        after(future)
