"""The files that weights come in: safetensors, the zip of torch, and what torch wrote before 1.6.

Each is opened without reading a number of a tensor, and what describes the tensors has a bound (`stored.MOST_BYTES`).
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from cyclegan.checkpoints.stored import (
    MOST_AXES,
    MOST_BYTES,
    MOST_PARTS,
    PickleReader,
    Storage,
    Stored,
    check_numbers,
    damaged,
    more_than_weights,
    too_many,
    too_much,
)
from cyclegan.errors import CheckpointError, shown

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""The first two objects in a file of torch before 1.6."""
_OF_SAFETENSORS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "F8_E5M2": torch.float8_e5m2, "F8_E4M3": torch.float8_e4m3fn,
}  # fmt: skip


def open_safetensors(path: Path) -> dict[str, Stored]:
    """Return the tensors in a file of safetensors by name.

    Raises:
        CheckpointError: it is damaged, or holds far too much.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_BYTES:
            raise too_much(path)
        header, begin = file.read(length), 8 + length
    room = path.stat().st_size - begin
    try:
        entries = json.loads(header)
        if not isinstance(entries, dict):
            raise ValueError("not an object")
        entries.pop("__metadata__", None)
        if len(entries) > MOST_PARTS:
            raise too_many(path, len(entries))
        return {name: _safetensor(path, entry, begin, room) for name, entry in entries.items()}
    except (ValueError, LookupError, TypeError, RecursionError) as error:  # Of any JSON in place of an entry.
        raise damaged(path) from error


def _safetensor(path: Path, entry: dict[str, Any], begin: int, room: int) -> Stored:
    """Return a tensor that a header describes; raise ValueError, LookupError or TypeError for nonsense."""
    name, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    check_numbers(*shape, start, end)
    if not isinstance(name, str) or len(shape) > MOST_AXES or not start <= end <= room:
        raise ValueError("outside of the file")
    dtype = _OF_SAFETENSORS.get(name)
    if dtype is None:
        return Stored(path, name, shape)
    if math.prod(shape) * dtype.itemsize != end - start:
        raise ValueError("more or fewer numbers than bytes")
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return Stored(path, str(dtype), shape, strides, dtype, Storage(dtype, end - start, begin + start))


class _Bounded:
    """A file for `zipfile`, which reads the whole list of members at once: a larger one ends the reading."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.seek, self.tell, self.seekable = file, file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        content = self.file.read(min(count, MOST_BYTES + 1) if count >= 0 else MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise _TooMuch
        return content


class _TooMuch(Exception):
    """The file's own description is far too large."""


def list_zip(path: Path) -> list[zipfile.ZipInfo]:
    """Return the members of a zip.

    Raises:
        CheckpointError: it is damaged, or has far too many.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(_Bounded(file)) as archive:  # type: ignore[arg-type]
            members = archive.infolist()
    except _TooMuch:
        raise too_much(path) from None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise damaged(path) from error
    if len(members) > MOST_PARTS:
        raise too_many(path, len(members))
    return members


def open_zip(path: Path, members: list[zipfile.ZipInfo]) -> object:
    """Return the content of a file that torch wrote since 1.6, with a `Stored` for each tensor.

    Args:
        members: from `list_zip`, stored without compression.

    Raises:
        CheckpointError: it is damaged, holds objects, or holds far too much.
    """
    records = {member.filename: member for member in members}
    root = next((name[: -len("data.pkl")] for name in records if name.rpartition("/")[2] == "data.pkl"), None)
    if root is None:
        raise damaged(path)
    if f"{root}constants.pkl" in records:  # TorchScript
        raise more_than_weights(path)
    if records[f"{root}data.pkl"].file_size > MOST_BYTES:
        raise too_much(path)
    with path.open("rb") as file:
        if (order := records.get(f"{root}byteorder")) and _bytes_at(path, file, order) == b"big":
            raise _big_endian(path)

        def find(dtype: torch.dtype, key: str, nbytes: int) -> Storage:
            record = records[f"{root}data/{key}"]
            if nbytes > record.file_size:
                raise ValueError("more numbers than bytes")
            return Storage(dtype, nbytes, _place(path, file, record))

        pickled = io.BytesIO(_bytes_at(path, file, records[f"{root}data.pkl"]))
        return PickleReader(path, find).read(pickled)


def _place(path: Path, file: BinaryIO, record: zipfile.ZipInfo) -> int:
    """Return where the bytes of a member begin, after its own header."""
    size = path.stat().st_size
    if not 0 <= record.header_offset < size:
        raise damaged(path)
    file.seek(record.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise damaged(path)
    start = record.header_offset + 30 + sum(struct.unpack("<HH", header[26:]))
    if start + record.file_size > size:
        raise damaged(path)
    return start


def _bytes_at(path: Path, file: BinaryIO, record: zipfile.ZipInfo) -> bytes:
    file.seek(_place(path, file, record))
    return file.read(min(record.file_size, MOST_BYTES))


def open_legacy(path: Path) -> object:
    """Return the content of a file that torch wrote before 1.6: pickles, then the numbers of each storage.

    Raises:
        CheckpointError: it is damaged, holds objects, or holds far too much.
    """
    storages: dict[str, Storage] = {}

    def find(dtype: torch.dtype, key: str, nbytes: int) -> Storage:
        found = storages.setdefault(key, Storage(dtype, nbytes))
        if (found.dtype, found.nbytes) != (dtype, nbytes):
            raise ValueError("one piece of memory described twice")
        return found

    with path.open("rb") as file:
        pickles, reader = io.BytesIO(file.read(MOST_BYTES)), PickleReader(path, find)
        magic, protocol, system = (reader.read(pickles) for _ in range(3))
        if magic != _MAGIC or protocol != _PROTOCOL or not isinstance(system, dict):
            raise damaged(path)
        if system.get("little_endian") is not True:
            raise _big_endian(path)
        content, keys = reader.read(pickles), reader.read(pickles)
        if not isinstance(keys, list) or len(keys) > MOST_PARTS:
            raise damaged(path)
        position, size = pickles.tell(), path.stat().st_size
        for key in keys:  # Before each storage is the count of its numbers.
            storage = storages.get(key) if isinstance(key, str) else None
            file.seek(position)
            count = int.from_bytes(file.read(8), "little")
            if storage is None or count * storage.dtype.itemsize != storage.nbytes:
                raise damaged(path)
            storage.start = position + 8
            position = storage.start + storage.nbytes
            if position > size:
                raise damaged(path)
    if any(storage.start < 0 for storage in storages.values()):
        raise damaged(path)
    return content


def _big_endian(path: Path) -> CheckpointError:
    return CheckpointError(
        "{name} was written by a computer with another order of bytes: load it there and save it as safetensors",
        name=shown(path.name),
    )
