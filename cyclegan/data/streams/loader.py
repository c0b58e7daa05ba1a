"""Batches of streamed pictures."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.config import DataConfig
from cyclegan.data.cache import changed_alike
from cyclegan.data.domains import Domain, Splits, readable
from cyclegan.data.loader import Data, print_found, workers
from cyclegan.data.order import Step, steps_in
from cyclegan.data.streams.order import Order, Place
from cyclegan.data.streams.sources import Picture, Streamed, Taken
from cyclegan.errors import DataError, ImageError, Message, message
from cyclegan.images import open_image, resize_for_training

if TYPE_CHECKING:
    import torch

__all__ = ["StreamedData"]

log = logging.getLogger(__name__)
AHEAD = 16
"""Decoded pictures of each domain that wait for the training."""

Fed = tuple[np.ndarray, Place]


class StreamedData(Data):
    """A data set that is read while it is trained on, and used as any other one.

    Each domain has an endless order of its own, on which an epoch takes `epoch_pictures` and the next epoch continues.
    Threads read and decode ahead of the training. A place in the order is that of the pictures that were handed out,
    however far the threads have come.
    """

    def __init__(
        self, splits: Splits, config: DataConfig, *, seed: int, multiple: int, progress: bool = True,
        local_processes: int = 1, frames_within: Mapping[str, int] | None = None,
    ) -> None:
        if frames_within:
            raise DataError("--lambda_temporal needs the next frames of recordings, which no stream has: leave one out")
        self.config, self.seed, self.multiple, self.paired = config, seed, multiple, False
        self.train_a, self.train_b = splits.train_a, splits.train_b
        self.epoch_length, self.cache_bytes = splits.epoch_length(), 0
        self.num_workers = workers(config.num_workers, False, local_processes)
        self.progress = progress
        if progress:
            print_found(splits)
        self.test_is_train = splits.test_a is None
        self.no_test_note = message(
            "the stream has no test pictures, so samples and figures are of its first training pictures; add "
            "testA-0000.tar and testB-0000.tar, or a split called test"
        ) if self.test_is_train else None  # fmt: skip
        train, test = (self.train_a, self.train_b), (splits.test_a, splits.test_b)
        tests = [domain.first() for domain in train] if self.test_is_train else test
        self.test_a, self.test_b = (self._checked(domain) for domain in tests)
        sources = self.train_a.source, self.train_b.source
        self._identity = " ".join(map(str, (*(each.identity for each in sources), seed, config.shuffle_buffer)))
        self._pool: ThreadPoolExecutor | None = None
        self._feeds: list[Iterator[Fed]] = []
        self._part = (0, 1)
        self._begun = 1
        """The epoch in which the order began."""
        self._at: tuple[int, int] | None = None
        """The epoch, and its steps so far; None before the beginning."""
        self._places = [Place(), Place()]
        self._running: object = None

    def batches(
        self, epoch: int, *, batch_size: int, process_index: int = 0, num_processes: int = 1, start_step: int = 0
    ) -> Iterator[dict[str, torch.Tensor]]:
        """Return the batches of one process in one epoch, from step `start_step` on; see `Data.batches`.

        They continue where the last ones ended, or the state that was loaded, if that is where this epoch begins or
        `start_step` is. Anywhere else, and with another number of processes, the order begins with this epoch.
        """
        self.check_batch(batch_size, num_processes)
        if not 0 <= process_index < num_processes:
            raise ValueError(f"process_index {process_index} is not in 0 … {num_processes - 1}")
        steps = range(start_step, steps_in(self.epoch_length, batch_size, num_processes))
        goes_on = self._at == (epoch, start_step) or start_step == 0 and self._at is not None and (
            self._at[0] == epoch - 1)  # fmt: skip
        skipped = 0
        if not goes_on or self._part != (process_index, num_processes):
            self._stop()
            self._part, self._begun, self._places = (process_index, num_processes), epoch, [Place(), Place()]
            skipped = start_step * batch_size
        if not self._feeds:
            self._feeds = [self._feed(domain) for domain in (0, 1)]
        for feed in self._feeds:
            for _ in range(skipped):
                next(feed)
        return self._batches(epoch, steps, batch_size)

    def _batches(self, epoch: int, steps: range, batch_size: int) -> Iterator[dict[str, torch.Tensor]]:
        import torch

        self._running = token = object()
        pin = torch.cuda.is_available()
        for step in steps:
            first = (step * self._part[1] + self._part[0]) * batch_size
            plan = Step(epoch, tuple(range(first, first + batch_size)), (), ())
            batch, places = {}, []
            for domain, side in enumerate("ab"):
                taken = [next(self._feeds[domain]) for _ in range(batch_size)]
                arrays = (array for array, _ in taken)
                batch[f"real_{side}"] = changed_alike(arrays, plan, self.config, seed=self.seed, domain=domain)
                places.append(taken[-1][1])
            self._at, self._places = (epoch, step + 1), places
            yield {name: value.pin_memory() for name, value in batch.items()} if pin else batch
            if self._running is not token:
                raise RuntimeError("another iterator over the batches was started: use one only")

    def state_dict(self) -> dict[str, Any] | None:
        """Return the place after the last batch, in plain values; None before the first."""
        if self._at is None:
            return None
        return {"identity": self._identity, "part": list(self._part), "begun": self._begun, "at": list(self._at),
                "places": [list(place) for place in self._places]}  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any] | None) -> list[Message]:
        """Continue from `state_dict()`'s result, and return a note if other pictures make that impossible."""
        self._stop()
        if state is None:
            return []
        if state["identity"] != self._identity:
            return [message(
                "the stream's files, --seed or --shuffle_buffer aren't those of the last start, so its order begins "
                "anew"
            )]  # fmt: skip
        self._part, self._begun, self._at = tuple(state["part"]), state["begun"], tuple(state["at"])
        self._places = [Place(*place) for place in state["places"]]
        return []

    def close(self) -> None:
        """End the threads. The data can't be used afterwards."""
        self._stop()

    def _stop(self) -> None:
        """End the threads; the order has no place then."""
        for feed in self._feeds:
            feed.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._feeds, self._pool, self._at = [], None, None

    def _check_one_size(self, batch_size: int) -> None:
        if batch_size > 1 and self.config.keeps_shape:
            raise DataError(
                "with --preprocess {preprocess}, the pictures of a stream may have several sizes, which can't share a "
                "batch: use --batch_size 1, or --preprocess resize_crop", preprocess=self.config.preprocess,
            )  # fmt: skip

    def _checked(self, domain: Taken) -> Domain:
        """Return a domain of pictures for samples, without the bad ones."""
        good, bad = readable(domain)
        if bad and not self.config.skip_bad_images:
            raise DataError(
                "{part}: some of the first pictures can't be read ({count}), such as {example}: repair or remove them, "
                "or pass --skip_bad_images to continue without them", part=domain.part, count=len(bad), example=bad[0],
            )  # fmt: skip
        if not len(good):
            raise DataError("no picture of {part} can be used", part=domain.part)
        return good

    # --- reading ahead --------------------------------------------------------------------------------------

    def _feed(self, number: int) -> Iterator[Fed]:
        """Return a domain's decoded pictures from its place on."""
        domain: Streamed = (self.train_a, self.train_b)[number]
        order = Order(
            domain.source, seed=(self.seed, self._begun, number), buffer=self.config.shuffle_buffer, part=self._part,
            name=domain.part,
        )  # fmt: skip
        decoded = self._decoded(domain, order, self._places[number])
        if self.num_workers == 0:
            return decoded
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.num_workers, thread_name_prefix="decode")
        return _Ahead(decoded)

    def _decoded(self, domain: Streamed, order: Order, place: Place) -> Generator[Fed]:
        """Yield a domain's pictures as uint8 (H, W, 3), each with the place after it; bad ones are skipped if wished.

        Raises:
            DataError: a picture or its file can't be read; or none of a whole pass.
        """
        pending: deque[tuple[Callable[[], np.ndarray | ImageError], Place]] = deque()
        good, warned = place.passes, set()
        for picture, after in order.pictures(place):
            pending.append((self._later(picture), after))
            if len(pending) <= self.num_workers:
                continue
            decoding, after = pending.popleft()
            found = decoding()
            if not isinstance(found, ImageError):
                good = after.passes
                yield found, after
                continue
            if not self.config.skip_bad_images:
                raise DataError(
                    "{reason}. Repair or remove it, or pass --skip_bad_images to continue without it", reason=found
                )
            if self.progress and str(found) not in warned:  # Each pass meets it again.
                warned.add(str(found))
                log.warning("%s; it is left out", found)
            if after.passes > good + 1:
                raise DataError("no picture of {part} can be used", part=domain.part)

    def _later(self, picture: Picture) -> Callable[[], np.ndarray | ImageError]:
        """Return a function that returns the decoded picture; a thread decodes it from now on, where there is one."""
        pool = self._pool
        return partial(self._decode, picture) if pool is None else pool.submit(self._decode, picture).result

    def _decode(self, picture: Picture) -> np.ndarray | ImageError:
        try:
            image = open_image(picture.content, name=picture.label)
        except ImageError as error:
            return error
        try:
            return np.asarray(resize_for_training(image, self.config, multiple=self.multiple))
        except ImageError as error:
            return ImageError("{name}: {reason}", name=picture.label, reason=error)


class _Ahead:
    """An iterator that a thread of its own runs ahead of; the thread's error is raised in its place.

    Args:
        items: used in the thread alone.
    """

    def __init__(self, items: Generator[Fed]) -> None:
        self._queue: queue.Queue[Fed | BaseException] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        # A daemon, because a reading that waits for the network must not keep the program.
        self._thread = threading.Thread(target=self._run, args=(items,), name="stream", daemon=True)
        self._thread.start()

    def __iter__(self) -> _Ahead:
        return self

    def __next__(self) -> Fed:
        item = self._queue.get()
        if isinstance(item, BaseException):
            self._queue.put(item)  # For whoever asks again.
            raise item
        return item

    def close(self) -> None:
        """End the thread after the picture that it reads."""
        self._closed.set()
        while not self._queue.empty():  # It may wait for room.
            self._queue.get_nowait()
        self._thread.join(timeout=5)

    def _run(self, items: Generator[Fed]) -> None:
        try:
            for item in items:
                self._queue.put(item)
                if self._closed.is_set():
                    return
        except BaseException as error:  # Raised where the item is wanted.
            self._queue.put(error)
        finally:
            items.close()
