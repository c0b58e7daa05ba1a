"""Many pictures on several devices of one machine: a process for each, with its own shard and manifest."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from cyclegan.checkpoints.format import Checkpoint
from cyclegan.config import Direction
from cyclegan.errors import ConfigError
from cyclegan.pixels import record, recorded_facts
from cyclegan.translation.files import Item
from cyclegan.translation.manifest import Manifest
from cyclegan.translation.pictures import PicturesTranslation, translate_pictures
from cyclegan.translation.translator import Translator

POLL_S = 0.3
_progress: Any = None
"""In a process of the pool: the pictures done, by the place of their device."""


def translate_on_devices(
    checkpoint: Checkpoint, items: Sequence[Item], folder: Path, direction: Direction, devices: Sequence[str], *,
    settings: Mapping[str, Any], shard: tuple[int, int] = (1, 1), progress: Callable[[float], None] = lambda done: None,
    **options: Any,
) -> PicturesTranslation:
    """Translate pictures on several devices at once; see `translate_pictures`.

    Args:
        checkpoint: is sent to each process.
        items: the pictures, of this shard only.
        folder, direction, progress, options: as `translate_pictures` takes them.
        devices: a process is started for each.
        settings: for the manifests.
        shard: the number and count of this call's shard; each device's manifest has a number within it.

    Raises:
        ConfigError: no result can be written, or a process was killed.
    """
    spawn, count = multiprocessing.get_context("spawn"), len(devices)
    done, found = spawn.Array("d", count), PicturesTranslation()
    number, shards = shard
    with ProcessPoolExecutor(count, mp_context=spawn, initializer=_begin, initargs=(done,)) as pool:
        with _without_interrupts():
            running = [
                pool.submit(_on_device, place, device, checkpoint, items[place::count], folder, direction,
                            dict(settings), (number + place * shards, shards * count), options)
                for place, device in enumerate(devices)
            ]  # fmt: skip
        try:
            while wait(running, timeout=POLL_S).not_done:
                progress(sum(done))
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        progress(sum(done))
        try:
            for each in running:
                part, facts = each.result()
                for one in facts:
                    record(one)
                found.add(part)
        except BrokenProcessPool as error:
            raise ConfigError(
                "a process that translated was killed, most likely because memory ran out: run the same command with "
                "--skip_existing to continue, with fewer devices if it happens again"
            ) from error
    return found


def _begin(done: Any) -> None:
    global _progress
    _progress = done
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)  # A killed call must not go on, because the next one would do the same pictures.


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C, which reaches all: the first one ends them, and says what is to be said."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _on_device(
    place: int, device: str, checkpoint: Checkpoint, items: Sequence[Item], folder: Path, direction: Direction,
    settings: Mapping[str, Any], shard: tuple[int, int], options: Mapping[str, Any],
) -> tuple[PicturesTranslation, list[Any]]:
    def advance(done: float) -> None:
        _progress[place] = done

    with Manifest(folder, settings, shard) as manifest, recorded_facts() as facts:
        done = translate_pictures(
            Translator(checkpoint, device), items, folder, direction, manifest=manifest, progress=advance, **options
        )
    return done, facts
