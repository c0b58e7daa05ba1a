"""A few threads that run the networks for all visitors: pictures of one size together, people before videos."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from cyclegan.config import Direction
    from cyclegan.translation.translator import TranslationResult, Translator

NOW, LATER = 0, 1
"""Urgency: a person waits for it, or it belongs to a long job of many pictures."""
PATIENCE_S = 5.0
"""After this time a job is as urgent as any, or a steady stream of people would stop a video for good."""
MOST_WORKERS = 4
"""Each takes as much memory as one translator."""
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 8.0
"""Pauses between reports of progress: twenty waiting visitors with two reports a second would take half a core."""


class Waiting(Future):
    """The future of a job: its translations in order, or the error that prevented them."""

    def __init__(self) -> None:
        super().__init__()
        self.part = 0.0
        """Progress from 0 to 1, which grows with each pass and with each piece of a large picture."""
        self.abandoned = False

    def cancel(self) -> bool:
        """Drop the job before it starts, or end it before its next piece."""
        self.abandoned = True
        return super().cancel()

    def follow(self) -> Iterator[float]:
        """Yield the progress now and then until the job is done or has failed."""
        pause = FIRST_PAUSE_S
        while not wait([self], timeout=pause).done:
            yield self.part
            pause = min(2 * pause, LAST_PAUSE_S)


@dataclass(order=True)
class _Job:
    urgency: int
    turn: int
    translator: Translator = field(compare=False)
    images: Sequence[Image.Image] = field(compare=False)
    direction: Direction = field(compare=False)
    reconstruct: bool = field(compare=False)
    size: int | None = field(compare=False)
    done: Waiting = field(compare=False, default_factory=Waiting)
    since: float = field(compare=False, default_factory=time.monotonic)

    @property
    def worked(self) -> tuple[int, int]:
        from cyclegan.translation.translator import working_size

        return working_size(self.images[0].size, self.size)

    @property
    def kind(self) -> tuple[Any, ...]:
        """Jobs of the same kind go through a network in one batch."""
        return id(self.translator), self.direction, self.reconstruct, self.worked


class Engine:
    """Translates for many visitors at once on one device.

    Waiting jobs of one checkpoint, direction and size go through it as one batch. A job that is `LATER` runs when no
    other waits, so a video delays nobody for longer than one of its batches takes; a job that has waited for long
    takes its turn.

    On a CPU several batches are computed at once, each with its share of the cores, because a network that uses all
    cores waits for the slowest of them in each layer, which is slow where the cores have other work too. A single
    batch uses all cores.

    Args:
        workers: batches at once; None: chosen by the device and the cores.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._jobs: list[_Job] = []
        self._turns = itertools.count()
        self._changed = threading.Condition()
        self._workers, self._wanted, self._busy = 0, workers, 0

    def submit(
        self, translator: Translator, images: Sequence[Image.Image], direction: Direction, *,
        reconstruct: bool = False, size: int | None = None, urgency: int = NOW,
    ) -> Waiting:
        """Queue pictures of one size for translation, as by `Translator.translate_many`."""
        job = _Job(urgency, next(self._turns), translator, images, direction, reconstruct, size)
        with self._changed:
            if not self._workers:
                import torch

                # Read here, where it was never changed, because torch passes the last setting on to new threads.
                cores = torch.get_num_threads()
                on_cpu = translator.device.type == "cpu" if self._wanted is None else True
                self._workers = self._wanted or (min(cores, MOST_WORKERS) if on_cpu else 1)
                for _ in range(self._workers):
                    threading.Thread(target=self._work, args=(cores,), name="networks", daemon=True).start()
            heapq.heappush(self._jobs, job)
            self._changed.notify()
        return job.done

    def behind(self, translator: Translator) -> Translator:
        """Return `translator` with its batches behind everybody else's, for videos and many files."""
        return _Behind(self, translator)  # type: ignore[return-value]

    def _work(self, cores: int) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs)
                jobs = self._next()
                self._busy += 1
                at_once = min(self._workers, self._busy + len(self._jobs))
            if self._workers > 1:
                import torch

                # Of this thread alone, or, since torch 2.14, of all: whoever begins last knows best.
                torch.set_num_threads(max(1, cores // at_once))
            _compute(jobs)
            del jobs  # Their networks may be dropped from the cache while nobody asks for anything.
            with self._changed:
                self._busy -= 1

    def _next(self) -> list[_Job]:
        """The most urgent job, and those that can go with it."""
        now = time.monotonic()
        overdue = [job for job in self._jobs if now - job.since > PATIENCE_S]
        first = min(overdue, key=lambda job: job.turn) if overdue else self._jobs[0]
        self._jobs.remove(first)
        taken = [first]
        try:
            room = first.translator.batch_size(first.worked) - len(first.images)
        except Exception:  # Ignored here, because `_compute` raises it again for the waiting caller.
            room = 0
        for job in sorted(self._jobs) if room > 0 else ():
            if job.kind == first.kind and len(job.images) <= room:
                taken.append(job)
                room -= len(job.images)
        self._jobs = [job for job in self._jobs if not any(job is one for one in taken)]
        heapq.heapify(self._jobs)
        return taken


def _compute(jobs: list[_Job]) -> None:
    jobs = [job for job in jobs if job.done.running() or job.done.set_running_or_notify_cancel()]
    if not jobs:
        return
    first = jobs[0]

    def on_progress(part: float) -> None:
        for job in jobs:
            job.done.part = part

    try:
        results = iter(
            first.translator.translate_many(
                [image for job in jobs for image in job.images], first.direction,
                reconstruct=first.reconstruct, size=first.size if len(jobs) == 1 else min(first.worked),
                progress=on_progress, cancelled=lambda: all(job.done.abandoned for job in jobs),
            )
        )  # fmt: skip
    except BaseException as error:
        if len(jobs) == 1:
            first.done.set_exception(error)
        else:  # One may be at fault, or all of them together too large.
            for job in jobs:
                _compute([job])
    else:
        for job in jobs:
            job.done.set_result(list(itertools.islice(results, len(job.images))))


class _Behind:
    """A translator for long jobs: its pictures wait behind everybody else's."""

    def __init__(self, engine: Engine, translator: Translator) -> None:
        self._engine, self._translator = engine, translator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._translator, name)

    def translate_many(
        self, images: Sequence[Image.Image], direction: Direction, **options: Any
    ) -> list[TranslationResult]:
        return self._engine.submit(self._translator, images, direction, urgency=LATER, **options).result()

    def translate_batch(
        self, images: Sequence[Image.Image], direction: Direction, size: int | None = None
    ) -> list[Image.Image]:
        return [each.fake for each in self.translate_many(images, direction, size=size)]
