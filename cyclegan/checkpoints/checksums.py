"""The checksums that a local checkpoint is known by: the recorded ones, or computed ones where those prove nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cyclegan.errors import CheckpointError
from cyclegan.files import sha256

_SHA256 = re.compile(r"[0-9a-f]{64}")


class _Stamp(NamedTuple):
    """Facts about a file that change with its content."""

    device: int
    inode: int
    size: int
    changed_ns: int
    modified_ns: int


_computed: dict[_Stamp, str] = {}
"""Checksums of the files that were read for them, because a run's epochs are listed again and again."""
_recorded_for: dict[str, set[_Stamp]] = {}
"""The files that each checksum was found recorded for."""


def own_checksum(path: Path, recorded: Any, most_bytes: Callable[[], int]) -> str:
    """Return the SHA-256 of a generator's file: the recorded one, or the computed one where that proves nothing.

    Loading compares the recorded one, so a list needn't read weights. But what is loaded already isn't loaded again
    for another file with the same checksum. So one that is recorded for two files is computed for both.

    Args:
        recorded: the file's entry in checkpoint.json, whatever it is.
        most_bytes: returns the size of the largest file that fits the settings; none larger is read.

    Raises:
        CheckpointError: the file is too large, or can't be read.
    """
    file = f"{path.parent.name}/{path.name}"
    try:
        status = path.stat()
        stamp = _Stamp(status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns, status.st_mtime_ns)
        if isinstance(recorded, str) and _SHA256.fullmatch(recorded):
            files = _recorded_for.setdefault(recorded, set())
            files.add(stamp)
            if len(files) == 1:
                return recorded
        if stamp not in _computed:
            if stamp.size > (most := most_bytes()):
                raise CheckpointError(
                    "{file} does not fit its config.json: it has {size:.0f} MB, and such a network takes at most "
                    "{most:.0f} MB; get it again",
                    file=file, size=stamp.size / 1e6, most=most / 1e6,
                )
            _computed[stamp] = sha256(path)
        return _computed[stamp]
    except OSError as error:
        raise CheckpointError("{file} is damaged ({reason}); get it again", file=file, reason=error) from error
