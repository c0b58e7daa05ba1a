"""Many pictures, in files and zips → one zip of their translations.

A stranger's zip is read with care: nothing is unpacked to disk, names are made harmless, declared and real sizes are
bounded, and one bad file doesn't stop the others.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
import unicodedata
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from cyclegan.config import Direction
from cyclegan.errors import ImageError, Message, UserError, message
from cyclegan.files import whole_file
from cyclegan.images import IMAGE_SUFFIXES, is_picture_name, natural_order, open_image
from cyclegan.rasters import files as raster_files
from cyclegan.rasters.files import Stack
from cyclegan.rasters.opening import open_picture, stack_of
from cyclegan.rasters.raster import Raster
from cyclegan.translation.saving import path_of, save_image
from cyclegan.translation.translator import Translator, working_size
from cyclegan.values import RGB, Values

LEFT_OUT = "left_out.txt"
"""The file in the result that names the files left out, with the reasons."""
MAX_ENTRIES = 20_000
"""The most files in a zip, because the list of a hostile zip with a million files takes hundreds of megabytes."""
MAX_PICTURE_BYTES = 200 * 2**20
"""The most bytes of one unpacked file. `open_image` accepts at most 50 megapixels, whatever the packing."""
MAX_UNPACKED_BYTES = 8 * 2**30
"""The most bytes of one zip's unpacked pictures together."""
# The most pixels held at once, when several pictures go through the networks together.
MAX_HELD_PIXELS = 32_000_000
MAX_PART_BYTES, MAX_PARTS = 100, 8

_ARCHIVES = {".7z", ".bz2", ".gz", ".rar", ".tar", ".tbz", ".tgz", ".txz", ".xz", ".zst"}
_NOT_IN_NAMES = re.compile(r'[<>:"|?*]')
_DRIVE = re.compile(r"[A-Za-z]:")
_WINDOWS = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
_SYSTEMS_OWN = {"__macosx", "thumbs.db", "desktop.ini"}


@dataclass(frozen=True, slots=True)
class Item:
    """A file that may be a picture."""

    path: Path
    member: zipfile.ZipInfo | None
    """The entry in the zip at `path`; None: the file is `path` itself."""
    shown: str
    """The name in messages."""
    target: str
    """The name of its translation in the result, relative, with slashes; it ends in .png."""
    content: Callable[[], bytes] | None = None
    """Returns the file's bytes, where `path` is a tar or a data set that holds it. Raises ImageError."""

    offset: int | None = None
    """Where it begins in a tar."""

    @property
    def source(self) -> str:
        """The path of the file, in an archive behind the archive's."""
        inside = self.member is not None or self.content is not None
        return f"{self.path}/{self.name}" if inside else str(self.path)

    @property
    def name(self) -> str:
        """The file's own name, whose suffix tells some kinds."""
        return self.shown if self.member is None else self.member.filename


@dataclass(frozen=True)
class Found:
    """Files that may be pictures to translate."""

    items: list[Item]
    left_out: list[Message | UserError]
    """A sentence with its name for each file that isn't one of them."""


@dataclass(frozen=True)
class FilesTranslation:
    """The numbers of files translated and left out."""

    done: int
    """Pictures translated and written."""
    left_out: list[Message | UserError]
    """A sentence with its name for each file that was left out."""
    smaller: int = 0
    """Pictures that were worked at less than the requested size."""
    notes: list[Message] = field(default_factory=list)
    """A sentence for each kind of thing that pictures lost as they were read, such as bands or depth."""


# --- finding ---------------------------------------------------------------------------------------------


def find_pictures(files: Sequence[Path]) -> Found:
    """Return the files that may be pictures, among `files` and within zips, in natural order.

    A translation keeps the name and, within a zip, the folder; each of several zips gets a folder of its name. Names
    that file systems can't hold, or that lead elsewhere, are changed; names that differ in case only are numbered.
    Hidden files are skipped; zips within zips are not opened.

    Raises:
        ImageError: a zip is damaged or encrypted, or holds more than MAX_ENTRIES or MAX_UNPACKED_BYTES.
    """
    found: list[tuple[Path, zipfile.ZipInfo | None, str, list[str]]] = []
    left_out: list[Message | UserError] = []
    zips = [path for path in files if _is_zip(path)]
    for path in sorted(files, key=lambda path: natural_order(path.name)):
        if path in zips:
            folder = [path.stem] if len(zips) > 1 else []
            for info, shown, parts in _find_in_zip(path, left_out):
                found.append((path, info, shown, [*folder, *parts]))
        elif path.suffix.lower() in _ARCHIVES and not is_picture_name(path.name):
            left_out.append(
                message("{name} is an archive that is not opened here: pack its pictures as .zip", name=path.name)
            )
        else:
            found.append((path, None, path.name, [path.name]))
    names = _targets([parts for *_, parts in found])
    return Found([Item(*item[:3], name) for item, name in zip(found, names, strict=True)], left_out)


def _find_in_zip(
    path: Path, left_out: list[Message | UserError]
) -> Iterator[tuple[zipfile.ZipInfo, str, list[str]]]:
    """Yield (entry, name in messages, folders and name) of each file in a zip that may be a picture."""
    members = [(_name_in(info), info) for info in _members(path)]
    for name, info in sorted(members, key=lambda pair: natural_order(pair[0])):
        parts = re.split(r"[/\\]", name)
        hidden = any(part.startswith(".") and part.strip(".") for part in parts)
        if info.is_dir() or hidden or any(part.lower() in _SYSTEMS_OWN for part in parts):
            continue
        shown, suffix = printable(name), Path(parts[-1]).suffix.lower()
        if suffix == ".zip" or suffix in _ARCHIVES and not is_picture_name(parts[-1]):  # .nii.gz is one.
            left_out.append(
                message(
                    "{name} is an archive within {zip}, which is not opened: unpack it first", name=shown, zip=path.name
                )
            )
        elif suffix and not is_picture_name(parts[-1]):
            left_out.append(message("{name} is not a picture", name=shown))
        elif info.file_size > MAX_PICTURE_BYTES:
            left_out.append(_too_large(shown))
        else:
            yield info, shown, parts


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip, or another archive, which `find_pictures` names as one that it can't open."""
    packed = path.suffix.lower() in _ARCHIVES and not is_picture_name(path.name)  # .nii.gz is a picture's.
    return _is_zip(path) or (packed and os.path.isfile(path))


def _is_zip(path: Path) -> bool:
    if not os.path.isfile(path):  # Opening a pipe may never end.
        return False
    return path.suffix.lower() == ".zip" or (not path.suffix and zipfile.is_zipfile(path))


def _members(path: Path) -> list[zipfile.ZipInfo]:
    """Return a zip's entries, after a check of their number."""
    try:
        if _entries_at_most(path) > MAX_ENTRIES:
            raise ImageError(
                "{name} lists more than {most:,} files: send its pictures in parts", name=path.name, most=MAX_ENTRIES
            )
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except ImageError:
        raise
    except Exception as error:  # The library raises many kinds for damaged files.
        raise ImageError("{name} is damaged or isn't a zip: pack it again", name=path.name) from error
    if any(info.flag_bits & 1 for info in members):
        raise ImageError("{name} is encrypted: pack it without a password", name=path.name)
    if sum(info.file_size for info in members) > MAX_UNPACKED_BYTES:
        raise ImageError(
            "{name} has more than {most} GB unpacked: send its pictures in parts",
            name=path.name, most=MAX_UNPACKED_BYTES // 2**30,
        )
    return members


def _entries_at_most(path: Path) -> int:
    """Return the number of file headers in a zip's bytes, which its list can't exceed."""
    count, rest = 0, b""
    with open(path, "rb") as stream:
        while block := stream.read(2**20):
            count += (rest + block).count(b"PK\x01\x02")
            rest = block[-3:]
    return count


def _name_in(info: zipfile.ZipInfo) -> str:
    """Return an entry's name; where its encoding is unknown, UTF-8 and Korean Windows' are tried."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        for encoding in ("utf-8", "cp949"):
            with contextlib.suppress(UnicodeError):
                return name.encode("cp437").decode(encoding)
    return name


def printable(name: str) -> str:
    """Return a stranger's file name as a message may show it."""
    return "".join(c for c in name if c.isprintable())[:200]


def _targets(paths: Sequence[Sequence[str]]) -> list[str]:
    """Return a harmless relative name ending in .png for each file's folders and name, distinct on any system."""
    clean = [harmless(parts) for parts in paths]
    folders = {folded("/".join(parts[:depth])) for parts in clean for depth in range(1, len(parts))}
    taken = set(folders)
    names = []
    numbers: dict[str, int] = {}  # Kept, because many files of one name would each count from 1.
    for parts in clean:
        stem = "/".join([*parts[:-1], _stem(parts[-1])])
        number = numbers.get(folded(stem), 1)
        while folded(name := f"{stem}.png" if number == 1 else f"{stem}-{number}.png") in taken:
            number += 1
        taken.add(folded(name))
        numbers[folded(stem)] = number + 1
        names.append(name)
    return names


def _stem(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else name


def folded(name: str) -> str:
    """Return the form that names share which some file system treats as equal."""
    return unicodedata.normalize("NFC", name).casefold()


def harmless(parts: Sequence[str]) -> list[str]:
    """Return parts of a path that every system reads as names below a folder."""
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
    images: list[Image.Image | Raster] = field(default_factory=list)

    def add(self, item: Item, image: Image.Image | Raster, side: int | None) -> None:
        self.items.append(item)
        self.images.append(image)
        self.side = side

    def takes(self, image: Image.Image | Raster, side: int | None, most: int) -> bool:
        if not self.images:
            return True
        held = sum(one.width * one.height for one in [*self.images, image])
        return len(self.images) < most and held <= MAX_HELD_PIXELS and (
            working_size(self.images[0].size, self.side) == working_size(image.size, side)
        )


@dataclass
class _ResultZip:
    """The zip of translations that is being written."""

    archive: zipfile.ZipFile
    picture: Path
    """A temporary file for one picture."""
    translator: Translator
    direction: Direction
    max_bytes: int | None
    left_out: list[Message | UserError]

    def write(self, group: _Group) -> int:
        """Write a group's translations and return their number; leave out pictures that can't be translated."""
        if not group.images:
            return 0
        try:
            results = self.translator.translate_batch(group.images, self.direction, group.side)
        except ImageError as error:
            self.left_out.extend(message("{name}: {reason}", name=item.shown, reason=error) for item in group.items)
            return 0
        checkpoint, path = self.translator.checkpoint, Path(self.archive.filename)
        for item, result in zip(group.items, results, strict=True):
            name, picture = item.target, self.picture
            if isinstance(result, Raster):
                ending = raster_files.ending(result)
                name, picture = path_of(Path(name), ending).as_posix(), picture.with_suffix(ending)
                with _temporary(picture):
                    raster_files.write(picture, result)
                    self.archive.write(picture, name, zipfile.ZIP_STORED)
            else:
                save_image(result, picture, checkpoint=checkpoint, direction=self.direction)
                self.archive.write(picture, name, zipfile.ZIP_STORED)
            if self.max_bytes is not None and path.stat().st_size > self.max_bytes:
                raise ImageError(
                    "the results take more than {most:g} GB: send fewer or smaller pictures at a time",
                    most=self.max_bytes / 2**30,
                )
        return len(results)


def translate_files(
    translator: Translator, found: Found, target: str | os.PathLike, direction: Direction, *,
    side: Callable[[tuple[int, int]], int | None] = lambda size: None, batch_size: int | None = None,
    max_bytes: int | None = None,
    around: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
) -> Generator[tuple[int, int], None, FilesTranslation]:
    """Translate pictures into a zip of PNGs of their sizes, each with the checkpoint's SHA, epoch and direction.

    In a domain that isn't 8-bit RGB, a result is a file of its picture's kind instead.

    Files are read one after the other. A file that can't be read is left out and named, in LEFT_OUT too.

    Args:
        translator: the checkpoint.
        found: from `find_pictures`.
        target: the .zip to write, whole or not at all.
        direction: the direction of the translation.
        side: returns the shorter side to work at for a picture's width and height, None for its own.
        batch_size: pictures of one size that go through the network together; None chooses by size and device.
        max_bytes: the most bytes of the result.
        around: returns what is entered while each picture is read, in the thread of that step.

    Yields:
        (files done, all files), before the first one and after each. Closed before its end, the generator leaves
        no files.

    Returns:
        The numbers of files translated and left out.

    Raises:
        ImageError: there is no picture, or the result can't be written or exceeds `max_bytes`.
        CheckpointError: the checkpoint lacks this direction.
    """
    left_out, done, total = list(found.left_out), 0, len(found.items)
    target = Path(target)
    try:
        with (
            whole_file(target, durable=False) as part,
            _temporary(part.with_suffix(".png")) as picture,
            zipfile.ZipFile(part, "w") as archive,
        ):
            result = _ResultZip(archive, picture, translator, direction, max_bytes, left_out)
            yield 0, total
            group = _Group()
            given = open_pictures(found.items, left_out, around, translator.values(direction[0]))
            for number, (item, image) in enumerate(given, 1):
                if isinstance(image, Stack):
                    left_out.append(message(
                        "{name} is a volume: translate it from a shell, with python -m cyclegan translate",
                        name=item.shown,
                    ))  # fmt: skip
                elif image is not None:
                    wanted = side(image.size)
                    most = batch_size or translator.batch_size(working_size(image.size, wanted))
                    if not group.takes(image, wanted, most):
                        done += result.write(group)
                        group = _Group()
                    group.add(item, image, wanted)
                    if len(group.images) == most:
                        done += result.write(group)
                        group = _Group()
                yield number - len(group.images), total
            done += result.write(group)
            if not done and left_out:
                raise ImageError("there is no picture among these files: {reason}", reason=left_out[0])
            if not done:
                raise ImageError("there is no picture in it")
            if left_out:
                text = "".join(f"{sentence}\n" for sentence in left_out)
                archive.writestr(LEFT_OUT, text, zipfile.ZIP_DEFLATED)
            yield total, total
    except OSError as error:
        raise ImageError(
            "{target} can't be written ({reason}): free space first",
            target=target.name, reason=error,
        ) from error
    return FilesTranslation(done, left_out)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Remove a file at the end, if it exists."""
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


class PictureReader:
    """Opens items' pictures as their domain has them, in any thread; zips stay open until the end of the block.

    Args:
        values: of the domain that they are read for.
    """

    def __init__(self, values: Values = RGB) -> None:
        self.values = values
        self._archives: dict[Path, zipfile.ZipFile] = {}
        self._lock, self._closing = threading.Lock(), contextlib.ExitStack()

    def __enter__(self) -> PictureReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def read(self, item: Item) -> Image.Image | Raster | Stack:
        """Return a picture, or a volume's slices, not read yet, where the domain isn't 8-bit RGB.

        Raises:
            ImageError: it can't be read.
        """
        if item.content is not None:
            return _in_archive(item.content(), item, self.values)
        if item.member is None:
            return stack_of(item.path, self.values) or open_picture(item.path, self.values, name=item.shown)
        with self._lock:
            if item.path not in self._archives:
                self._archives[item.path] = self._closing.enter_context(zipfile.ZipFile(item.path))
        return _in_archive(_unpacked(self._archives[item.path], item), item, self.values)


def open_pictures(
    items: Sequence[Item], left_out: list[Message | UserError],
    around: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
    values: Values = RGB,
) -> Iterator[tuple[Item, Image.Image | Raster | Stack | None]]:
    """Yield each item with `PictureReader.read`'s picture, or with None and a sentence added to `left_out`.

    Args:
        items: the files.
        left_out: gets the errors.
        around: see `translate_files`.
        values: of the domain that they are read for.
    """
    with PictureReader(values) as reader:
        for item in items:
            try:
                with around():
                    image = reader.read(item)
            except ImageError as error:
                left_out.append(error)
                image = None
            yield item, image


def _in_archive(data: bytes, item: Item, values: Values) -> Image.Image | Raster:
    """Return an unpacked picture. Raises ImageError."""
    if values.plain:
        return open_image(data, name=item.shown)
    with tempfile.TemporaryDirectory() as folder:  # The formats' libraries read files.
        path = Path(folder) / Path(item.name.replace("\\", "/")).name
        path.write_bytes(data)
        if stack_of(path, values) is not None:
            raise ImageError("{name} is a volume in an archive: unpack it first", name=item.shown)
        return open_picture(path, values, name=item.shown)


def _unpacked(archive: zipfile.ZipFile, item: Item) -> bytes:
    """Return an entry's bytes, whatever size it declares."""
    try:
        with archive.open(item.member) as stream:
            data = stream.read(MAX_PICTURE_BYTES + 1)
    except Exception as error:  # The library raises many kinds for damaged files.
        raise ImageError(
            "{name} is damaged within {zip}: pack it again", name=item.shown, zip=item.path.name
        ) from error
    if len(data) > MAX_PICTURE_BYTES:
        raise ImageError(_too_large(item.shown))
    return data


def _too_large(name: str) -> Message:
    return message(
        "{name} has more than {most} MB unpacked: make it smaller first", name=name, most=MAX_PICTURE_BYTES // 2**20
    )
