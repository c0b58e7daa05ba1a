"""The processors of a machine, shared between the calls that translate on them at the same time."""

from __future__ import annotations

import contextlib
import getpass
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import torch

LOOK_S = 2.0
"""Time between two looks for other calls."""
MOST_CALLS = 256


class SharedCores:
    """This call's share of the processors, in threads of torch.

    Calls that each take every processor wait for each other: two at once have about half of one call's rate. So each
    holds one of the numbered locks in a folder of the machine, and takes as many threads as there are processors for
    each lock that is held. Whoever takes them sets torch's number, which is set back at the end.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.gettempdir()) / f"cyclegan-translating-{_user()}"
        self.cores = self.found = torch.get_num_threads()
        self.looked: float | None = None
        self.own: filelock.BaseFileLock | None = None

    @contextlib.contextmanager
    def taken(self, device: torch.device) -> Iterator[None]:
        """Count as a call that translates, unless the network is on another device or OMP_NUM_THREADS is set."""
        if device.type != "cpu" or self.cores == 1:
            yield
            return
        if "OMP_NUM_THREADS" not in os.environ:
            with contextlib.suppress(OSError):  # Without a place to meet, each call takes all, as ever.
                self.folder.mkdir(mode=0o700, exist_ok=True)
                if _is_own(self.folder):
                    self.own = next((lock for lock in map(self._lock, range(MOST_CALLS)) if _acquired(lock)), None)
        try:
            yield
        finally:
            if self.own is not None:
                self.own.release()
                self.own = None
            torch.set_num_threads(self.cores)

    def share(self) -> int:
        """Return how many threads this call may take, looking for other calls if that was long ago."""
        now = time.monotonic()
        if self.own is not None and (self.looked is None or now - self.looked >= LOOK_S):
            self.looked, self.found = now, max(1, self.cores // self._calls())
        return self.found

    def _calls(self) -> int:
        """Return how many calls translate, with this one."""
        calls = 1
        with contextlib.suppress(OSError):
            for lock in map(self._lock, range(MOST_CALLS)):
                if lock.lock_file != self.own.lock_file and os.path.exists(lock.lock_file):
                    calls += not _acquired(lock)
                    lock.release()
        return calls

    def _lock(self, number: int) -> filelock.BaseFileLock:
        return filelock.FileLock(self.folder / f"{number}.lock")


def _acquired(lock: filelock.BaseFileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return False
    return True


def _is_own(folder: Path) -> bool:
    """Return whether a folder is this user's, so that nobody else's locks are counted, or links followed."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and (not hasattr(os, "getuid") or found.st_uid == os.getuid())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container's user may have no name.
        return str(os.getuid())
