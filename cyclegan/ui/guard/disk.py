"""The disk: what visitors send and get has a bound, belongs to those who use it, and goes when they do.

Gradio keeps files in one folder, names an upload after its content, and removes what nobody has used for an hour. So
two visitors may share a file, and a file is removed here when the last session that has sent or seen it is gone.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

GRACE_S, PROGRAM_S = 20.0, 600.0
"""A page that has gone may come back: a phone's network changes. A program fetches its results when it likes."""
UNUSED_S = 30.0
"""A page uses what it has uploaded at once; a file that no session has named after so long is nobody's."""
MB = 10**6
SHARE_BYTES, ALL_BYTES = 600 * MB, 5000 * MB
"""Bounds of the uploads of one address, and of all files."""
HALF_UPLOAD_S = 300.0
"""Time since the last byte of an upload that was broken off, whose file gradio leaves behind."""
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
        self._lock = threading.Lock()

    def used(self, session: str, data: Any) -> None:
        """Note the files that a session sends or gets in a message."""
        folder = os.path.realpath(get_upload_folder())
        with self._lock:
            for path in _paths(data):
                if path.startswith(folder + os.sep) and ".." not in path:
                    self._users[path].add(session)
                    self._files[session].add(path)

    def arrived(self, address: str, paths: Iterable[str]) -> None:
        """Note uploads."""
        with self._lock:
            self._uploads |= {path: (address, self.clock()) for path in paths}

    def has_room(self, address: str, size: int) -> bool:
        """Return whether an address may upload so many bytes more."""
        if not self.bounded:
            return True
        with self._lock:
            of_address = [path for path, (sender, _) in self._uploads.items() if sender == address]
            every = set(self._uploads).union(self._users)
        return _size(of_address) + size <= SHARE_BYTES and _size(every) + size <= ALL_BYTES

    def left(self, sessions: Iterable[str]) -> None:
        """Remove what only these sessions have used, because they are gone."""
        gone = []
        with self._lock:
            for session in sessions:
                for path in self._files.pop(session, ()):
                    users = self._users.get(path, set())
                    users.discard(session)
                    if not users:
                        self._users.pop(path, None)
                        gone.append(path)
        self._remove(gone)

    def sweep(self) -> None:
        """Remove uploads that nobody has used, and the oldest files where there are too many; forget what is gone."""
        now = self.clock()
        _remove_halves(Path(get_upload_folder()))
        with self._lock:
            unused = [path for path, (_, since) in self._uploads.items()
                      if path not in self._users and now - since >= UNUSED_S]  # fmt: skip
        self._remove(unused)
        with self._lock:
            every = {*self._uploads, *self._users}
        sizes = {path: stat for path in every if (stat := _stat(path)) is not None}
        for path in every - sizes.keys():
            self._forget(path)
        total = sum(stat.st_size for stat in sizes.values())
        if self.bounded and total > ALL_BYTES:
            oldest = []
            for path in sorted(sizes, key=lambda path: sizes[path].st_mtime):
                if total <= ALL_BYTES * 3 // 4:
                    break
                oldest.append(path)
                total -= sizes[path].st_size
            self._remove(oldest)

    def _remove(self, paths: Iterable[str]) -> None:
        kept = set(self.kept())
        for path in paths:
            if path in kept:
                continue
            self._forget(path)
            with contextlib.suppress(OSError):
                os.remove(path)
                # Files of gradio's and of ours lie in a folder each.
                if Path(path).parent != Path(get_upload_folder()):
                    os.rmdir(os.path.dirname(path))

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


def _remove_halves(folder: Path) -> None:
    """Remove what is left of uploads that were broken off: gradio's temporary files, in the folder itself."""
    for path in folder.glob("tmp*"):
        with contextlib.suppress(OSError):
            if path.is_file() and time.time() - path.stat().st_mtime >= HALF_UPLOAD_S:
                path.unlink()


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _size(paths: Iterable[str]) -> int:
    return sum(stat.st_size for path in paths if (stat := _stat(path)) is not None)

