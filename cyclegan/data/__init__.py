"""Data sets: folders, side-by-side pairs, Hub data sets, and the built-in streets and phantoms, behind one `open_data`.

Importing this loads neither torch nor datasets; opening a data set loads what it needs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from cyclegan.config import DataConfig
from cyclegan.data.contents import ARCHIVES, advice, counted, look_into, subfolders, top_folder
from cyclegan.data.domains import (
    LAYOUTS,
    Domain,
    Splits,
    drawn_names,
    is_drawn,
    is_phantoms,
    is_streets,
    no_folder,
    open_phantoms,
    open_streets,
    with_labels,
)
from cyclegan.data.labels import find_labelling
from cyclegan.data.loader import Data
from cyclegan.data.metadata import find_labels, open_labelled
from cyclegan.data.paired import open_pairs
from cyclegan.data.streams import StreamedData, open_stream
from cyclegan.data.tables import has_table, open_table
from cyclegan.data.unpaired import class_folders, is_split, no_pictures, open_classes, open_folders
from cyclegan.errors import DataError, Message, UserError, message
from cyclegan.files import name_alone
from cyclegan.images import IMAGE_SUFFIXES

__all__ = [
    "Data", "DataError", "Domain", "about_domains", "find_data", "make_data", "name_domains", "open_data",
    "open_folder",
]  # fmt: skip

# Ids of the Hub; a folder of any other name is never requested there.
_HUB_ID = re.compile(r"(?a:\w[\w.-]*/\w[\w.-]*)(:[\w.-]+)?")


def open_data(
    config: DataConfig, *, seed: int, multiple: int = 4, paired: bool = False, progress: bool = True,
    local_processes: int = 1, frames_within: Mapping[str, int] | None = None,
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
        frames_within: batches also have the next frames of these domains' recordings, which are at most so many
            milliseconds later, e.g. {"a": 250}.

    Raises:
        DataError: not found, not understood, empty, or with unreadable pictures (all in one message); or without the
            next frames that are wanted.
    """
    splits = find_data(config, paired=paired)
    return make_data(
        splits, config, seed=seed, multiple=multiple, paired=paired, progress=progress,
        local_processes=local_processes, frames_within=frames_within,
    )  # fmt: skip


def make_data(
    splits: Splits, config: DataConfig, *, seed: int, multiple: int, paired: bool = False, progress: bool = True,
    local_processes: int = 1, frames_within: Mapping[str, int] | None = None,
) -> Data:
    """Return a data set that `find_data` found, checked and ready to train on; see `open_data`."""
    options = {"seed": seed, "multiple": multiple, "progress": progress, "local_processes": local_processes,
               "frames_within": frames_within}  # fmt: skip
    if config.stream:
        return StreamedData(splits, config, **options)
    return Data(splits, config, paired=paired, **options)


def find_data(config: DataConfig, *, paired: bool = False) -> Splits:
    """Find the data set that `config.dataset` names, opening at most the headers of some. A folder wins over a Hub id.

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
    if config.stream:
        return open_stream(config, paired=paired, is_hub_id=bool(_HUB_ID.fullmatch(text)))
    if text and is_folder:
        return with_labels(open_folder(root, names, paired=paired), find_labelling(root))
    if is_file:
        return _open_file(root, text, names, paired)
    if is_streets(text):
        return open_streets(text, names, paired=paired)
    if is_phantoms(text):
        return open_phantoms(text, names, paired=paired)
    if any(sign in text for sign in "*?["):
        raise _explained(message(
            "{text!r} is a pattern, but --dataset takes one folder: give the folder that holds trainA and trainB",
            text=text,
        ))  # fmt: skip
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


def name_domains(config: DataConfig) -> DataConfig:
    """Return the settings with the domains named as the data set names them, where the person chose no name.

    Two folders such as train/horse and train/zebra have names, and so have the two values of a label in metadata.csv,
    and what is drawn by code.

    Raises:
        DataError: a folder can't be listed, or its metadata can't be read.
    """
    default, text = DataConfig(), config.dataset.strip()
    if config.stream:
        return config
    chosen = config.domain_a != default.domain_a and config.domain_b != default.domain_b
    try:
        root = Path(text).expanduser()
        if is_drawn(text) and not root.is_dir():
            return _with_names(config, *drawn_names(text))
        if chosen or not text or not root.is_dir() or {"traina", "trainb"} & set(subfolders(root)) or has_table(root):
            return config
    except (OSError, RuntimeError, ValueError, DataError):  # `find_data` explains it.
        return config
    if labelled := find_labels(root):
        a, b = labelled.values
    elif classes := class_folders(root):
        a, b = (folder.name for folder in classes)
    else:
        return config
    a, b = (os.fsencode(name).decode(errors="replace") for name in (a, b))  # Of any encoding on the disk.
    return _with_names(config, a, b)


def _with_names(config: DataConfig, a: str, b: str) -> DataConfig:
    """Return the settings with these names of the domains in place of the default ones."""
    default = DataConfig()
    return dataclasses.replace(
        config, domain_a=a if config.domain_a == default.domain_a else config.domain_a,
        domain_b=b if config.domain_b == default.domain_b else config.domain_b,
    )  # fmt: skip


def about_domains(trained: DataConfig, dataset: str) -> Message | None:
    """Return a warning where a data set calls its domains otherwise than a run that was trained on another one.

    Args:
        trained: the run's settings.
        dataset: as it is named in place of the run's own.
    """
    default, named = DataConfig(), name_domains(DataConfig(dataset=dataset))
    names = [(config.domain_a, config.domain_b) for config in (default, named, trained)]
    if name_alone(dataset) == name_alone(trained.dataset) or names[1] in (names[0], names[2]) or names[2] == names[0]:
        return None
    return message(
        "warning: {dataset} has {a} and {b}, but the run translates between {domain_a} and {domain_b}: are these its "
        "pictures?", dataset=name_alone(dataset), a=named.domain_a, b=named.domain_b, domain_a=trained.domain_a,
        domain_b=trained.domain_b,
    )  # fmt: skip


def _explained(problem: Message | UserError) -> DataError:
    """Return the error with the known layouts below it, unless a folder's name was mistyped."""
    if "did you mean" in str(problem):
        return DataError(problem.message if isinstance(problem, UserError) else problem)
    return DataError("{problem}.\n{layouts}", problem=problem, layouts=Message(LAYOUTS))


def _open_file(file: Path, text: str, names: tuple[str, str], paired: bool) -> Splits:
    suffix, folder = file.suffix.lower(), file.name.split(".")[0]
    if suffix == ".parquet":
        return open_table(file, names, paired=paired)
    if suffix == ".zip":
        raise _explained(message(
            "{file} is an archive: unpack it with {command}, then use --dataset {folder}",
            file=text, command=shlex.join(["python", "-m", "zipfile", "-e", text, folder]),
            folder=shlex.quote(top_folder(file, folder)),
        ))  # fmt: skip
    if suffix in ARCHIVES:
        raise _explained(message("{file} is an archive: unpack it and give its folder", file=text))
    if suffix in IMAGE_SUFFIXES:
        raise _explained(message("{file} is a picture: give the folder that holds trainA and trainB", file=text))
    raise _explained(message("{file} is a file, not a data set: give a folder", file=text))


def open_folder(root: Path, names: tuple[str, str], *, paired: bool = False) -> Splits:
    """Open the data set in a folder, without its labels.

    Raises:
        DataError: it is in an unknown layout; the message lists the known ones below its first line.
    """
    folders = subfolders(root)
    for kind in ("streets", "phantoms"):
        if paired and (root / f"{kind}.json").is_file():
            raise DataError(
                "{root} was drawn by `python -m cyclegan {kind}`, so equal names are different scenes: for pairs, use "
                "--dataset {kind}:… with the same settings",
                root=root, kind=kind,
            )  # fmt: skip
    if paired and {"traina", "trainb"} <= set(folders):
        return open_folders(root, names, paired=True)  # Other layouts don't help if partners are missing.
    try:
        if {"traina", "trainb"} & set(folders):
            return open_folders(root, names, paired=paired)
        if has_table(root):
            return open_table(root, names, paired=paired)
        if not paired and (labelled := find_labels(root)):
            return open_labelled(labelled, names)
        if classes := class_folders(root):
            return open_classes(root, names, classes, paired=paired)
        if "train" in folders:
            return open_pairs(root, names, paired=paired)
    except DataError as error:
        raise _explained(error) from error
    inner = next((p for p in folders.values() if {"traina", "train"} & set(subfolders(p))), None)
    raise _explained(_not_understood(root, folders, inner or _around(root)))


def _around(root: Path) -> Path | None:
    """Return the data set that a folder is a part of, such as DATA for DATA/trainA and DATA/train/horse, if any."""
    inside = root if root.name else root.absolute()
    for outer in reversed(list(inside.parents)[:2]):  # DATA before DATA/train, which lacks the test pictures.
        with contextlib.suppress(DataError):  # A folder that can't be listed.
            folders, classes = subfolders(outer), class_folders(outer) or ()
            known = {"traina", "trainb"} <= set(folders) or "train" in folders
            if known and is_split(inside.relative_to(outer).parts[0]) or inside in classes:
                return outer
    return None


def _not_understood(root: Path, folders: Mapping[str, Path], inner: Path | None) -> Message:
    """Return the problem with a folder in none of the known layouts: what was found, and what to do with it."""
    contents = look_into(root, deep=False)
    found = [path.name for path in folders.values()][:10]
    found += [message("{pictures} in no folder", pictures=counted(len(contents.pictures)))] if contents.pictures else []
    found += [f"{count} {suffix}" for suffix, count in contents.others.items() if suffix][:10]
    listed = found[0] if found else message("no folder")
    for one in found[1:]:
        listed = message("{first}, {second}", first=listed, second=one)
    if inner is not None:
        return message(
            "{folder} has neither trainA and trainB nor train in it; found in it: {found} (did you mean {inner}?)",
            folder=root, found=listed, inner=inner,
        )  # fmt: skip
    if len(folders) == 2:  # Nearly a folder per domain.
        bare = [each for each in map(look_into, folders.values()) if not each.pictures]
        if len(bare) == 1:
            return no_pictures(bare[0]).message
    problem = message(
        "{folder} has neither trainA and trainB nor train in it; found in it: {found}", folder=root, found=listed
    )
    for sentence in advice(set(contents.others)):
        problem = message("{first}. {second}", first=problem, second=sentence)
    return problem
