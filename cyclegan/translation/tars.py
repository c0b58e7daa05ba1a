"""Pictures in tar files, as WebDataset keeps them: found by the headers, read where they lie, by any thread."""

from __future__ import annotations

import functools
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cyclegan.errors import ImageError
from cyclegan.files import tar_members
from cyclegan.images import is_picture_name
from cyclegan.translation.files import MAX_PICTURE_BYTES, Item, harmless, printable

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstandard"}


def is_tar(path: Path) -> bool:
    """Return whether a file is a tar by its name."""
    return path.suffix.lower() == ".tar" and path.is_file()


def pictures_in_tar(path: Path, skipped: Counter[str]) -> Iterator[Item]:
    """Yield the pictures of a tar in its own order; count the other files by suffix.

    A target is the picture's path in the tar, harmless on any system. Only headers are read here. Hidden files, links
    and whatever else isn't a file are passed over.

    Raises:
        ImageError: it is damaged, compressed, or can't be read.
    """
    try:
        with open(path, "rb") as file:
            if packed := _COMPRESSED.get(file.read(2)):
                raise ImageError(
                    "{name} is packed by {packed}, so its pictures can't be read one by one: unpack it, or pack it as "
                    "a plain .tar", name=path.name, packed=packed,
                )  # fmt: skip
            file.seek(0)
            for _, member in tar_members(file):
                parts = member.name.replace("\\", "/").split("/")
                if not member.isreg() or member.issparse() or any(p.startswith(".") and p.strip(".") for p in parts):
                    continue
                if not is_picture_name(parts[-1]):
                    skipped[Path(parts[-1]).suffix] += 1
                    continue
                name = printable(member.name)
                content = functools.partial(_bytes_at, path, member.offset_data, member.size, name)
                yield Item(path, None, name, "/".join(harmless(parts)), content, member.offset)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise ImageError(
            "{name} is damaged, isn't a tar or can't be read ({reason}): get it again", name=path.name, reason=error
        ) from error


def _bytes_at(path: Path, offset: int, size: int, name: str) -> bytes:
    if not 0 <= size <= MAX_PICTURE_BYTES:
        raise ImageError(
            "{name} has more than {most} MB: make it smaller first", name=name, most=MAX_PICTURE_BYTES // 2**20
        )
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(size)
    except (OSError, ValueError, OverflowError) as error:
        raise ImageError(
            "{name} can't be read from {tar} ({reason})", name=name, tar=path.name, reason=error
        ) from error
    if len(data) < size:
        raise ImageError("{name} is cut off in {tar}: get the tar again", name=name, tar=path.name)
    return data
