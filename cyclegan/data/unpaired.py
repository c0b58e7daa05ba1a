"""Data sets with one folder per domain: trainA and trainB, train/A and train/B, or just two folders of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cyclegan.data.contents import Contents, advice, has_pictures, look_into, pictures_in, subfolders
from cyclegan.data.domains import Files, Splits, found_line
from cyclegan.errors import DataError, Message, message
from cyclegan.files import read_json

__all__ = ["TESTS", "class_folders", "is_split", "no_pictures", "open_classes", "open_folders"]

TESTS = ("test", "val", "valid", "validation")
Pair = tuple[Path | None, Path | None]


def open_folders(root: Path, names: tuple[str, str], *, paired: bool = False) -> Splits:
    """Open a data set of this shape; folder names match in any case::

        ROOT/
          trainA/*.jpg   trainB/*.jpg     any number of pictures each
          testA/*.jpg    testB/*.jpg      optional; without them valA/ and valB/ are the test split
          truth/testA/*, truth/testB/*    optional, for evaluation: same name = same scene, other domain
          labels/testA/*.png …            optional, for evaluation: same name = class of each pixel; with classes.json

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
    train, *tests = (tuple(folders.get(f"{split}{side}") for side in "ab") for split in ("train", *TESTS))
    return _opened(root, names, train, tests, paired=paired)


def open_classes(root: Path, names: tuple[str, str], train: tuple[Path, Path], *, paired: bool = False) -> Splits:
    """Open a data set of this shape, with any two names instead of horse and zebra::

        ROOT/
          train/horse/*.jpg   train/zebra/*.jpg     as imagefolder and Kaggle have it; or without train/
          test/horse/*.jpg    test/zebra/*.jpg      optional; without them val/ or validation/ is the test split

    Args:
        root: the folder.
        names: of domains a and b.
        train: the two folders, from `class_folders`.
        paired: see `open_folders`.

    Raises:
        DataError: `paired`, and a partner is missing.
    """
    splits = subfolders(root)
    inner = [subfolders(splits[split]) if split in splits else {} for split in TESTS]
    tests = [tuple(found.get(folder.name.lower()) for folder in train) for found in inner]
    return _opened(root, names, train, tests, paired=paired)


def class_folders(root: Path) -> tuple[Path, Path] | None:
    """Return the two folders of pictures in ROOT/train, or in ROOT without a train; None if there aren't just two.

    The first in the alphabet is domain A, or the one that ROOT/recordings.json names so (`python -m cyclegan frames`).

    Raises:
        DataError: a folder can't be listed.
    """
    folders = subfolders(root)
    if {"traina", "trainb"} & set(folders):
        return None
    within = folders.get("train", root)
    if "train" in folders and has_pictures(within):
        return None
    # A run in the data set's folder has a picture of its curves.
    inner = [path for path in subfolders(within).values() if not (path / "run.json").is_file()]
    found = [path for path in inner if has_pictures(path)]
    if len(found) != 2 or (within == root and any(is_split(path.name) for path in found)):
        return None
    first, second = found
    return (second, first) if second.name == _named_a(root) else (first, second)


def _named_a(root: Path) -> str:
    """Return the folder that a data set of recordings calls domain A; "" for any other."""
    if not (root / "recordings.json").is_file():
        return ""
    named = read_json(root / "recordings.json", error=DataError).get("a")
    return named if isinstance(named, str) else ""


def is_split(name: str) -> bool:
    """Return True for test, valA and the like, which nobody trains on."""
    return name.lower() in {f"{split}{side}" for split in ("train", *TESTS) for side in ("", "a", "b")}


def _opened(
    root: Path, names: tuple[str, str], train: Pair, tests: Sequence[Pair], *, paired: bool
) -> Splits:
    looked = [look_into(folder) for folder in train if folder is not None]
    for contents in looked:
        if not contents.pictures:
            raise no_pictures(contents)
    notes: list[Message] = []
    test: list[Contents] = []
    for pair in tests:
        both = [look_into(folder) for folder in pair if folder is not None]
        full = [contents for contents in both if contents.pictures]
        if len(full) == 2 and not test:
            test = full
        elif len(full) == 1 and not test:
            notes.append(message(
                "{folder} isn't used, because the other domain has no such folder with pictures",
                folder=_part(root, full[0].folder),
            ))  # fmt: skip
    lines = [found_line(_part(root, one.folder), len(one.pictures), one.unused) for one in [*looked, *test]]
    sides = [[one.pictures for one in split] for split in (looked, test) if split]
    if paired:
        sides = [_partners(paths) for paths in sides]
        partners = [[b, a] for a, b in sides]
    else:
        partners = [[_truths(paths) for paths in split] for split in sides]
    domains = [
        Files(name, paths, truths, part=_part(root, paths[0].parent))
        for split, others in zip(sides, partners, strict=True)
        for name, paths, truths in zip(names, split, others, strict=True)
    ]
    return Splits(*domains, *[None] * (4 - len(domains)), aligned=paired, notes=(*lines, *notes))


def _part(root: Path, folder: Path) -> str:
    """Return a folder's name as people know it: trainA, train/horse."""
    return folder.relative_to(root).as_posix()


def no_pictures(contents: Contents) -> DataError:
    """Return the error for a folder without pictures, with the counts of what is there and how to convert it."""
    if not (found := contents.unused):
        return DataError("{folder} has no pictures: put JPEG or PNG files directly into it", folder=contents.folder)
    problem = message("{folder} has no pictures, but {found}", folder=contents.folder, found=found)
    if contents.nested:
        problem = message(
            "{problem}: put JPEG or PNG files directly into it, not into folders in it", problem=problem
        )
    else:
        problem = message("{problem}: put JPEG or PNG files directly into it", problem=problem)
    for sentence in advice(set(contents.others)):
        problem = message("{first}. {second}", first=problem, second=sentence)
    return DataError(problem)


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
            "one: {example}. Give partners the same name, or train without pairs: --method cyclegan",
            "training on pairs needs each picture in both {first} and {second} under the same name, but {n} are only "
            "in one, e.g. {example}. Give partners the same name, or train without pairs: --method cyclegan",
            len(lonely), first=first, second=second, example=lonely[0],
        )  # fmt: skip
    return [list(a.values()), [b[stem] for stem in a]]
