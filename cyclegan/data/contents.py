"""The files in a data set's folders: how many are pictures, and the words for whatever isn't used."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cyclegan.errors import DataError, ImageError, Message, message, reason_of
from cyclegan.images import is_picture_name, list_images

__all__ = [
    "ARCHIVES", "Contents", "advice", "counted", "has_pictures", "look_into", "pictures_in", "subfolders",
    "top_folder",
]  # fmt: skip

ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".xz", ".txz", ".zst", ".7z", ".rar"})
_RAW = frozenset({
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".kdc", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf",
    ".raw", ".rw2", ".sr2", ".srw", ".x3f",
})  # fmt: skip
_VIDEO = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
# Nobody expects these to be pictures.
_NO_WONDER = frozenset({
    ".txt", ".md", ".rst", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".toml", ".html", ".htm", ".log",
    ".ini", ".cfg", ".db", ".url", ".lnk", ".md5", ".sha1", ".sha256", ".py", ".sh", ".ipynb", ".aae", ".xmp", ".pp3",
    ".part", ".crdownload", ".tmp", ".lock",
})  # fmt: skip
_NO_WONDER_NAMES = frozenset({"readme", "license", "licence", "copying", "authors", "changelog", "makefile"})
_SPLITS = frozenset({"train", "trainA", "trainB"})
_MOST_KINDS = 6


@dataclass(frozen=True)
class Contents:
    """The contents of one folder. Hidden files, texts and the system's own files are left out."""

    folder: Path
    pictures: list[Path]
    """The pictures directly in it, in natural order."""
    others: dict[str, int]
    """The number of other files directly in it, by suffix as it is spelled; most frequent first."""
    nested: int
    """The number of pictures in its subfolders, at any depth."""
    folders: int
    """The number of subfolders with pictures, at any depth."""

    @property
    def unused(self) -> Message | str:
        """Return the counts of whatever isn't used, such as "5 .npy, 3 pictures in 1 subfolder"; empty if nothing."""
        shown, rest = list(self.others.items())[:_MOST_KINDS], list(self.others.values())[_MOST_KINDS:]
        files: Message | str = ", ".join(f"{count} {suffix}" for suffix, count in shown if suffix)
        if bare := dict(shown).get(""):
            files = _listed(files, message("{count} without a suffix", count=bare))
        if rest:
            files = _listed(files, message("{n} other", "{n} others", sum(rest)))
        if not self.nested:
            return files
        where = message("{n} subfolder", "{n} subfolders", self.folders)
        nested = message("{pictures} in {folders}", pictures=counted(self.nested), folders=where)
        if self.pictures:
            name = self.folder.name
            nested = message("{nested} (move them up into {folder} to use them)", nested=nested, folder=name)
        return _listed(files, nested)


def _listed(first: Message | str, second: Message | str) -> Message | str:
    return message("{first}, {second}", first=first, second=second) if first else second


def counted(count: int) -> Message:
    """Return "1 picture", "2 pictures"."""
    return message("{n} picture", "{n} pictures", count)


def look_into(folder: Path, *, deep: bool = True) -> Contents:
    """Return the contents of a folder; nothing is opened.

    Args:
        deep: also count the pictures in its subfolders, except in those that are links.

    Raises:
        DataError: the folder can't be listed.
    """
    pictures = pictures_in(folder)
    used = set(pictures)
    others: Counter[str] = Counter()
    for path in _visible(folder):
        suffix = path.suffix.lower()
        boring = suffix in _NO_WONDER or (not suffix and path.name.lower() in _NO_WONDER_NAMES)
        if path not in used and not boring and path.is_file():
            others[path.suffix] += 1
    nested = [
        sum(map(is_picture_name, names))
        for inner in (subfolders(folder).values() if deep else ()) if not inner.is_symlink()
        for _, _, names in os.walk(inner)
    ]  # fmt: skip
    ordered = dict(sorted(others.items(), key=lambda item: (-item[1], item[0].lower())))
    return Contents(folder, pictures, ordered, sum(nested), sum(count > 0 for count in nested))


def top_folder(archive: Path, into: str) -> str:
    """Return the folder that will hold a zip's data set once it is unpacked into the folder `into`.

    Archives often have one folder that holds all the rest.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            listed = [PurePosixPath(name).parts for name in file.namelist()]
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):  # Whoever unpacks it will see.
        return into
    paths = [parts for parts in listed if parts and not any(part[0] == "." or part == "__MACOSX" for part in parts)]
    found = PurePosixPath(into)
    while len(tops := {parts[0] for parts in paths}) == 1 and not tops & _SPLITS:
        inner = [parts[1:] for parts in paths if len(parts) > 1]
        if not inner:  # One file.
            break
        paths, found = inner, found / tops.pop()
    return str(found)


def advice(suffixes: set[str]) -> list[Message]:
    """Return how to turn files with these suffixes into pictures, a sentence for each kind that is known."""
    suffixes = {suffix.lower() for suffix in suffixes}
    converted = (
        (_RAW, message("Develop a camera's RAW files to JPEG, for example with darktable-cli or rawpy")),
    )
    others = (
        (_VIDEO, message("Write a video's frames as pictures with: python -m cyclegan frames")),
        ({".tar"}, message("Train on tars as they are with --stream, or unpack them first")),
        (ARCHIVES - {".tar"}, message("Unpack archives first")),
    )
    found, more = ([way for kinds, way in ways if kinds & suffixes] for ways in (converted, others))
    return [*found, *([message("docs/data.md has the lines to type")] if found else []), *more]


def has_pictures(folder: Path) -> bool:
    """Return True if there are pictures directly in a folder. Raises DataError if it can't be listed."""
    return any(is_picture_name(path.name) and not path.is_dir() for path in _visible(folder))


def subfolders(root: Path) -> dict[str, Path]:
    """Return the visible folders inside a folder, by lower-case name.

    Raises:
        DataError: the folder can't be listed.
    """
    return {path.name.lower(): path for path in sorted(_visible(root)) if path.is_dir() and path.name != "__MACOSX"}


def pictures_in(folder: Path | None) -> list[Path]:
    """Return the pictures in a folder, in natural order; none for None.

    Raises:
        DataError: the folder can't be listed.
    """
    try:
        return list_images(folder) if folder else []
    except ImageError as error:
        raise DataError(error.message) from error


def _visible(folder: Path) -> Iterator[Path]:
    try:
        return iter([path for path in folder.iterdir() if path.name[0] != "."])
    except OSError as error:
        raise DataError(
            "{folder} can't be listed ({reason}): give a folder that can be read",
            folder=folder, reason=reason_of(error),
        ) from error  # fmt: skip
