"""Files, folders, patterns and zips → the pictures in them, each with the name of its translation."""

from __future__ import annotations

import dataclasses
import functools
import glob
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cyclegan.errors import ConfigError, ImageError, Message, UserError
from cyclegan.files import nearest_folder
from cyclegan.images import is_picture_name, natural_order, pictures_among
from cyclegan.translation.files import Item, find_pictures, is_archive
from cyclegan.translation.pictures import output_names
from cyclegan.translation.tars import is_tar, pictures_in_tar

SUFFIXES_SAID = 6
"""So many suffixes of skipped files are named in a sentence."""


@dataclass(frozen=True)
class Input:
    """A file or folder that a person named, perhaps by a pattern."""

    path: Path
    name: Path
    """The relative path of its translation, without a suffix where it is a folder or a zip."""
    by_pattern: bool = False
    """True if a pattern found it; then a file that isn't a picture is skipped rather than reported as an error."""


@dataclass
class Skipped:
    """Counts of what a folder holds besides the pictures that are taken."""

    suffixes: Counter[str] = field(default_factory=Counter)
    """Files that aren't pictures; "" counts those without a suffix."""
    folders: int = 0
    """Subfolders that weren't walked."""
    hidden: int = 0
    results: bool = False
    """True if the folder of the results is in there."""

    def __str__(self) -> str:
        """The counts in one line, such as "5 .npy, 1 subfolder (--recursive walks it)"; empty for none."""
        common = self.suffixes.most_common(SUFFIXES_SAID)
        parts = [f"{count:,} {suffix or 'without a suffix'}" for suffix, count in common]
        if rest := self.suffixes.total() - sum(count for _, count in common):
            parts.append(f"{rest:,} other files" if rest > 1 else "1 other file")
        if self.folders:
            parts.append(
                f"{self.folders:,} subfolders (--recursive walks them)" if self.folders > 1
                else "1 subfolder (--recursive walks it)"
            )  # fmt: skip
        if self.hidden:
            parts.append(f"{self.hidden:,} hidden" + (" files or folders" if self.hidden > 1 else " file or folder"))
        return ", ".join([*parts, *(["the folder of the results"] if self.results else [])])


@dataclass
class Gathered:
    """The pictures to translate."""

    items: list[Item] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)
    notes: list[Message | UserError] = field(default_factory=list)
    """A sentence for each file in a zip that isn't a picture."""
    failed: list[UserError] = field(default_factory=list)
    """The errors of folders and zips that can't be read."""


def find_inputs(
    texts: Sequence[str | os.PathLike], *, progress: Callable[[int], object] = lambda count: None
) -> list[Input]:
    """Return the files and folders that paths and patterns name, each once.

    A file gives NAME.png. A single folder or zip gives its pictures' own relative paths; of several, each gets a folder
    of its name. What a pattern finds keeps its path below the pattern's plain beginning: `data/*/x.jpg` gives
    `day/x.png` and `night/x.png`.

    Args:
        texts: the paths and patterns.
        progress: called with 1 for each file that is found.

    Raises:
        ConfigError: a path doesn't exist or can't be read, or nothing matches a pattern.
    """
    found: dict[str, Input] = {}
    names: Counter[str] = Counter()
    real = functools.cache(os.path.realpath)  # Of thousands of files, most have the same folder.
    for text in texts:
        path = Path(text)
        if glob.has_magic(str(path)) and not os.path.lexists(path):
            inputs = _matching(path, progress)
        elif os.path.isdir(_readable(path)) or is_archive(path):
            name = _free_name(path, names) if len(texts) > 1 else ""
            inputs = [Input(path, Path(name))]
        else:
            inputs = [Input(path, Path(path.name))]
            progress(1)
        for each in inputs:
            found.setdefault(entry(each.path, real), each)
    return list(found.values())


def listed_inputs(file: Path) -> list[Input]:
    """Return the pictures that a text file names, one in a line; "-" reads standard input.

    A result keeps its picture's path below the folder that all of them share. Nothing is opened here: a picture that
    doesn't exist is one that can't be read.

    Raises:
        ConfigError: the list can't be read, or names nothing.
    """
    try:
        stream = sys.stdin and sys.stdin.buffer  # None where it is closed.
        text = file.read_bytes() if str(file) != "-" else stream.read() if stream else b""
        text = text.removeprefix(b"\xef\xbb\xbf")
        paths = [Path(os.fsdecode(line)) for line in text.splitlines() if line.strip()]
    except OSError as error:
        raise ConfigError(
            "--list {file} can't be read ({reason}): name a text file", file=file, reason=error
        ) from error
    if not paths:
        raise ConfigError("--list {file} names no picture: write one path in each line", file=file)
    if b"\0" in text:
        raise ConfigError("--list {file} isn't a text file: write one path in each line", file=file)
    folders = {os.path.dirname(os.path.abspath(path)) for path in paths}
    shared = os.path.commonpath(folders)
    return [Input(path, Path(os.path.relpath(path, shared))) for path in paths]


def _readable(path: Path) -> Path:
    try:
        os.stat(path)
    except FileNotFoundError as error:
        if (near := nearest_folder(path)) is not None:
            raise ConfigError("--input {input} does not exist (did you mean {near}?)", input=path, near=near) from error
        raise ConfigError(
            "--input {input} does not exist: name a picture, a folder, a zip or a video", input=path
        ) from error
    except OSError as error:
        raise ConfigError("--input {input} can't be read ({reason}): name another", input=path, reason=error) from error
    return path


def _free_name(path: Path, names: Counter[str]) -> str:
    """Return the name of a folder, or a zip's without its suffix; numbered where an earlier one has it."""
    path = Path(os.path.abspath(path))
    name = (path.name if path.is_dir() else path.stem) or "pictures"  # The root has no name.
    names[name.casefold()] += 1
    number = names[name.casefold()]
    return name if number == 1 else f"{name}-{number}"


def _matching(pattern: Path, progress: Callable[[int], object]) -> list[Input]:
    """Return what a pattern finds, in natural order, without hidden files."""
    plain = next(index for index, part in enumerate(pattern.parts) if glob.has_magic(part))
    base = Path(*pattern.parts[:plain])
    try:
        # By pathlib, because its ** doesn't follow links, which may form loops.
        paths = list(base.glob(os.path.join(*pattern.parts[plain:])))
    except (ValueError, NotImplementedError, OSError) as error:
        raise ConfigError(
            "--input {pattern} isn't a valid pattern ({reason}): name the folder", pattern=pattern, reason=error
        ) from error
    inputs = []
    for path in sorted(paths, key=lambda path: natural_order(str(path))):
        name = path.relative_to(base)
        if any(part.startswith(".") for part in name.parts):
            continue
        progress(1)
        inputs.append(Input(path, name.with_suffix("") if is_archive(path) else name, by_pattern=True))
    if not inputs:
        raise ConfigError("nothing matches --input {pattern}: check the folder and the pattern", pattern=pattern)
    return inputs


def entry(path: Path, real: Callable[[Path], str] = os.path.realpath) -> str:
    """Return the path that two ways to name one file share; a file that is a link is not followed.

    Args:
        path: the path.
        real: `os.path.realpath`, perhaps with a memory.
    """
    return os.path.join(real(path.parent), path.name) if path.name else real(path)


def gather(
    inputs: Sequence[Input], *, recursive: bool, reconstruct: bool, output: Path,
    progress: Callable[[int], object] = lambda count: None,
) -> Gathered:
    """Return the pictures that inputs name or hold, each once, with distinct names of their translations.

    Args:
        inputs: from `find_inputs`.
        recursive: walk subfolders, too.
        reconstruct: NAME_rec.png is written for each, too.
        output: the folder of the results, which is not walked.
        progress: called with 1 for each input.
    """
    gathered, seen, real = Gathered(), set(), functools.cache(os.path.realpath)
    found: list[tuple[Item, str]] = []  # With its name as text, because paths of millions are slow and large.
    for each in inputs:
        progress(1)
        if each.by_pattern and _is_result(each, real(output), real):
            gathered.skipped.results = True
        elif os.path.isdir(each.path):
            for path, name in _walk(each.path, recursive, output, gathered):
                found.append((Item(path, None, str(path), ""), _below(each.name, name)))
        elif is_archive(each.path):
            try:
                for item in _packed(each.path, gathered):
                    found.append((item, _below(each.name, item.target)))
            except ImageError as error:
                gathered.failed.append(error)  # Of a tar, what comes before the damage is taken.
        elif each.by_pattern and not is_picture_name(each.path.name):
            gathered.skipped.suffixes[each.path.suffix] += 1
        else:
            found.append((Item(each.path, None, str(each.path), ""), each.name.as_posix()))
    once = []
    for item, name in found:
        inside = item.offset if item.member is None else item.member.header_offset
        key = (entry(item.path, real), inside)
        if key not in seen:
            seen.add(key)
            once.append((item, name))
    names = output_names([name for _, name in once], reconstruct=reconstruct)
    gathered.items = [dataclasses.replace(item, target=name) for (item, _), name in zip(once, names, strict=True)]
    return gathered


def _below(folder: Path, name: str) -> str:
    """Return a relative path in a folder, with slashes."""
    return f"{folder.as_posix()}/{name}" if folder.parts else name


def _packed(path: Path, gathered: Gathered) -> Iterator[Item]:
    """Yield the pictures in a zip or a tar, each with its path in there as the target. Raises ImageError."""
    if is_tar(path):
        yield from pictures_in_tar(path, gathered.skipped.suffixes)
    else:
        zipped = find_pictures([path])
        gathered.notes += zipped.left_out
        yield from zipped.items


def _is_result(each: Input, output: str, real: Callable[[Path], str]) -> bool:
    """Return whether a pattern has found the folder of the results, or a file in it, within what it searches."""
    if not each.name.parts:  # The current folder, by `**`.
        return False
    base = real(each.path.parents[len(each.name.parts) - 1])
    path = os.path.realpath(each.path) if os.path.islink(each.path) else entry(each.path, real)
    return Path(path).is_relative_to(output) and not Path(base).is_relative_to(output)


def _walk(root: Path, recursive: bool, output: Path, gathered: Gathered) -> Iterator[tuple[Path, str]]:
    """Yield a folder's pictures, with their paths in there, in natural order, then its subfolders'; count the rest.

    A link to a folder within `root`, or around the link itself, isn't followed, so no picture comes twice.
    """
    real_root, real_output, skipped = Path(os.path.realpath(root)), os.path.realpath(output), gathered.skipped
    todo, seen = [(root, "")], {str(real_root)}
    while todo:
        folder, above = todo.pop()
        try:
            with os.scandir(folder) as entries:
                folders = {each.name: os.path.isdir(each) if each.is_symlink() else each.is_dir() for each in entries}
            names = sorted(folders, key=natural_order)
        except OSError as error:
            gathered.failed.append(ImageError(
                "{folder} can't be listed ({reason}): give a folder that can be read", folder=folder, reason=error
            ))  # fmt: skip
            continue
        below, pictures = [], set(pictures_among(names))
        for name in names:
            if name.startswith("."):
                skipped.hidden += 1
                continue
            if not folders[name]:
                if name in pictures:
                    yield folder / name, above + name
                else:
                    skipped.suffixes[Path(name).suffix] += 1
                continue
            path = folder / name
            if (real := os.path.realpath(path)) == real_output:
                skipped.results = True
            elif not recursive:
                skipped.folders += 1
            elif real not in seen and not (os.path.islink(path) and _is_loop(Path(real), folder, real_root)):
                seen.add(real)
                below.append((path, f"{above}{name}/"))
        todo += reversed(below)


def _is_loop(target: Path, folder: Path, root: Path) -> bool:
    """Return whether a link in `folder` leads to a folder that is walked anyway, or around it."""
    return target.is_relative_to(root) or Path(os.path.realpath(folder)).is_relative_to(target)
