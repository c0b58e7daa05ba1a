"""The disk: what visitors send and get has a bound, belongs to those who use it, and goes when they do.

Gradio keeps files in one folder, names an upload after its content, and removes what nobody has used for an hour. So
two visitors may share a file, and a file is removed here when the last session that has sent or seen it is gone.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from cyclegan.ui.results import and_behind

GRACE_S, PROGRAM_S = 45.0, 600.0
"""A page that has gone may come back: a phone's network changes. A program fetches its results when it likes."""
UNUSED_S = 30.0
"""A page uses what it has uploaded at once, and listens. A file that no session has named after so long is nobody's,
and what a session has named that never listens goes then, too."""
MB = 10**6
SHARE_BYTES, ALL_BYTES = 600 * MB, 5000 * MB
"""Bounds of the uploads of one address, and of all files."""
SHARE_FILES, LEAST_BYTES = 2000, 8192
"""Bound of an address's files, and what the smallest takes: a block and a folder."""
HALF_UPLOAD_S = 30.0
"""Time after which the files of an upload that was broken off, which gradio leaves behind, are removed."""
MAX_DEPTH, MAX_VALUES = 8, 50_000
"""Bounds of the search for files in a message, which may hold millions of empty lists."""


class Disk:
    """The files in gradio's folder that this app's visitors use.

    Args:
        kept: returns files that are everybody's, such as the first example's result.
        bounded: whether there are bounds; the owner's disk is theirs.
    """

    def __init__(
        self, kept: Callable[[], Iterable[str]] = tuple, *, bounded: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kept, self.bounded, self.clock = kept, bounded, clock
        self._users: defaultdict[str, set[str]] = defaultdict(set)
        self._files: defaultdict[str, set[str]] = defaultdict(set)
        self._uploads: dict[str, tuple[str, float]] = {}
        """The address and the time of each upload."""
        self._numbers = itertools.count()
        self._running: dict[int, tuple[str, int, float]] = {}
        """The address, the size and the beginning, by the system's clock, of the uploads that arrive now."""
        self._broken: list[tuple[str, int, float]] = []
        """The same, but the time of its end, of those that were broken off: their files are still there."""
        self._named: dict[str, float] = {}
        """When each session last named a file."""
        self._lock = threading.Lock()

    def used(self, session: str, data: Any) -> None:
        """Note the files that a session sends or gets in a message, and those behind them."""
        folder = os.path.realpath(get_upload_folder())
        with self._lock:
            own = (path for path in _paths(data) if path.startswith(folder + os.sep) and ".." not in path)
            for path in itertools.chain.from_iterable(map(and_behind, own)):
                self._users[path].add(session)
                self._files[session].add(path)
                self._named[session] = self.clock()

    def begin(self, address: str, size: int) -> int | None:
        """Make room for an upload; return its number, None where there is none.

        Args:
            address: where it comes from.
            size: its bytes, of all files.
        """
        with self._lock:
            of_address = [path for path, (sender, _) in self._uploads.items() if sender == address]
            every = set(self._uploads).union(self._users)
            unfinished = [*self._running.values(), *self._broken]
        if self.bounded:
            arriving = sum(each for sender, each, _ in unfinished if sender == address)
            if len(of_address) >= SHARE_FILES or _size(of_address) + arriving + size > SHARE_BYTES:
                return None
            if _size(every) + sum(each for _, each, _ in unfinished) + size > ALL_BYTES:
                return None
        with self._lock:
            number = next(self._numbers)
            self._running[number] = address, size, time.time()
        return number

    def end(self, number: int, paths: Iterable[str] | None) -> None:
        """Note the files of an upload; None if it was broken off."""
        with self._lock:
            address, size, _ = self._running.pop(number)
            if paths is None:
                self._broken.append((address, size, self.clock()))
            else:
                self._uploads |= {path: (address, self.clock()) for path in paths}

    def left(self, sessions: Iterable[str]) -> None:
        """Remove what only these sessions have used, because they are gone."""
        gone = []
        with self._lock:
            for session in sessions:
                self._named.pop(session, None)
                for path in self._files.pop(session, ()):
                    users = self._users.get(path, set())
                    users.discard(session)
                    if not users:
                        self._users.pop(path, None)
                        gone.append(path)
        self._remove(gone)

    def unheard(self, listens: Callable[[str], bool]) -> list[str]:
        """Return the sessions that have named files and never listen.

        Args:
            listens: returns whether somebody listens to a session, or has listened and may come back.
        """
        now = self.clock()
        with self._lock:
            silent = [session for session, since in self._named.items() if now - since >= UNUSED_S]
        return [session for session in silent if not listens(session)]

    def sweep(self) -> None:
        """Remove uploads that nobody has used, and files where there are too many; forget what is gone."""
        now = self.clock()
        self._remove_halves(now)
        with self._lock:
            unused = [path for path, (_, since) in self._uploads.items()
                      if self.bounded and path not in self._users and now - since >= UNUSED_S]  # fmt: skip
        self._remove(unused)
        with self._lock:
            senders = {path: sender for path, (sender, _) in self._uploads.items()}
            every = {*self._uploads, *self._users}
        stats = {path: stat for path in every if (stat := _stat(path)) is not None}
        for path in every - stats.keys():
            self._forget(path)
        total = sum(map(_taken, stats.values()))
        if not self.bounded or total <= ALL_BYTES:
            return
        of_sender: Counter[str] = Counter()
        for path, stat in stats.items():
            of_sender[senders.get(path, "")] += _taken(stat)
        excess = []
        # Those who have the most lose theirs first, and of one sender's the oldest go.
        for path in sorted(stats, key=lambda path: (-of_sender[senders.get(path, "")], stats[path].st_mtime)):
            if total <= ALL_BYTES * 3 // 4:
                break
            total -= _taken(stats[path])
            excess.append(path)
        self._remove(excess)

    def _remove_halves(self, now: float) -> None:
        """Remove what is left of uploads that were broken off: gradio's temporary files, in the folder itself.

        Those that are older than every upload that arrives now belong to none of them.
        """
        with self._lock:
            self._broken = [each for each in self._broken if now - each[2] < HALF_UPLOAD_S]
            since = min((begun for _, _, begun in self._running.values()), default=math.inf)
        for path in Path(get_upload_folder()).glob("tmp*"):
            with contextlib.suppress(OSError):
                changed = path.stat().st_mtime
                if path.is_file() and changed < since and time.time() - changed >= HALF_UPLOAD_S:
                    path.unlink()

    def _remove(self, paths: Iterable[str]) -> None:
        if not (paths := list(paths)):
            return
        kept = set(self.kept())
        for path in paths:
            if path in kept:
                continue
            self._forget(path)
            with contextlib.suppress(OSError):
                os.remove(path)
                # Files of gradio's and of ours lie in a folder each, and what is behind one in a folder within.
                for parent in itertools.takewhile(lambda each: each != Path(get_upload_folder()), Path(path).parents):
                    os.rmdir(parent)

    def _forget(self, path: str) -> None:
        with self._lock:
            self._uploads.pop(path, None)
            for session in self._users.pop(path, ()):
                self._files[session].discard(path)
                if not self._files[session]:
                    del self._files[session]


def _paths(data: Any) -> Iterator[str]:
    """Yield the absolute paths of the files in a message's data."""
    left, seen = [(data, 0)], 0
    while left:
        value, depth = left.pop()
        inner: Iterable[Any] = ()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and os.path.isabs(path):
                yield path
            inner = value.values()
        elif isinstance(value, (list, tuple)):
            inner = value
        if depth < MAX_DEPTH and seen < MAX_VALUES:
            found = [(each, depth + 1) for each in itertools.islice(inner, MAX_VALUES - seen)
                     if isinstance(each, (dict, list, tuple))]  # fmt: skip
            seen += len(found)
            left += found


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _size(paths: Iterable[str]) -> int:
    return sum(_taken(stat) for path in paths if (stat := _stat(path)) is not None)


def _taken(stat: os.stat_result) -> int:
    return max(stat.st_size, LEAST_BYTES)
