"""Moves training pictures of a folder into its test split, where a data set has none yet."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cyclegan.data.contents import counted
from cyclegan.data.domains import Files, Splits, short_name
from cyclegan.errors import DataError, ImageError
from cyclegan.images import open_image

__all__ = ["Moved", "move_tests", "resemble_neighbours", "show_one_scene", "test_part"]

PAIRS, SIDE = 40, 16
NEAR = 0.6
"""Neighbours that differ by less than so much of what other pictures do are frames of a video: those of CamVid's drives
by 0.24 to 0.49, photos and maps of seven data sets by 0.71 to 1.05."""
ONE_SCENE = 0.4
"""Test pictures that differ by less than so much of what the domain's do show little of it."""


def test_part(part: str) -> str:
    """Return the name of the folder for tests next to one of training pictures: trainA → testA, day → test/day."""
    return f"test{part[5:]}" if re.match(r"train([ab]?$|/)", part, re.IGNORECASE) else f"test/{part}"


def resemble_neighbours(paths: Sequence[Path]) -> bool:
    """Return whether pictures look like those that follow them by name, as frames of a video do.

    Up to PAIRS of neighbours are compared with as many pairs of pictures that are far apart, as SIDE² grey levels.
    """
    near, far = _difference(paths, 1), _difference(paths, len(paths) // 2)
    return len(paths) >= 10 and near is not None and far is not None and near < NEAR * far


def show_one_scene(paths: Sequence[Path], all_of_them: Sequence[Path]) -> bool:
    """Return whether some pictures differ from each other far less than the domain's: the frames of a standstill."""
    here, far = _difference(paths, len(paths) // 2), _difference(all_of_them, len(all_of_them) // 2)
    return len(paths) > 1 and here is not None and far is not None and here < ONE_SCENE * far


def _difference(paths: Sequence[Path], step: int) -> float | None:
    """Return the median difference of pictures that are `step` apart, in grey levels; None if none can be read."""
    found, count = [], len(paths)
    last = count - 2 if step == 1 else count - 1  # The last one has no neighbour after it.
    for place in np.unique(np.linspace(0, last, PAIRS).astype(int)).tolist() if step and last >= 0 else ():
        with contextlib.suppress(ImageError):  # Named by the training.
            found.append(np.abs(_small(paths[place]) - _small(paths[(place + step) % count])).mean())
    return float(np.median(found)) if found else None


def _small(path: Path) -> np.ndarray:
    return np.asarray(open_image(path).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), float)


@dataclass(frozen=True)
class Moved:
    """Pictures of a folder that have become test pictures."""

    count: int
    folder: Path
    one_scene: bool
    """True if they show almost one scene."""


def move_tests(
    splits: Splits, dataset: str, *, every: int = 10, together: bool | None = None
) -> dict[str, Moved]:
    """Move training pictures, and their label maps, into the folders of test pictures; nothing is overwritten.

    Args:
        splits: the data set, with files and without test pictures.
        dataset: its folder, in messages.
        every: one picture of so many.
        together: the last ones by name, instead of every Nth: for the frames of a video, which resemble their
            neighbours. None: every Nth, unless the pictures do.

    Returns:
        By folder of training pictures, what was moved.

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
        target, one_scene = _root(paths[0], part) / test_part(part), show_one_scene(paths, domains[part].paths)
        maps = domains[part].maps
        for path in paths:
            _move(path, target)
            if maps is not None and maps.files and path.stem in maps.files:
                _move(maps.files[path.stem], maps.folder.parents[len(Path(part).parts) - 1] / test_part(part))
        moved[part] = Moved(len(paths), target, one_scene)
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
        if path.is_symlink():  # A relative one would lead nowhere from there.
            target.symlink_to(path.resolve())
            path.unlink()
        else:
            path.rename(target)
    except OSError as error:
        raise DataError(
            "{picture} can't be moved to {folder} ({reason}): what was moved before it stays there",
            picture=short_name(path), folder=folder, reason=error,
        ) from error  # fmt: skip
