"""Files and folders that are written whole or not at all, JSON, checksums.

A crash at any moment leaves the old file, or none, or the new one; never a part. The hidden files that a crash leaves
begin with a dot and end in `.part` or `.old`; `remove_leftovers` removes them. One that ends in `.ready` is complete,
and `finish_adding` puts its files into place.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from cyclegan.errors import UserError, message

MAX_JSON_BYTES = 10_000_000
MAX_NAME_BYTES = 255
"""The longest name that most file systems hold."""
MOST_BYTES, _PARTS = 2**20, 16
"""Bytes that a fingerprint is of at most, and the parts of a larger file that they are in."""


@contextlib.contextmanager
def whole_file(target: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a hidden sibling of `target` to write; at the end it is flushed to disk and replaces `target`.

    The folder is made if it is missing. After an exception, `target` is as it was.

    Args:
        durable: survive a power cut, too; False saves the flush for files that can be made again.

    Raises:
        OSError: the file can't be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _hidden(target, "part")
    try:
        yield part
        if durable:
            flush(part)
        os.replace(part, target)
        if durable:
            flush(target.parent)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a hidden sibling of `target` to fill; at the end it is flushed to disk and takes `target`'s name.

    An existing `target` is replaced whole. After an exception, it is as it was.

    Args:
        replace: False raises OSError if `target` exists at the end, even if it appeared meanwhile.

    Raises:
        OSError: the folder can't be written.
    """
    part = _hidden(target, "part")
    try:
        part.mkdir(parents=True)
        yield part
        for path in sorted(part.rglob("*"), reverse=True):
            flush(path)
        flush(part)
        if replace and os.path.lexists(target):
            old = _hidden(target, "old")
            os.rename(target, old)
            os.rename(part, target)
            _discard(old)
        else:
            os.rename(part, target)
        flush(target.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def added_files(root: Path) -> Iterator[Path]:
    """Yield a hidden folder in `root` to fill; at the end, its files take the same places in `root`.

    For adding many files to a folder that has others. After an exception, `root` is as it was. If the process is
    killed, `root` is as it was, too, or `finish_adding` finishes the move.

    Raises:
        OSError: the files can't be written.
    """
    made = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    part = _hidden(root / "added", "part")
    try:
        part.mkdir()
        yield part
        os.rename(part, part.with_suffix(".ready"))
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):  # It isn't empty.
                root.rmdir()
    finish_adding(root)


def finish_adding(root: Path) -> None:
    """Move the files into place that `added_files` had completed. Raises OSError."""
    for ready in root.glob(".*.ready"):
        for path in sorted(ready.rglob("*")):
            target = root / path.relative_to(ready)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            else:
                with contextlib.suppress(FileNotFoundError):  # Another process moves them, too.
                    os.replace(path, target)
        shutil.rmtree(ready, ignore_errors=True)


def remove_whole(target: Path) -> None:
    """Remove a file or folder, if it is there: a crash leaves it as it was, or gone but for a hidden leftover.

    Raises:
        OSError: it can't be renamed.
    """
    if not os.path.lexists(target):
        return
    old = _hidden(target, "old")
    os.rename(target, old)
    _discard(old)


def _discard(old: Path) -> None:
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink()


def _hidden(target: Path, suffix: str) -> Path:
    return target.with_name(f".{shortened(target.name, 100)}.{uuid.uuid4().hex[:8]}.{suffix}")


def shortened(name: str, most: int) -> str:
    """Return the beginning of a file's name that has at most `most` bytes.

    File systems allow MAX_NAME_BYTES in a name, and encrypted ones 143.
    """
    while len(os.fsencode(name)) > most:
        name = name[:-1]
    return name


def nearest_folder(path: Path) -> Path | None:
    """Return the folder whose path is this one or, name by name, similar to it; None if there is none."""
    here = Path(path.anchor)
    for name in path.parts[bool(path.anchor) :]:
        try:
            if not (here / name).is_dir():
                with os.scandir(here) as entries:
                    known = {entry.name.casefold(): entry.name for entry in entries if entry.is_dir()}
                name = known[difflib.get_close_matches(name.casefold(), known, n=1)[0]]
        except (OSError, LookupError):
            return None
        here /= name
    return here if path.parts else None


def keeps_locks(folder: Path) -> bool:
    """Return False if the folder's file system has no file locks, as Lustre without `-o flock` and some NFS haven't.

    Raises:
        OSError: the folder can't be written.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            import fcntl
        except ImportError:  # Windows has locks of another kind.
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            return False
    return True


def remove_leftovers(folder: Path, *, older_than_s: float = 0.0) -> None:
    """Remove the hidden files and folders that interrupted writes left in `folder`.

    Args:
        older_than_s: keep younger ones, because another process may be writing them.
    """
    for pattern in (".*.part", ".*.old"):
        for leftover in folder.glob(pattern):
            with contextlib.suppress(OSError):
                if older_than_s and time.time() - leftover.stat().st_mtime <= older_than_s:
                    continue
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink()


def tar_members(file: IO[bytes]) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yield a plain tar's members, with the open tar, from where `file` stands to the end; only headers are read.

    tarfile takes a damaged header for the end, and reads the same for ever behind a negative size; here, both are
    errors.

    Raises:
        tarfile.TarError: it is damaged, or isn't a tar.
        OSError: it can't be read.
    """
    with tarfile.open(fileobj=file, mode="r:") as tar:
        before = -1
        while (member := tar.next()) is not None:
            tar.members.clear()  # It would keep them all.
            if member.size < 0 or member.offset <= before:
                raise tarfile.ReadError("a header is damaged")
            before = member.offset
            yield tar, member
        file.seek(tar.offset)
        if any(file.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError(f"a header is damaged, at byte {tar.offset:,}")


def user_cache() -> Path:
    """Return this program's folder for what can be made again: below XDG_CACHE_HOME, else ~/.cache.

    Raises:
        RuntimeError: the user has no home.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cyclegan"


def is_full(error: BaseException) -> bool:
    """Return whether a write failed because the disk or its user's share is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def flush(path: Path) -> None:
    """Flush a file, or a folder's entries, to disk.

    Windows can't open a folder; its file system journals renames anyway.
    """
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole, in place of an old one, and make its folder. Raises OSError."""
    with whole_file(path) as part:
        part.write_bytes(content)


def write_json(path: Path, values: Any) -> None:
    """Write readable JSON whole, in place of an old file; not-a-number, unknown to JSON, becomes null.

    Raises:
        OSError: the file can't be written; an old one is as it was.
    """
    # A file name that isn't valid Unicode becomes a JSON escape.
    text = json.dumps(_without_nan(values), indent=2, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def _without_nan(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _without_nan(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_without_nan(value) for value in values]
    return None if isinstance(values, float) and values - values != 0 else values


def read_json(path: Path, *, error: type[UserError] = UserError) -> dict[str, Any]:
    """Return the JSON object in a file of at most MAX_JSON_BYTES.

    Args:
        error: the kind of exception to raise.

    Raises:
        UserError: the file is missing, too large or damaged; named with its folder.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        if path.exists() and not path.is_file():  # Reading a pipe or a device may never end.
            raise error(message("{where} is not a regular file", where=where))
        with open(path, "rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
        if len(content) > MAX_JSON_BYTES:
            most = MAX_JSON_BYTES // 10**6
            raise error(message("{where} is too large: more than {most} MB", where=where, most=most))
        values = json.loads(content.decode("utf-8"))
    except FileNotFoundError as missing:
        said = message("{where} has no {file}; it is incomplete", where=path.parent.name, file=path.name)
        raise error(said) from missing
    except (OSError, ValueError, RecursionError) as reason:
        raise error(message("{where} can't be read ({reason}); get it again", where=where, reason=reason)) from reason
    if not isinstance(values, dict):
        raise error(message("{where} is damaged: a JSON object was expected", where=where))
    return values


def sha256(path: Path) -> str:
    """Return a file's SHA-256 as 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def fingerprint(source: Path | str | bytes) -> str:
    """Return 16 hex digits of a file's size and contents; of a file above MOST_BYTES, of parts spread evenly over it.

    Raises:
        OSError: the file can't be read.
    """
    if isinstance(source, bytes):
        size = len(source)
        parts = [source] if size <= MOST_BYTES else [source[start : start + length] for start, length in _parts(size)]
    else:
        with open(source, "rb") as file:
            size, parts = file.seek(0, 2), []
            for start, length in [(0, size)] if size <= MOST_BYTES else _parts(size):
                file.seek(start)
                parts.append(file.read(length))
    digest = hashlib.blake2b(str(size).encode(), digest_size=8)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _parts(size: int) -> list[tuple[int, int]]:
    """Return start and length of each part, the first and the last bytes included."""
    length = MOST_BYTES // _PARTS
    return [((size - length) * part // (_PARTS - 1), length) for part in range(_PARTS)]


def from_here(path: Path) -> Path:
    """Return a path as seen from the present folder; the name alone of one that is elsewhere, for reports."""
    if not path.is_absolute():
        return path
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else Path(path.name)


def name_alone(text: str) -> str:
    """Return a folder's name without this computer's folders above it, for reports; any other text as it is."""
    path = Path(os.path.expanduser(text))
    with contextlib.suppress(OSError, ValueError):  # Such as a name that is too long.
        if path.is_absolute() or path.exists():
            return path.resolve().name
    return text
