"""The number and the size of a DICOM file's tags, checked before pydicom makes an object of each."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cyclegan.errors import ImageError
from cyclegan.rasters.files.bounds import explained

KIND = "dicom"
MOST_BYTES, MOST_ELEMENTS = 10**6, 5000
_PREAMBLE = 132
_UNDEFINED = 0xFFFFFFFF
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_SYNTAX = 0x00020010
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_ITEM_BYTES = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
"""Types whose lengths have 32 bits."""
_BYTES = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV")


@dataclass(frozen=True)
class _Open:
    """A sequence that the walk is inside of: its end (None: at its delimiter), and how its elements are written."""

    end: int | None
    explicit: bool
    fragments: bool = False


def check_tags(path: Path, name: object) -> None:
    """Raise ImageError for a file with more tags before its pixels than MOST_BYTES or MOST_ELEMENTS.

    Nested elements count. Damaged tags are left to pydicom, which has a reason for each.
    """
    count = 0
    with explained(name), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        for at in _elements(file):
            if at > size:
                return
            count += 1
            if at > _PREAMBLE + MOST_BYTES:
                raise ImageError(
                    "{name} has more than 1 MB of DICOM tags before its pixels: save it with fewer of them", name=name
                )
            if count > MOST_ELEMENTS:
                raise ImageError(
                    "{name} has more than {most:,} DICOM tags, nested ones included: save it with fewer of them",
                    name=name, most=MOST_ELEMENTS,
                )  # fmt: skip


def _elements(file: BinaryIO) -> Iterator[int]:
    """Yield the place after each element before the pixels; that of a sequence is where its items begin."""
    at = file.seek(_PREAMBLE)
    order, explicit, syntax = "<", True, b""
    inside: list[_Open] = []
    meta = True
    while len(head := file.read(8)) == 8:
        while inside and inside[-1].end is not None and at >= inside[-1].end:
            inside.pop()
        if meta and head[:2] != b"\2\0":  # Everything but the first group is as the syntax says.
            meta, inside = False, []
            explicit = syntax != b"1.2.840.10008.1.2" and (bool(syntax) or head[4:6].isupper())
            order = ">" if syntax == b"1.2.840.10008.1.2.2" else "<"
        at += 8
        tag = _tag(head, order)
        kind, length, at = _kind(file, head, order, inside[-1].explicit if inside else explicit, at)
        if tag in _PIXELS and not inside:
            return
        if tag >> 16 == 0xFFFE:
            if tag == _SEQUENCE_END and inside and inside[-1].end is None:
                inside.pop()
            at += length if tag == _ITEM and inside and inside[-1].fragments else 0
        elif length == _UNDEFINED:
            inside.append(_Open(None, _is_explicit(kind), kind in _BYTES or tag in _PIXELS))
        elif kind in (b"SQ", b"UN", b"") and file.read(4) in _ITEM_BYTES:
            inside.append(_Open(at + length, _is_explicit(kind)))
        elif tag == _SYNTAX and meta and length <= 64:
            file.seek(at)
            syntax = file.read(length).rstrip(b"\0 ")
            at += length
        else:
            at += length
        yield at
        file.seek(at)


def _is_explicit(kind: bytes) -> bool:
    return kind not in (b"UN", b"")


def _tag(head: bytes, order: str) -> int:
    group, element = struct.unpack_from(order + "HH", head)
    return group << 16 | element


def _kind(file: BinaryIO, head: bytes, order: str, explicit: bool, at: int) -> tuple[bytes, int, int]:
    """Return an element's type (none if it isn't written), the length of its value and where the value begins."""
    kind = head[4:6]
    if not explicit or _tag(head, order) >> 16 == 0xFFFE or not b"AA" <= kind <= b"ZZ":  # As pydicom has it.
        return b"", struct.unpack_from(order + "L", head, 4)[0], at
    if kind in _LONG:
        return kind, struct.unpack(order + "L", file.read(4).ljust(4, b"\0"))[0], at + 4
    return kind, struct.unpack_from(order + "H", head, 6)[0], at
