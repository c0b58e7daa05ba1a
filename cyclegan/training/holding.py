"""The folder of a run belongs to one training at a time, also where file systems have no locks."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from cyclegan.checkpoints.progress import is_written
from cyclegan.errors import CheckpointError, Message, message
from cyclegan.files import keeps_locks


def hold(folder: Path) -> tuple[FileLock | None, list[Message]]:
    """Make a run's folder and return its lock, None where the file system has no locks, and notes about it.

    Locks may hold among the processes of one computer only, so a training that still writes progress.json counts, too.

    Raises:
        CheckpointError: the folder can't be written, or another process trains into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        has_locks = keeps_locks(folder)  # Written to now, because the first epoch may take hours.
    except OSError as error:
        raise CheckpointError(
            "--output_dir {folder} can't be written ({reason}); choose another folder or make it writable",
            folder=folder, reason=error,
        ) from error
    lock, free = FileLock(folder / ".lock") if has_locks else None, True
    if lock is not None:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            lock, free = None, False
    if not free or is_written(folder):
        if lock is not None:
            lock.release()
        raise CheckpointError(
            "another process is training into {folder}; wait for it, or choose another --output_dir", folder=folder
        )
    if has_locks:
        return lock, []
    return None, [message(
        "the file system of {folder} has no file locks: don't start two trainings in it at the same moment",
        folder=folder,
    )]  # fmt: skip
