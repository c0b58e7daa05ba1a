"""Many pictures, in files and zips → one zip of their translations.

A stranger's zip is read with care: nothing is unpacked to disk, names are made harmless, sizes are bounded by what
is declared and by what comes out, and one bad file stops no other.
"""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
import uuid
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from cyclegan.config import Direction
from cyclegan.errors import ImageError
from cyclegan.images import IMAGE_SUFFIXES, natural_order, open_image
from cyclegan.translation.translator import Translator, save_png, working_size

LEFT_OUT = "left_out.txt"
"""In the result: which files were left out, and why."""
MAX_ENTRIES = 20_000
"""Of a zip; its list alone takes memory, hundreds of megabytes where a hostile one names a million files."""
MAX_PICTURE_BYTES = 200 * 2**20
"""Of one unpacked file. `open_image` takes at most 50 megapixels, whatever it is packed in."""
MAX_UNPACKED_BYTES = 8 * 2**30
"""Of one zip's pictures together."""
# Pixels of pictures that are held at once, when several go through the networks together.
MAX_HELD_PIXELS = 32_000_000
MAX_PART_BYTES, MAX_PARTS = 100, 8

_ARCHIVES = {".7z", ".bz2", ".gz", ".rar", ".tar", ".tbz", ".tgz", ".txz", ".xz", ".zst"}
_NOT_IN_NAMES = re.compile(r'[<>:"|?*]')
_DRIVE = re.compile(r"[A-Za-z]:")
_WINDOWS = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
_SYSTEMS_OWN = {"__macosx", "thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Item:
    """A file that may be a picture."""

    path: Path
    member: zipfile.ZipInfo | None
    """Where it is within the zip at `path`; None: it is `path` itself."""
    shown: str
    """What messages call it."""
    target: str
    """The name of its translation in the result, relative, with slashes."""


@dataclass(frozen=True)
class Found:
    """What there is to translate."""

    items: list[Item]
    left_out: list[str]
    """For each file that is none of them a sentence with its name."""


@dataclass(frozen=True)
class FilesTranslation:
    """What became of many files."""

    done: int
    """Pictures translated and written."""
    left_out: list[str]
    """For each file that was left out a sentence with its name."""


# --- what there is ------------------------------------------------------------------------------------------


def find_pictures(files: Sequence[Path]) -> Found:
    """What may be pictures among files and within zips, in natural order.

    A translation keeps the name and, within a zip, the folder; of several zips each has a folder of its name. Names
    that file systems can't hold, or that lead elsewhere, are changed, and those that differ in case only are numbered.
    Hidden files are passed over; zips within zips are not opened.

    Raises:
        ImageError: a zip is damaged or encrypted, or holds more than MAX_ENTRIES or MAX_UNPACKED_BYTES.
    """
    found: list[tuple[Path, zipfile.ZipInfo | None, str, list[str]]] = []
    left_out: list[str] = []
    zips = [path for path in files if _is_zip(path)]
    for path in sorted(files, key=lambda path: natural_order(path.name)):
        if path not in zips:
            if path.suffix.lower() in _ARCHIVES:
                left_out.append(f"{path.name} is an archive that is not opened here: pack its pictures as .zip")
            else:
                found.append((path, None, path.name, [path.name]))
            continue
        folder = [path.stem] if len(zips) > 1 else []
        members = [(_name_in(info), info) for info in _members(path)]
        for name, info in sorted(members, key=lambda pair: natural_order(pair[0])):
            parts = re.split(r"[/\\]", name)
            if info.is_dir() or any(part.startswith(".") and part.strip(".") for part in parts) or any(
                part.lower() in _SYSTEMS_OWN for part in parts
            ):
                continue
            shown, suffix = _printable(name), Path(parts[-1]).suffix.lower()
            if suffix == ".zip" or suffix in _ARCHIVES:
                left_out.append(f"{shown} is an archive within {path.name}, which is not opened: unpack it first")
            elif suffix and suffix not in IMAGE_SUFFIXES:
                left_out.append(f"{shown} is not a picture")
            elif info.file_size > MAX_PICTURE_BYTES:
                left_out.append(_too_large(shown))
            else:
                found.append((path, info, shown, [*folder, *parts]))
    names = _targets([parts for *_, parts in found])
    return Found([Item(*item[:3], name) for item, name in zip(found, names, strict=True)], left_out)


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip" or (not path.suffix and zipfile.is_zipfile(path))


def _members(path: Path) -> list[zipfile.ZipInfo]:
    """A zip's list, once its size is known to be bearable."""
    try:
        if _entries_at_most(path) > MAX_ENTRIES:
            raise ImageError(
                "{name} lists more than {MAX_ENTRIES:,} files: send its pictures in parts",
                name=path.name, MAX_ENTRIES=MAX_ENTRIES,
            )
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except ImageError:
        raise
    except Exception as error:  # The library raises nearly anything at a damaged file.
        raise ImageError("{name} is damaged or no zip: pack it again", name=path.name) from error
    if any(info.flag_bits & 1 for info in members):
        raise ImageError("{name} is encrypted: pack it without a password", name=path.name)
    if sum(info.file_size for info in members) > MAX_UNPACKED_BYTES:
        raise ImageError(
            "{name} has more than {MAX_UNPACKED_BYTES} GB unpacked: send its pictures in parts",
            name=path.name, MAX_UNPACKED_BYTES=MAX_UNPACKED_BYTES // 2 ** 30,
        )
    return members


def _entries_at_most(path: Path) -> int:
    """How often a zip's bytes announce a file: no fewer than its list is long."""
    count, rest = 0, b""
    with open(path, "rb") as stream:
        while block := stream.read(2**20):
            count += (rest + block).count(b"PK\x01\x02")
            rest = block[-3:]
    return count


def _name_in(info: zipfile.ZipInfo) -> str:
    """A member's name; where it doesn't say in which encoding, UTF-8 and Korean Windows' are tried."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        for encoding in ("utf-8", "cp949"):
            with contextlib.suppress(UnicodeError):
                return name.encode("cp437").decode(encoding)
    return name


def _printable(name: str) -> str:
    return "".join(c for c in name if c.isprintable())[:200]


def _targets(paths: Sequence[Sequence[str]]) -> list[str]:
    """For each file's folders and name a harmless relative name ending in .png; no two alike on any system."""
    clean = [_harmless(parts) for parts in paths]
    folders = {_folded("/".join(parts[:depth])) for parts in clean for depth in range(1, len(parts))}
    taken = set(folders)
    names = []
    numbers: dict[str, int] = {}  # To go on from, or many files of one name would each count from 1.
    for parts in clean:
        stem = "/".join([*parts[:-1], _stem(parts[-1])])
        number = numbers.get(_folded(stem), 1)
        while _folded(name := f"{stem}.png" if number == 1 else f"{stem}-{number}.png") in taken:
            number += 1
        taken.add(_folded(name))
        numbers[_folded(stem)] = number + 1
        names.append(name)
    return names


def _stem(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else name


def _folded(name: str) -> str:
    """What names have in common that some file system takes for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _harmless(parts: Sequence[str]) -> list[str]:
    """Parts of a path that no system reads as anything but names below a folder."""
    kept = []
    for part in parts:
        part = "".join(c for c in _DRIVE.sub("", part, count=1) if c.isprintable())
        part = _NOT_IN_NAMES.sub("_", part.replace("/", "_").replace("\\", "_")).strip(" .")
        stem, suffix = os.path.splitext(part)
        part = stem.encode()[: MAX_PART_BYTES - len(suffix.encode())].decode(errors="ignore") + suffix
        if part:
            kept.append(f"_{part}" if _WINDOWS.match(part) else part)
    return kept[-MAX_PARTS:] or ["picture"]


# --- translating --------------------------------------------------------------------------------------------


@dataclass
class _Group:
    """Pictures that can go through the networks together."""

    side: int | None = None
    items: list[Item] = field(default_factory=list)
    images: list[Image.Image] = field(default_factory=list)

    def add(self, item: Item, image: Image.Image, side: int | None) -> None:
        self.items.append(item)
        self.images.append(image)
        self.side = side

    def takes(self, image: Image.Image, side: int | None, most: int) -> bool:
        held = sum(one.width * one.height for one in [*self.images, image])
        return len(self.images) < most and held <= MAX_HELD_PIXELS and (
            working_size(self.images[0].size, self.side) == working_size(image.size, side)
        )


def translate_files(
    translator: Translator, found: Found, target: str | os.PathLike, direction: Direction, *,
    side: Callable[[tuple[int, int]], int | None] = lambda size: None, batch_size: int | None = None,
    max_bytes: int | None = None,
) -> Generator[tuple[int, int], None, FilesTranslation]:
    """Translate pictures into a zip of PNGs of their sizes, each with the checkpoint's SHA, epoch and direction.

    They are read one after the other, and one that can't be read is left out and named, in LEFT_OUT too.

    Args:
        translator: the checkpoint.
        found: from `find_pictures`.
        target: the .zip to write; it is there whole at the end, or not at all.
        direction: which way.
        side: for a picture's width and height the shorter side to work at, None for its own.
        batch_size: pictures of one size that go through the network together; None chooses by size and device.
        max_bytes: of the result.

    Yields:
        (files done with, files in all), before the first one and after each. Closed before its end, the
        generator leaves nothing behind.

    Returns:
        What became of the files.

    Raises:
        ImageError: none is a picture, or the result can't be written or exceeds `max_bytes`.
        CheckpointError: the checkpoint lacks this direction.
    """
    target = Path(target)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    picture = part.with_suffix(".png")
    left_out, done, total = list(found.left_out), 0, len(found.items)

    def write(group: _Group, archive: zipfile.ZipFile) -> int:
        """How many were translated; the others are left out."""
        try:
            results = translator.translate_batch(group.images, direction, group.side)
        except ImageError as error:
            left_out.extend(f"{item.shown}: {error}" for item in group.items)
            return 0
        for item, result in zip(group.items, results, strict=True):
            save_png(result, picture, checkpoint=translator.checkpoint, direction=direction, compress_level=1)
            archive.write(picture, item.target, zipfile.ZIP_STORED)
            if max_bytes is not None and part.stat().st_size > max_bytes:
                raise ImageError(
                    "the results take more than {max_bytes:g} GB: send fewer or smaller pictures at a time",
                    max_bytes=max_bytes / 2 ** 30,
                )
        return len(results)

    try:
        with zipfile.ZipFile(part, "w") as archive:
            yield 0, total
            group = _Group()
            for number, (item, image) in enumerate(open_pictures(found.items, left_out), 1):
                if image is not None:
                    wanted = side(image.size)
                    most = batch_size or translator.batch_size(working_size(image.size, wanted))
                    if group.images and not group.takes(image, wanted, most):
                        done += write(group, archive)
                        group = _Group()
                    group.add(item, image, wanted)
                    if len(group.images) == most:
                        done += write(group, archive)
                        group = _Group()
                yield number - len(group.images), total
            if group.images:
                done += write(group, archive)
            if not done:
                raise ImageError(
                    f"there is no picture among these files: {left_out[0]}" if left_out else "there is no picture in it"
                )
            if left_out:
                archive.writestr(LEFT_OUT, "\n".join([*left_out, ""]), zipfile.ZIP_DEFLATED)
            yield total, total
        os.replace(part, target)
    except OSError as error:
        raise ImageError(
            "{target} can't be written ({reason}): free space first",
            target=target.name, reason=error.strerror or error,
        ) from error
    finally:
        part.unlink(missing_ok=True)
        picture.unlink(missing_ok=True)
    return FilesTranslation(done, left_out)


def open_pictures(items: Sequence[Item], left_out: list[str]) -> Iterator[tuple[Item, Image.Image | None]]:
    """Each item with its picture as `open_image` reads it, or with None and a sentence added to `left_out`."""
    archives: dict[Path, zipfile.ZipFile] = {}
    with contextlib.ExitStack() as stack:
        for item in items:
            try:
                if item.member is None:
                    image = open_image(item.path)
                else:
                    if item.path not in archives:
                        archives[item.path] = stack.enter_context(zipfile.ZipFile(item.path))
                    image = open_image(_unpacked(archives[item.path], item), name=item.shown)
            except ImageError as error:
                left_out.append(str(error))
                image = None
            yield item, image


def _unpacked(archive: zipfile.ZipFile, item: Item) -> bytes:
    """A member's bytes, whatever size it declares."""
    try:
        with archive.open(item.member) as stream:
            data = stream.read(MAX_PICTURE_BYTES + 1)
    except Exception as error:  # The library raises nearly anything at a damaged file.
        raise ImageError(
            "{shown} is damaged within {path}: pack it again",
            shown=item.shown, path=item.path.name,
        ) from error
    if len(data) > MAX_PICTURE_BYTES:
        raise ImageError(_too_large(item.shown))
    return data


def _too_large(shown: str) -> str:
    return f"{shown} has more than {MAX_PICTURE_BYTES // 2**20} MB unpacked: make it smaller first"
