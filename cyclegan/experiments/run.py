"""Trains and scores the rows of an experiment: several at a time, resumable, whatever one of them comes to."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

import cyclegan
from cyclegan.checkpoints.progress import read_progress
from cyclegan.errors import ConfigError, UserError, shown
from cyclegan.experiments.plan import Plan, Training, record
from cyclegan.experiments.scoring import Scorer
from cyclegan.experiments.spec import flags
from cyclegan.files import keeps_locks

TRAINER = Path(cyclegan.__file__).parent.parent / "train_accelerate.py"
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
LOOK_S = 0.5
"""Seconds between two looks at a training."""

Show = Callable[[Training, float], object]
"""`show(training, share)`: the completed share of a training, 0 to 1."""


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Hold an experiment's folder, which is made.

    Raises:
        ConfigError: it can't be written, now or later, or another process holds it.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = FileLock(output / ".lock")
        if keeps_locks(output):
            lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(
            "another experiment is running in {folder}: wait for it, or choose another --output", folder=output
        ) from error
    except OSError as error:
        raise ConfigError(
            "--output {folder} can't be written ({reason}): choose another", folder=output, reason=error
        ) from error
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise ConfigError(
            "{folder} can't be written ({reason}): free space, then give the same command again, which continues",
            folder=output, reason=error,
        ) from error  # fmt: skip
    finally:
        lock.release()


class Runner:
    """Trains and scores.

    Args:
        plan: what to train.
        scorer: scores each finished run.
        jobs: trainings at a time.
        show: called with the progress of trainings, from their threads.
        say: called with a line after each run.
        ended: called after each run, by one thread at a time, e.g. to write the report so far.
        minutes: stop after so long; None: when everything is done.
    """

    def __init__(
        self, plan: Plan, scorer: Scorer, *, jobs: int, show: Show, say: Callable[[str], object],
        ended: Callable[[], object], minutes: float | None = None,
    ) -> None:
        self.plan, self.scorer, self.jobs = plan, scorer, jobs
        self._seconds = None if minutes is None else 60 * minutes
        self.show, self.say, self.ended = show, say, ended
        self.stopping = threading.Event()
        self._scoring = threading.Lock()

    def run(self) -> None:
        """Train and score everything that isn't done yet. A run that fails leaves its reason in RUN/failed.txt.

        Raises:
            KeyboardInterrupt, concurrent.futures.TimeoutError: after the trainings have been stopped, each with its
                state saved.
        """
        record(self.plan)
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(self._one, training) for training in self.plan.trainings()]
            try:
                for future in as_completed(futures, self._seconds):
                    future.result()
            except BaseException:
                self.stopping.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _one(self, training: Training) -> None:
        if self.stopping.is_set():
            return
        training.folder.mkdir(parents=True, exist_ok=True)
        failed = training.folder / "failed.txt"
        failed.unlink(missing_ok=True)
        began, known = time.monotonic(), training.finished
        reason = None if known else self._train(training)
        if self.stopping.is_set():
            return
        self.show(training, 1.0)
        with self._scoring:
            if reason is None:
                try:
                    self.scorer.score(training, lambda *_: self._go_on())
                except UserError as error:
                    if self.stopping.is_set():
                        return  # What is missing is measured by the next start.
                    reason = f"it was trained, but can't be scored: {error}"
            if reason is not None:
                failed.write_text(f"{reason}\n", encoding="utf-8")
            took = "was trained before" if known else f"{time.monotonic() - began:.0f} s"
            self.say(f"{training.name}: {took}" if reason is None else f"{training.name} failed: {reason}")
            self.ended()

    def _go_on(self) -> None:
        """End a measurement when the experiment is stopped: what is missing is measured by the next start."""
        if self.stopping.is_set():
            raise UserError("stopped")

    def _train(self, training: Training) -> str | None:
        """Train, or finish a training; return the reason if it failed."""
        if not self._wait_for_orphan(training):
            return None
        if training.finished:
            return None
        log = training.folder / "train.log"
        with open(log, "a", encoding="utf-8") as stream:
            process = subprocess.Popen(
                [sys.executable, str(TRAINER), *flags(training.settings)], stdin=subprocess.DEVNULL, stdout=stream,
                stderr=stream, env=self._environment(), start_new_session=True,
            )  # fmt: skip
        while (status := self._status(process)) is None:
            self._watch(training)
            if self.stopping.is_set():
                process.terminate()  # The trainer ends its step and saves its state.
                status = process.wait()
        if training.finished:
            return None
        return reason_of(status, log)

    def _status(self, process: subprocess.Popen[bytes]) -> int | None:
        try:
            return process.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            return None

    def _wait_for_orphan(self, training: Training) -> bool:
        """Wait for a trainer that outlived an experiment that was killed; return False if stopped meanwhile."""
        lock, said = FileLock(training.folder / ".lock"), False
        if not keeps_locks(training.folder):
            return not self.stopping.is_set()  # The trainer refuses a folder that is in use.
        while not self.stopping.is_set():
            try:
                with lock.acquire(timeout=0):
                    return True
            except Timeout:
                if not said:
                    self.say(f"{training.name}: still being trained since an earlier start; waiting for it")
                said = True
                self._watch(training)
                self.stopping.wait(LOOK_S)
        return False

    def _watch(self, training: Training) -> None:
        found = read_progress(training.folder)
        if found is not None and found.epochs and found.alive:
            self.show(training, min(1.0, (max(0, found.epoch - 1) + found.part) / found.epochs))

    def _environment(self) -> dict[str, str]:
        """Return the trainers' environment: each has its share of the processor's cores."""
        threads = max(1, (os.cpu_count() or 1) // self.jobs)
        return {"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONUNBUFFERED": "1"}


def reason_of(status: int, log: Path) -> str:
    """Return why a training ended without its last epoch, from its exit status and its log."""
    if status < 0:
        name = signal.Signals(-status).name
        return f"the training was ended by {name}" + (", perhaps for want of memory" if -status == 9 else "")
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors: Sequence[str] = [line for line in lines if "error:" in line.lower()] or lines[-1:]
    return shown(errors[-1].split("\r")[-1], 300) if errors else f"the training ended with status {status}"
