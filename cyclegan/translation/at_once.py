"""Batches of pictures that are computed at once on a CPU, each with its share of the processors.

Threads that compute one batch together wait for the slowest of them in each layer, so two batches with a thread each
are through sooner than one of twice the size with two.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator, Sequence

import torch

from cyclegan.config import Direction
from cyclegan.errors import Cancelled, ImageError
from cyclegan.networks.fast import choose_ways
from cyclegan.translation.translator import BATCH_PIXELS, Picture, TranslationResult, Translator

MOST_AT_ONCE = 4
"""Batches at once. Python's own work between a network's layers would hold more up."""
BATCHES = 4
"""Batches in which one goes that would be computed alone: with one thread, larger ones only miss the caches."""

_STOPPED: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("stopped", default=None)


def most_at_once(device: torch.device, threads: int) -> int:
    """Return how many batches are computed at once with so many threads, leaving few idle; 1 where they aren't."""
    if device.type != "cpu" or threads == 1:
        return 1
    return max(range(2, MOST_AT_ONCE + 1), key=lambda count: (count * (threads // count), count))


def batch_size(translator: Translator, worked: tuple[int, int], at_once: int) -> int:
    """Return the pictures of a batch at this working size, where so many are computed at once."""
    most = translator.batch_size(worked)
    return most if at_once == 1 else max(1, most // BATCHES)


def prepare(translator: Translator, threads: int) -> None:
    """Set torch's threads of a batch, and let the networks choose with them how they compute."""
    torch.set_num_threads(threads)
    for network in translator.generators.values():
        choose_ways(network)


def goes_alone(translator: Translator, worked: tuple[int, int]) -> bool:
    """Return whether a picture of this working size should have all processors, and all memory, for itself."""
    return translator.padded_pixels(worked) > BATCH_PIXELS["cpu"]


@contextlib.contextmanager
def stoppable(translator: Translator) -> Iterator[threading.Event]:
    """Yield an event that ends the passes of this block's context at their next layer, in whichever thread they are."""
    stopped = threading.Event()

    def look(*_: object) -> None:
        if (mine := _STOPPED.get()) is not None and mine.is_set():
            raise Cancelled("the translation was cancelled")

    layers = [layer for network in translator.generators.values() for layer in network.modules()]
    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    token = _STOPPED.set(stopped)
    try:
        yield stopped
    finally:
        _STOPPED.reset(token)
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def set_by_errors(stopped: threading.Event) -> Iterator[None]:
    """Set the event when an exception leaves the block, such as Ctrl-C."""
    try:
        yield
    except BaseException:
        stopped.set()
        raise


def translations(
    translator: Translator, pictures: Sequence[Picture], direction: Direction, *, reconstruct: bool, size: int | None,
    threads: int | None = None, progress: Callable[[float], None] | None = None,
) -> list[TranslationResult | ImageError]:
    """Return each picture's translation, or why it has none, so that one doesn't stop the others.

    Args:
        pictures: of one size at `size`.
        threads: torch's for this batch; None leaves them.

    Raises:
        CheckpointError: the checkpoint lacks this direction.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        return list(
            translator.translate_many(pictures, direction, reconstruct=reconstruct, size=size, progress=progress)
        )
    except ImageError as error:
        if len(pictures) == 1:
            return [error]
    return [
        each
        for picture in pictures
        for each in translations(translator, [picture], direction, reconstruct=reconstruct, size=size)
    ]
