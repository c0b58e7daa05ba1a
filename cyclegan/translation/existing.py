"""Results that an earlier translation has left in its folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from cyclegan import files
from cyclegan.rasters.files import ENDINGS
from cyclegan.translation.files import Item
from cyclegan.translation.saving import Encoding, path_of
from cyclegan.values import Values

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
        target = self.folder / item.target
        names = self._names(target.parent)
        for ending in self.endings:
            paths = [path_of(target, ending, part) for part in self.parts]
            if all(path.name in names for path in paths):
                return [path.relative_to(self.folder).as_posix() for path in paths]
        return []


def remove_leftovers(folder: Path, items: Iterable[Item]) -> None:
    """Remove what killed processes left of the results of these pictures while they wrote them."""
    for parent in {(folder / item.target).parent for item in items}:
        files.remove_leftovers(parent, older_than_s=STALE_S)


def _names_in(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
