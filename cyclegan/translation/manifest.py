"""The record of a translation of many pictures, which a killed one continues from."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import filelock

from cyclegan.errors import ConfigError
from cyclegan.files import keeps_locks

PATTERN = "translated*.jsonl"
"""The names of a folder's manifests: translated.jsonl, or translated-2-of-8.jsonl of a shard."""
VERSION = 1


class Manifest:
    """A line for each finished picture, in `translated.jsonl` in the folder of the results.

        {"version": 1, "checkpoint": …, "epoch": 12, "direction": "ab", …}    what all results share
        {"input": "photos/a.jpg", "name": "a", "output": ["a.png"]}            written once the file is in its place
        {"input": "photos/b.jpg", "error": "…"}                                tried again the next time

    A line is written when its file has its name, in one call, so `kill -9` costs at most the pictures in work; a torn
    last line is cut off. Every shard has a file of its own.

    Args:
        folder: of the results.
        settings: what all results share; a folder's manifests must agree on it.
        shard: number and count, from 1.

    Raises:
        ConfigError: the folder has results with other settings, another process works on this shard, or the file can't
            be read or written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], shard: tuple[int, int] = (1, 1)) -> None:
        number, count = shard
        self.path = folder / ("translated.jsonl" if count == 1 else f"translated-{number}-of-{count}.jsonl")
        self.settings = {"version": VERSION, **settings}
        self._lock = _lock_of(self.path)
        with contextlib.ExitStack() as opening:
            try:
                self._acquire()
                opening.callback(self._free)
                for path in _manifests(folder):
                    _compare(path, _header(path), self.settings)
                    if not path.name.endswith(f"-of-{count}.jsonl") and path != self.path:
                        _check_free(path)
                self._file = opening.enter_context(open(self.path, "a+b"))
                self._end_line()
                if self._file.tell() == 0:
                    self._write(self.settings)
            except OSError as error:
                raise _unusable(self.path, error) from error
            self._closing = opening.pop_all()

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _free(self) -> None:
        if self._lock.is_locked:
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()

    def finished(self, name: str, source: str, outputs: list[str]) -> None:
        """Record a picture whose files are in their places."""
        self._write({"input": source, "name": name, "output": outputs})

    def failed(self, source: str, reason: object) -> None:
        """Record a picture that couldn't be translated; it is tried again the next time."""
        self._write({"input": source, "error": str(reason)})

    def _write(self, line: Mapping[str, Any]) -> None:
        content = json.dumps(line, ensure_ascii=False, default=str).encode(errors="backslashreplace") + b"\n"
        try:
            there = os.stat(self.path).st_ino == os.fstat(self._file.fileno()).st_ino
            self._file.write(content)
            self._file.flush()
        except FileNotFoundError:
            there = False
        if not there:
            raise ConfigError(
                "{folder} was moved or removed while pictures were translated into it: run the command again",
                folder=self.path.parent,
            )

    def _acquire(self) -> None:
        if not keeps_locks(self.path.parent):
            return  # There, two processes of one shard would only do the work twice.
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise ConfigError(
                "another process writes {file}: wait for it, or give each process a --shard of its own", file=self.path
            ) from error

    def _end_line(self) -> None:
        """Cut off a last line that a kill has torn."""
        self._file.seek(0)
        whole = 0
        for line in self._file:
            if line.endswith(b"\n"):
                whole += len(line)
        self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)


def finished_in(folder: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what a folder's manifests record as finished: pictures' sources by the names that `name_of` gives them.

    Raises:
        ConfigError: a manifest records results with other settings, isn't one, or can't be read.
    """
    finished, settings = {}, {"version": VERSION, **settings}
    for path in _manifests(folder):
        try:
            _compare(path, _header(path), settings)
            with open(path, "rb") as file:
                for line in _whole_lines(file):
                    if isinstance(line.get("name"), str):
                        finished[line["name"]] = str(line.get("input"))
        except OSError as error:
            raise _unusable(path, error) from error
    return finished


def is_of(recorded: str, source: str, name: str) -> bool:
    """Return whether a recorded source may be this one: by its last folder and what is below, as disks have many names.

    Args:
        recorded, source: paths.
        name: of the result, which has as many folders as the picture has below the folder that was named.
    """
    depth = name.count("/") + 2
    return recorded.split("/")[-depth:] == source.split("/")[-depth:]


def _manifests(folder: Path) -> list[Path]:
    """Return a folder's manifests. Raises ConfigError for one that isn't a file."""
    found = sorted(folder.glob(PATTERN))
    for path in found:
        if not path.is_file():
            raise ConfigError("{file} isn't a file: move it away, or choose another --output", file=path)
    return found


def _header(path: Path) -> Mapping[str, Any] | None:
    """Return a manifest's first line, None if it has none yet. Raises ConfigError if it is another kind of file."""
    with open(path, "rb") as file:
        line = file.readline(2**20)
    if not line.endswith(b"\n") and len(line) < 2**20:
        return None
    with contextlib.suppress(ValueError, RecursionError):
        if isinstance(values := json.loads(line), dict) and "version" in values:
            return values
    raise ConfigError("{file} isn't a record of this program: move it away, or choose another --output", file=path)


def _lock_of(path: Path) -> filelock.FileLock:
    return filelock.FileLock(path.with_name(f".{path.name}.lock"))


def _check_free(path: Path) -> None:
    """Raise ConfigError if a process writes this manifest, which has another number of shards."""
    lock = _lock_of(path)
    if os.path.exists(lock.lock_file):  # Never made where there are no locks.
        try:
            lock.acquire(timeout=0)
            lock.release()
        except filelock.Timeout as error:
            raise ConfigError(
                "another process writes {file}, with another number of shards: wait for it, because both would "
                "translate the same pictures", file=path,
            ) from error  # fmt: skip


def _compare(path: Path, found: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> None:
    for name, value in settings.items() if found is not None else ():
        if found.get(name) != value:
            raise ConfigError(
                "{file} records results with {name} {then}, not {now}: choose another --output for these",
                file=path, name=name, then=_said(found.get(name)), now=_said(value),
            )


def _said(value: object) -> object:
    return "left out" if value is None else value


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        "{file} can't be read or written ({reason}): choose another --output", file=path, reason=error
    )


def _whole_lines(file: IO[bytes]) -> Iterator[Mapping[str, Any]]:
    for line in file:
        with contextlib.suppress(ValueError, RecursionError):
            if line.endswith(b"\n") and isinstance(values := json.loads(line), dict):
                yield values
