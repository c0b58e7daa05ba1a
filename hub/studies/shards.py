"""Rows on the local disk, in shards: JSON objects, one per line, in files that only ever grow."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from cyclegan.files import flush

MAX_SHARD_BYTES = 1_000_000
"""A larger shard is continued in a new file, because each push sends it whole and the Hub keeps every version."""


class Row(NamedTuple):
    """A row on the local disk that is not known to be on the Hub."""

    shard: str
    end: int
    """Bytes of the shard up to and with this row."""
    since: float
    """Unix time when it was written."""


class Shards:
    """The shards in a folder, of which this process writes one at a time. The caller holds a lock.

    Args:
        folder: made if it is missing.

    Attributes:
        current: the shard that was opened last.

    Raises:
        OSError: the folder can't be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file: Any = None
        self.current, self._size = "", 0

    def rows(self) -> list[Row]:
        """Return the rows that earlier processes left. Raises OSError."""
        found = []
        for path in sorted(self.folder.glob("data/*/*.jsonl")):
            lines = path.read_bytes().split(b"\n")[:-1]  # A crash may have left half a line at the end.
            shard, since = path.relative_to(self.folder).as_posix(), path.stat().st_mtime
            found += [Row(shard, end, since) for end in itertools.accumulate(len(line) + 1 for line in lines)]
        return found

    def append(self, line: bytes, since: float) -> Row:
        """Write a line and flush it to disk.

        Raises:
            OSError: the disk is full; nothing of the line is kept.
        """
        self._open(len(line))
        path = self.folder / self.current
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(self._file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            self.close()  # Its end may be damaged, so no row follows.
            raise
        self._size += len(line)
        return Row(self.current, self._size, since)

    def _open(self, length: int) -> None:
        """Open a new shard unless there is one of this process and this day (UTC) with enough room."""
        day = f"data/{_now():%Y-%m-%d}/"
        if self._file is not None and self.current.startswith(day) and self._size + length <= MAX_SHARD_BYTES:
            return
        self.close()
        shard = f"{day}{uuid.uuid4()}.jsonl"
        path = self.folder / shard
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115
        self.current, self._size = shard, 0
        for folder in (path.parent, path.parent.parent, self.folder):
            flush(folder)

    def read(self, shard: str) -> bytes:
        """Return a shard's content. Raises OSError."""
        return (self.folder / shard).read_bytes()

    def remove(self, shard: str) -> None:
        """Remove a shard that isn't open. Raises OSError."""
        (self.folder / shard).unlink()

    def close(self) -> None:
        """Close the open shard."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()


def read_row(line: bytes) -> dict[str, Any] | None:
    """Return a line's JSON object; None if it isn't one."""
    with contextlib.suppress(ValueError, RecursionError):
        row = json.loads(line)
        return row if isinstance(row, dict) else None
    return None


def row_line(row: Mapping[str, Any]) -> bytes:
    """Return a row as a line of JSON. Raises ValueError if it isn't a JSON object."""
    if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
        raise ValueError(f"a row has to be a JSON object, not {str(row)[:100]!r}")
    try:
        return json.dumps(dict(row), allow_nan=False, ensure_ascii=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"a row has to be a JSON object ({error}), not {str(row)[:100]!r}") from error


def _now() -> datetime:
    return datetime.now(timezone.utc)
