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
        self._lock = filelock.FileLock(folder / f".{self.path.name}.lock")
        with contextlib.ExitStack() as opening:
            try:
                self._acquire()
                opening.callback(self._free)
                for path in sorted(folder.glob(PATTERN)):
                    with open(path, "rb") as file:
                        _compare(path, next(_whole_lines(file), self.settings), self.settings)
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
        self._file.write(json.dumps(line, ensure_ascii=False, default=str).encode(errors="backslashreplace") + b"\n")
        self._file.flush()

    def _acquire(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise ConfigError(
                "another process writes {file}: wait for it, or give each process a --shard of its own", file=self.path
            ) from error
        except NotImplementedError:
            pass  # A shared folder without locks, where two processes of one shard would only do the work twice.

    def _end_line(self) -> None:
        """Cut off a last line that a kill has torn."""
        self._file.seek(0)
        whole = 0
        for line in self._file:
            if line.endswith(b"\n"):
                whole += len(line)
        self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)


def finished_in(folder: Path, settings: Mapping[str, Any]) -> set[str]:
    """Return the names that `pictures.name_of` gives the pictures which a folder's manifests record as finished.

    Raises:
        ConfigError: a manifest records results with other settings, or can't be read.
    """
    finished, settings = set(), {"version": VERSION, **settings}
    for path in sorted(folder.glob(PATTERN)):
        try:
            with open(path, "rb") as file:
                lines = _whole_lines(file)
                _compare(path, next(lines, settings), settings)
                finished.update(line["name"] for line in lines if isinstance(line.get("name"), str))
        except OSError as error:
            raise _unusable(path, error) from error
    return finished


def _compare(path: Path, found: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if found.get(name) != value:
            raise ConfigError(
                "{file} records results with {name} {then}, not {now}: choose another --output for these",
                file=path, name=name, then=found.get(name), now=value,
            )


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        "{file} can't be read or written ({reason}): choose another --output", file=path, reason=error
    )


def _whole_lines(file: IO[bytes]) -> Iterator[Mapping[str, Any]]:
    for line in file:
        with contextlib.suppress(ValueError):
            if line.endswith(b"\n") and isinstance(values := json.loads(line), dict):
                yield values
