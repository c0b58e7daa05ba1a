"""The thread that shows the app how far a training is, while no step waits for it."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from cyclegan.checkpoints.format import SAMPLES
from cyclegan.checkpoints.progress import BEAT_S, Progress, write_progress
from cyclegan.config import Direction
from cyclegan.files import whole_file

log = logging.getLogger(__name__)

Grids = Mapping[Direction, Image.Image]


class ProgressWriter:
    """Writes RUN/progress.json every few seconds, and the grids that it is handed to RUN/samples.

    A write that fails is left out: the page then shows old values, and the training's own writes report the disk.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._current: Callable[[], Progress] = lambda: Progress("preparing")
        self._drawn: tuple[int, Callable[[], Grids]] | None = None
        self._samples_step: int | None = None
        self._woken, self._closed = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="progress", daemon=True)
        self._thread.start()

    def follow(self, current: Callable[[], Progress]) -> None:
        """Write what `current` returns from now on; it is called in the thread, and must not wait for the device."""
        self._current = current
        self._woken.set()

    def show(self, step: int, draw: Callable[[], Grids]) -> None:
        """Write the grids that `draw` returns in the thread; grids that still wait there are left out."""
        self._drawn = step, draw
        self._woken.set()

    def close(self) -> None:
        """Write what is left, and that nothing is trained any more."""
        self._closed = True
        self._woken.set()
        self._thread.join()

    def _work(self) -> None:
        while True:
            closing = self._closed  # Before the writes, so that nothing handed over earlier is lost.
            self._woken.clear()
            try:
                if (drawn := self._drawn) is not None:
                    self._drawn = None
                    self._write_samples(*drawn)
                progress = dataclasses.replace(self._current(), samples_step=self._samples_step)
                if closing and progress.state != "done":
                    progress = dataclasses.replace(progress, state="stopped")
                write_progress(self._run, progress)
            except OSError:
                pass
            except Exception:  # A bug here must end neither the training nor the line about it.
                log.exception("the progress can't be shown")
            if closing:
                return
            self._woken.wait(BEAT_S)

    def _write_samples(self, step: int, draw: Callable[[], Grids]) -> None:
        for direction, grid in draw().items():
            with whole_file(self._run / SAMPLES[direction], durable=False) as part:
                grid.save(part, "PNG")
        self._samples_step = step
