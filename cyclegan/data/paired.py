"""Data sets whose files show both domains side by side, as pix2pix's do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cyclegan.data.domains import Files, Splits
from cyclegan.data.unpaired import pictures_in, subfolders
from cyclegan.errors import DataError, ImageError
from cyclegan.images import open_image, probe_image

__all__ = ["Halves", "open_pairs"]


@dataclass(frozen=True)
class Halves(Files):
    """The left (side 0, domain a) or right (side 1, domain b) halves of side-by-side files.

    Both halves have the same size: the middle column of an odd width belongs to neither.
    """

    side: int = 0

    def probe(self, index: int) -> tuple[int, int]:
        """Return width and height of a half, from the header."""
        width, height = probe_image(self.paths[index], name=self.where(index))
        return _half(width, self.where(index)), height

    def load(self, index: int) -> Image.Image:
        """Return this domain's half."""
        return self._cut(index, self.side)

    def truth(self, index: int) -> Image.Image:
        """Return the other domain's half."""
        return self._cut(index, 1 - self.side)

    def fingerprint(self, index: int) -> str:
        """Return the file's, marked with the side, because the halves of one file are two pictures."""
        return f"{super().fingerprint(index)}-{self.side}"

    def _cut(self, index: int, side: int) -> Image.Image:
        image = open_image(self.paths[index], name=self.where(index))
        half = _half(image.width, self.where(index))
        left = image.width - half if side else 0
        return image.crop((left, 0, left + half, image.height))


def open_pairs(root: Path, names: tuple[str, str]) -> Splits:
    """Open a data set of this shape; folder names match in any case::

        ROOT/
          train/*.jpg     left half = domain a, right half = domain b
          test/*.jpg      optional; without it val/ is the test split ("maps" has no test)

    Args:
        root: the folder.
        names: of domains a and b.

    Raises:
        DataError: train is missing or has no pictures.
    """
    folders = subfolders(root)
    paths = pictures_in(folders.get("train"))
    if not paths:
        raise DataError("{root} has no pictures in train: put side-by-side pairs directly into it", root=root)
    test = pictures_in(folders.get("test")) or pictures_in(folders.get("val"))
    tests = [Halves(name, test, side=side) if test else None for side, name in enumerate(names)]
    return Splits(Halves(names[0], paths, side=0), Halves(names[1], paths, side=1), *tests, aligned=True)


def _half(width: int, name: str) -> int:
    if width < 2:
        raise ImageError("{name} is 1 pixel wide, not two pictures side by side: remove it", name=name)
    return width // 2
