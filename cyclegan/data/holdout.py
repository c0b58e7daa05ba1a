"""Moves training pictures of a folder into its test split, where a data set has none yet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cyclegan.data.contents import counted
from cyclegan.data.domains import Files, Splits, short_name
from cyclegan.errors import DataError

__all__ = ["move_tests", "test_part"]


def test_part(part: str) -> str:
    """Return the name of the folder for tests next to one of training pictures: trainA → testA, day → test/day."""
    return f"test{part[5:]}" if part.lower().startswith("train") else f"test/{part}"


def move_tests(splits: Splits, dataset: str, *, every: int = 10, together: bool = False) -> dict[str, tuple[int, Path]]:
    """Move training pictures, and their label maps, into the folders of test pictures; nothing is overwritten.

    Args:
        splits: the data set, with files and without test pictures.
        dataset: its folder, in messages.
        every: one picture of so many.
        together: the last ones by name, instead of every Nth: for the frames of a video, which resemble their
            neighbours.

    Returns:
        By folder of training pictures, the number that was moved, and the folder in which they are now.

    Raises:
        DataError: the pictures aren't files in folders, there are test pictures already, there are too few, or they
            can't be moved.
    """
    domains = {domain.part: domain for domain in (splits.train_a, splits.train_b)}  # One where pairs share a folder.
    if splits.test_a is not None or splits.test_b is not None:
        raise DataError("{dataset} has test pictures already, so nothing was moved", dataset=dataset)
    plan: dict[str, list[Path]] = {}
    for part, domain in domains.items():
        if not isinstance(domain, Files) or "(" in part:
            raise DataError(
                "{dataset} doesn't hold its pictures in a folder for each domain, so they can't be moved: give it a "
                "split called test",
                dataset=dataset,
            )  # fmt: skip
        plan[part] = _chosen(sorted(set(domain.paths)), every, together)
        if not plan[part]:
            raise DataError(
                "{part} has only {pictures}, fewer than --every {every}: add some, or give a smaller --every",
                part=part, pictures=counted(len(domain)), every=every,
            )  # fmt: skip
    moved = {}
    for part, paths in plan.items():
        target = _root(paths[0], part) / test_part(part)
        maps = domains[part].maps
        for path in paths:
            _move(path, target)
            if maps is not None and maps.files and path.stem in maps.files:
                _move(maps.files[path.stem], maps.folder.parents[len(Path(part).parts) - 1] / test_part(part))
        moved[part] = len(paths), target
    return moved


def _root(path: Path, part: str) -> Path:
    """Return the data set's folder, of one of its pictures."""
    return path.parents[len(Path(part).parts)]


def _chosen(paths: Sequence[Path], every: int, together: bool) -> list[Path]:
    count = len(paths) // every
    return list(paths[len(paths) - count :]) if together else list(paths[every - 1 :: every])


def _move(path: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / path.name
        if target.exists():
            raise FileExistsError(17, "File exists")
        path.rename(target)
    except OSError as error:
        raise DataError(
            "{picture} can't be moved to {folder} ({reason}): what was moved before it stays there",
            picture=short_name(path), folder=folder, reason=error,
        ) from error  # fmt: skip
