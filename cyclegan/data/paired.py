"""Data sets whose files show both domains side by side, as pix2pix's do."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cyclegan.data.contents import Contents, has_pictures, look_into, subfolders
from cyclegan.data.domains import UNUSED_PAIRS, Files, Splits, found_line
from cyclegan.data.unpaired import no_pictures
from cyclegan.errors import DataError, ImageError, Message, message
from cyclegan.images import open_image, probe_image

__all__ = ["Halves", "no_pairs", "open_pairs"]

_PROBED = 100


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


def open_pairs(root: Path, names: tuple[str, str], *, paired: bool = False) -> Splits:
    """Open a data set of this shape; folder names match in any case::

        ROOT/
          train/*.jpg     left half = domain a, right half = domain b
          test/*.jpg      optional; without it val/ is the test split ("maps" has no test)
          labels/test/*.png …   optional, for evaluation: class of each pixel of a half; with classes.json

    Args:
        root: the folder.
        names: of domains a and b.
        paired: train on the pairs; else a note says that they aren't used.

    Raises:
        DataError: train has no pictures.
    """
    folders = subfolders(root)
    train = look_into(folders["train"])
    if not train.pictures:
        raise no_pairs(train)
    split = next((split for split in ("test", "val") if split in folders and has_pictures(folders[split])), None)
    test = look_into(folders[split]) if split else None
    domains: list[Files | None] = [
        Halves(name, contents.pictures, part=contents.folder.name, side=side) if contents else None
        for contents in (train, test) for side, name in enumerate(names)
    ]  # fmt: skip
    shapes = [_shapes(contents) for contents in (train, test) if contents]
    notes, warnings = ([one for pair in shapes for one in pair[which]] for which in (0, 1))
    notes += [] if paired else [UNUSED_PAIRS]
    return Splits(*domains, aligned=True, notes=notes, warnings=warnings)


def no_pairs(train: Contents) -> DataError:
    """Return the error for a folder train without pictures: it has other folders than two in it, or none."""
    full = [path.name for path in subfolders(train.folder).values() if has_pictures(path)]
    if not full:
        return no_pictures(train)
    return DataError(
        "{root} has no pictures in train, but {count} with pictures ({names}), where two are expected, one per domain: "
        "move the pictures to trainA and trainB, or the other folders elsewhere",
        root=train.folder.parent, names=", ".join(full[:10]),
        count=message("{n} folder", "{n} folders", len(full)),
    )  # fmt: skip


def _shapes(contents: Contents) -> tuple[list[Message], list[Message]]:
    """Return the line about the pairs of one folder, and a warning if they look like ordinary pictures.

    Sizes are read from the headers of some files, spread over the folder; the check before training reads all.
    """
    paths, sizes = contents.pictures, []
    for path in paths[:: max(1, len(paths) // _PROBED)]:
        with contextlib.suppress(ImageError):  # named by the check before training
            sizes.append(probe_image(path))
    part, unused, count = contents.folder.name, contents.unused, len(paths)
    if not sizes:
        return [found_line(part, count, unused)], []
    halves = sorted({(width // 2, height) for width, height in sizes})
    shown = [f"{width}×{height}" for width, height in (halves[0], halves[-1])]
    size = shown[0] if len(halves) == 1 else message("{first} to {last}", first=shown[0], last=shown[1])
    line = message(
        "{part}: 1 side-by-side pair, cut into two of {size}" if count == 1
        else "{part}: {count} side-by-side pairs, each cut into two of {size}",
        part=part, count=count, size=size,
    )  # fmt: skip
    if unused:
        line = message("{line}; not used: {unused}", line=line, unused=unused)
    narrow = [size for size in sizes if size[0] <= size[1]]
    if 2 * len(narrow) <= len(sizes):
        return [line], []
    width, height = narrow[0]
    return [line], [message(
        "{part}: most pictures are square or narrower ({width}×{height}), so they may be ordinary pictures rather than "
        "two side by side; those belong into trainA and trainB",
        part=part, width=width, height=height,
    )]  # fmt: skip


def _half(width: int, name: str) -> int:
    if width < 2:
        raise ImageError("{name} is 1 pixel wide, not two pictures side by side: remove it", name=name)
    return width // 2
