"""Results that an earlier translation has left in its folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from PIL import ExifTags, Image

from cyclegan import files
from cyclegan.errors import ConfigError
from cyclegan.rasters.files import ENDINGS
from cyclegan.translation.files import Item
from cyclegan.translation.saving import Encoding, path_of
from cyclegan.values import Values

DESCRIPTION = ExifTags.Base.ImageDescription
MOST_LOOKED_AT = 100
"""Results, spread over all, that are opened before any is replaced."""
STALE_S = 600
"""Seconds after which an unfinished file belongs to a process that was killed."""


class Existing:
    """The results in a folder, by the pictures that they are of; a file that has its name is whole.

    Args:
        folder: of the results.
        encoding: of 8-bit ones.
        values: of their domain.
        reconstruct: a result has its way back, too.
    """

    def __init__(self, folder: Path, encoding: Encoding, values: Values, *, reconstruct: bool) -> None:
        self.folder, self.parts = folder, ("", "_rec") if reconstruct else ("",)
        self.endings = (encoding.ending,) if values.plain else tuple(ENDINGS.values())
        self._names = lru_cache(maxsize=64)(_names_in)  # One list of a folder costs less than a look for each file.

    def __contains__(self, item: Item) -> bool:
        return bool(self.outputs(item))

    def outputs(self, item: Item) -> list[str]:
        """Return the files of a picture's result, relative to the folder; empty unless all are there."""
        return [path.relative_to(self.folder).as_posix() for path in self._there(item, self.parts)]

    def main_file(self, item: Item) -> Path | None:
        """Return the file of a picture's translation, whether or not its way back is there; None without one."""
        return next(iter(self._there(item, ("",))), None)

    def _there(self, item: Item, parts: Sequence[str]) -> list[Path]:
        """Return a picture's files of these parts, of the first kind that has all of them; [] if none has."""
        target = self.folder / item.target
        names = self._names(target.parent)
        for ending in self.endings:
            paths = [path_of(target, ending, part) for part in parts]
            if all(path.name in names for path in paths):
                return paths
        return []

    def check_made_by(self, item: Item, commit_sha: str, direction: str) -> None:
        """Raise ConfigError if a picture's result says that another checkpoint or direction made it."""
        for file in (self.folder / name for name in self.outputs(item)[:1]):
            said = _said(file)
            made = said.get("cyclegan:commit_sha", commit_sha), said.get("cyclegan:direction", direction)
            if made != (commit_sha, direction):
                raise ConfigError(
                    "{file} is the result of another checkpoint or direction: choose another --output, or leave "
                    "--skip_existing out to replace it", file=file,
                )  # fmt: skip

    def check_replaced(self, items: Iterable[Item], direction: str) -> int:
        """Return how many of these have results that would be replaced.

        Raises:
            ConfigError: one of those that are looked at says that it is of the other direction.
        """
        there = [file for item in items if (file := self.main_file(item)) is not None]
        for file in there[:: -(-len(there) // MOST_LOOKED_AT) or 1]:
            if (made := _said(file).get("cyclegan:direction", direction)) != direction:
                raise ConfigError(
                    "{file} is the result of --direction {made} and would be replaced by one of {direction}: choose "
                    "another --output, or remove it", file=file, made=made, direction=direction,
                )  # fmt: skip
        return len(there)


def _said(file: Path) -> dict[str, str]:
    """Return what a result says about its making; nothing where its kind can't."""
    with contextlib.suppress(OSError, ValueError), Image.open(file) as image:
        described = str(image.getexif().get(DESCRIPTION, "")).split()
        pairs = (each.split("=", 1) for each in described if "=" in each)
        return {**getattr(image, "text", {}), **dict(pairs)}
    return {}


def remove_leftovers(folder: Path, items: Iterable[Item]) -> None:
    """Remove what killed processes left of the results of these pictures while they wrote them."""
    for parent in {(folder / item.target).parent for item in items}:
        files.remove_leftovers(parent, older_than_s=STALE_S)


def _names_in(folder: Path) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except OSError:
        return frozenset()
