"""Tars of pictures, as WebDataset has them, which are read from the disk one after the other."""

from __future__ import annotations

import glob
import hashlib
import logging
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from cyclegan.data.domains import short_name
from cyclegan.data.streams.sources import Picture
from cyclegan.errors import DataError, reason_of
from cyclegan.files import tar_members
from cyclegan.images import is_picture_name

__all__ = ["Tars", "find_tars", "identity_of"]

log = logging.getLogger(__name__)
_PARTS = ("traina", "trainb", "testa", "testb")
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


class Tars:
    """The pictures in some tars: all members with the name of one; other members are passed over.

    Args:
        paths: the tars, one for each shard.
        skip_damaged: warn about a tar that is damaged, and use what precedes the damage.
    """

    def __init__(self, paths: Sequence[Path], *, skip_damaged: bool = False) -> None:
        self.paths, self.skip_damaged = paths, skip_damaged
        self.shards = len(paths)
        self.identity = identity_of(paths)

    def read(
        self, shard: int, start: Sequence[int] | None = None, part: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Picture, list[int]]]:
        """Yield the pictures of a tar; see `Source.read`. A place is the offset of a header and a count of pictures."""
        path = self.paths[shard]
        offset, count = start or (0, 0)
        try:
            with open(path, "rb") as file:
                file.seek(offset)
                for tar, member in tar_members(file):
                    if not (member.isreg() and is_picture_name(member.name)):
                        continue
                    count += 1
                    if (count - 1) % part[1] == part[0]:
                        content = tar.extractfile(member).read()
                        yield Picture(f"{path.name}/{member.name}", content), [tar.offset, count]
        except (OSError, EOFError, tarfile.TarError) as error:
            if not self.skip_damaged:
                raise DataError(
                    "{tar} can't be read to its end ({reason}): replace it, or pass --skip_bad_images to use what can "
                    "be read", tar=path, reason=reason_of(error),
                ) from error  # fmt: skip
            log.warning("%s can't be read to its end (%s); the rest of it is skipped", short_name(path), error)


def identity_of(paths: Sequence[Path]) -> str:
    """Return a short text that changes with the names and sizes of files. Raises DataError."""
    digest = hashlib.blake2b(digest_size=8)
    for path in paths:
        try:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode(errors="replace"))
        except OSError as error:
            raise DataError("{file} can't be read ({reason})", file=path, reason=reason_of(error)) from error
    return digest.hexdigest()


def find_tars(text: str) -> dict[str, list[Path]]:
    """Return the tars of a folder, of its subfolders or of a pattern, by "traina", "trainb", "testa" and "testb".

    The name of a tar, or of its folder, begins so, in upper or lower case. Empty if there are no tars.

    Raises:
        DataError: there are tars, but not of both training domains; or all are compressed.
    """
    root = Path(text).expanduser()
    found = list(root.iterdir()) if root.is_dir() else [Path(name) for name in glob.glob(str(root))]
    found += [inner for path in found if path.is_dir() for inner in path.iterdir()]
    every = sorted(path for path in found if path.name[0] != "." and path.is_file())
    tars = [path for path in every if path.suffix.lower() == ".tar"]
    if not tars:
        if packed := [path for path in every if path.name.lower().endswith(_PACKED)]:
            raise DataError(
                "{tar} is compressed, so a training can't resume within it: --stream reads plain tars; unpack it into "
                "one, e.g. with gzip -d", tar=packed[0],
            )  # fmt: skip
        return {}
    parts: dict[str, list[Path]] = {}
    for path in tars:
        names = path.name.lower(), path.parent.name.lower()
        part = next((part for name in names for part in _PARTS if name.startswith(part)), None)
        if part:
            parts.setdefault(part, []).append(path)
    for part in _PARTS[:2]:
        if part not in parts:
            raise DataError(
                "no tar of {dataset} is of train{side}, such as {found}: the names of tars, or of their folders, begin "
                "with trainA or trainB, e.g. train{side}-0000.tar",
                dataset=text, side=part[-1].upper(), found=tars[0].name,
            )  # fmt: skip
    return parts
