"""Data sets with one folder per domain: trainA, trainB and, optionally, testA, testB."""

from __future__ import annotations

from pathlib import Path

from cyclegan.data.domains import Files, Splits
from cyclegan.errors import DataError, ImageError, reason_of
from cyclegan.images import list_images

__all__ = ["open_folders", "pictures_in", "subfolders"]


def open_folders(root: Path, names: tuple[str, str], *, paired: bool = False) -> Splits:
    """Open a data set of this shape; folder names match in any case::

        ROOT/
          trainA/*.jpg   trainB/*.jpg     any number of pictures each
          testA/*.jpg    testB/*.jpg      optional; without them valA/ and valB/ are the test split
          truth/testA/*, truth/testB/*    optional, for evaluation: same name = same scene, other domain

    Args:
        root: the folder.
        names: of domains a and b.
        paired: pictures of the same name without suffix are pairs, and every picture must have its partner.

    Raises:
        DataError: a training folder is missing or has no pictures; `paired`, and a partner is missing.
    """
    folders = subfolders(root)
    for needed in ("trainA", "trainB"):
        if needed.lower() not in folders:
            raise DataError("{root} has no folder {needed}: add one with pictures in it", root=root, needed=needed)
    train, *others = (
        [pictures_in(folders.get(f"{split}{side}")) for side in "ab"] for split in ("train", "test", "val")
    )
    for paths, needed in zip(train, ("trainA", "trainB"), strict=True):
        if not paths:
            raise _no_pictures(folders[needed.lower()])
    test = next((pair for pair in others if all(pair)), None)
    if paired:
        train, test = _partners(train), test and _partners(test)
        return Splits(*_pair(names, train), *(_pair(names, test) if test else (None, None)), aligned=True)
    domains = [Files(name, paths, _truths(paths)) for name, paths in zip(names, train, strict=True)]
    tests = [Files(name, paths, _truths(paths)) for name, paths in zip(names, test or (), strict=False)]
    return Splits(*domains, *(tests or (None, None)))


def subfolders(root: Path) -> dict[str, Path]:
    """Return the visible folders inside a folder, by lower-case name.

    Raises:
        DataError: the folder can't be listed.
    """
    try:
        return {p.name.lower(): p for p in sorted(root.iterdir()) if p.is_dir() and p.name[0] != "."}
    except OSError as error:
        raise DataError(
            "{folder} can't be listed ({reason}): give a folder that can be read", folder=root, reason=reason_of(error)
        ) from error


def pictures_in(folder: Path | None) -> list[Path]:
    """Return the pictures in a folder, in natural order; none for None.

    Raises:
        DataError: the folder can't be listed.
    """
    try:
        return list_images(folder) if folder else []
    except ImageError as error:
        raise DataError(error.message) from error


def _no_pictures(folder: Path) -> DataError:
    if subfolders(folder):
        return DataError(
            "{folder} has no pictures: put JPEG or PNG files directly into it, not into folders in it", folder=folder
        )
    return DataError("{folder} has no pictures: put JPEG or PNG files directly into it", folder=folder)


def _truths(paths: list[Path]) -> list[Path | None] | None:
    """Return the files of the same names in ROOT/truth/<folder>, where `write_streets` writes them."""
    folder = paths[0].parent.parent / "truth" / paths[0].parent.name
    if not folder.is_dir():
        return None
    found = {p.stem: p for p in pictures_in(folder)}
    return [found.get(p.stem) for p in paths]


def _partners(sides: list[list[Path]]) -> list[list[Path]]:
    a, b = ({p.stem: p for p in paths} for paths in sides)
    if lonely := sorted(set(a) ^ set(b)):
        first, second = (paths[0].parent.name for paths in sides)
        raise DataError(
            "training on pairs needs each picture in both {first} and {second} under the same name, but {n} is only in "
            "one: {example}",
            "training on pairs needs each picture in both {first} and {second} under the same name, but {n} are only "
            "in one, e.g. {example}",
            len(lonely), first=first, second=second, example=lonely[0],
        )  # fmt: skip
    return [list(a.values()), [b[stem] for stem in a]]


def _pair(names: tuple[str, str], sides: list[list[Path]]) -> tuple[Files, Files]:
    return Files(names[0], sides[0], sides[1]), Files(names[1], sides[1], sides[0])
