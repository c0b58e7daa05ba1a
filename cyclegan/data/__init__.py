"""Data sets: folders, side-by-side pairs, Hub data sets and the built-in streets, behind one `open_data`.

Importing this loads neither torch nor datasets; opening a data set loads what it needs.
"""

from __future__ import annotations

import re
from pathlib import Path

from cyclegan.config import DataConfig
from cyclegan.data.domains import LAYOUTS, Domain, Splits, no_folder, open_streets
from cyclegan.data.loader import Data
from cyclegan.data.paired import open_pairs
from cyclegan.data.unpaired import open_folders, subfolders
from cyclegan.errors import DataError, Message, UserError, message

__all__ = ["Data", "DataError", "Domain", "find_data", "open_data"]

# Ids of the Hub; a folder of any other name is never requested there.
_HUB_ID = re.compile(r"(?a:\w[\w.-]*/\w[\w.-]*)(:[\w.-]+)?")


def open_data(
    config: DataConfig, *, seed: int, multiple: int = 4, paired: bool = False, progress: bool = True,
    local_processes: int = 1,
) -> Data:
    """Find, check and cache a data set.

    Every training and test picture is decoded once, which finds damaged files before hours of training, and fills the
    cache. The cache holds decoded pictures at the size before the random crop, as uint8, up to `config.cache_mb` MiB
    (width × height × 3 bytes per picture, both domains together; nothing else counts).

    Args:
        config: `dataset`, and the preparation of pictures.
        seed: of order, crops and mirroring.
        multiple: sides are rounded to it where `preprocess` keeps the picture's own shape.
        paired: yield pairs (same scene, same crop). Needs a data set with known pairs.
        progress: show progress bars, on stderr, and warn about pictures that are left out. Set it in one process of
            several.
        local_processes: training processes on this machine. Each keeps a cache of its own, so `cache_mb` and the
            processors for workers are divided by it.

    Raises:
        DataError: not found, not understood, empty, or with unreadable pictures (all in one message).
    """
    splits = find_data(config, paired=paired)
    return Data(
        splits, config, seed=seed, multiple=multiple, paired=paired, progress=progress,
        local_processes=local_processes,
    )


def find_data(config: DataConfig, *, paired: bool = False) -> Splits:
    """Find the data set that `config.dataset` names, without opening a picture. A folder wins over a Hub id.

    Raises:
        DataError: not found, or in an unknown layout; the message lists the known ones below its first line.
    """
    text, names = config.dataset.strip(), (config.domain_a, config.domain_b)
    try:
        root = Path(text).expanduser()
        is_folder, is_file = root.is_dir(), root.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        raise _explained(
            message("--dataset {text!r} isn't a valid folder name ({reason})", text=text[:80], reason=error)
        ) from error
    if text and is_folder:
        return _open_folder(root, names, paired)
    if is_file:
        raise _explained(message("{file} is a file, not a data set: unpack it if it is an archive", file=text))
    if text == "streets" or text.startswith("streets:"):
        return open_streets(text, names, paired=paired)
    if not _HUB_ID.fullmatch(text):
        raise _explained(message("{missing}, and it isn't the id of a data set on the Hub", missing=no_folder(text)))
    # If a folder of the first name is here, a missing second one is a slip rather than a request to the Hub.
    if root.parent.is_dir():
        missing, parent = no_folder(text), root.parent
        raise _explained(
            message("{missing}, and the Hub is not asked, as {parent} is a folder here", missing=missing, parent=parent)
        )
    from cyclegan.data.hub import open_hub

    return open_hub(text, names, paired=paired)


def _explained(problem: Message | UserError) -> DataError:
    """Return the error with the known layouts below it."""
    return DataError("{problem}.\n{layouts}", problem=problem, layouts=LAYOUTS)


def _open_folder(root: Path, names: tuple[str, str], paired: bool) -> Splits:
    folders = subfolders(root)
    try:
        if "traina" in folders or "trainb" in folders:
            return open_folders(root, names, paired=paired)
        if "train" in folders:
            return open_pairs(root, names)
    except DataError as error:
        raise _explained(error) from error
    found = ", ".join(sorted(p.name for p in folders.values())[:10]) or message("no folder")
    inner = next((p for p in folders.values() if {"traina", "train"} & set(subfolders(p))), None)
    if inner is None:
        problem = message(
            "{folder} has neither trainA and trainB nor train in it; found in it: {found}", folder=root, found=found
        )
    else:
        problem = message(
            "{folder} has neither trainA and trainB nor train in it; found in it: {found} (did you mean {inner}?)",
            folder=root, found=found, inner=inner,
        )  # fmt: skip
    raise _explained(problem)
