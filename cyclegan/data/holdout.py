"""Moves training pictures of a folder into its test split, where a data set has none yet."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cyclegan.data.contents import counted
from cyclegan.data.domains import Files, Splits, short_name
from cyclegan.errors import DataError, ImageError
from cyclegan.images import open_image

__all__ = ["move_tests", "resemble_neighbours", "test_part"]

PAIRS, SIDE = 40, 16
NEAR = 0.6
"""Neighbours that differ by less than so much of what other pictures do are frames of a video: those of CamVid's drives
by 0.24 to 0.49, photos and maps of seven data sets by 0.71 to 1.05."""


def test_part(part: str) -> str:
    """Return the name of the folder for tests next to one of training pictures: trainA → testA, day → test/day."""
    return f"test{part[5:]}" if part.lower().startswith("train") else f"test/{part}"


def resemble_neighbours(paths: Sequence[Path]) -> bool:
    """Return whether pictures look like those that follow them by name, as frames of a video do.

    Up to PAIRS of neighbours are compared with as many pairs of pictures that are far apart, as SIDE² grey levels.
    """
    count = len(paths)
    if count < 10:
        return False
    near, far = [], []
    for place in np.unique(np.linspace(0, count - 2, PAIRS).astype(int)).tolist():
        with contextlib.suppress(ImageError):  # Named by the training.
            here, after, other = (_small(paths[at % count]) for at in (place, place + 1, place + count // 2))
            near.append(np.abs(here - after).mean())
            far.append(np.abs(here - other).mean())
    return bool(near) and float(np.median(near)) < NEAR * float(np.median(far))


def _small(path: Path) -> np.ndarray:
    return np.asarray(open_image(path).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), float)


def move_tests(
    splits: Splits, dataset: str, *, every: int = 10, together: bool | None = None
) -> dict[str, tuple[int, Path]]:
    """Move training pictures, and their label maps, into the folders of test pictures; nothing is overwritten.

    Args:
        splits: the data set, with files and without test pictures.
        dataset: its folder, in messages.
        every: one picture of so many.
        together: the last ones by name, instead of every Nth: for the frames of a video, which resemble their
            neighbours. None: every Nth, unless the pictures do.

    Returns:
        By folder of training pictures, the number that was moved, and the folder in which they are now.

    Raises:
        DataError: the pictures aren't files in folders, there are test pictures already, there are too few, they
            resemble their neighbours and `together` is None, or they can't be moved.
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
        paths = sorted(set(domain.paths))
        if together is None and resemble_neighbours(paths):
            raise DataError(
                "the pictures of {part} resemble their neighbours by name, as frames of a video do, so every {every}th "
                "would be known from training: add --together to move the last ones, or --spread if they are no frames",
                part=part, every=every,
            )  # fmt: skip
        plan[part] = _chosen(paths, every, bool(together))
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
