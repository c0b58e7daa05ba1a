"""Limits that are checked before work, and other libraries' exceptions as sentences."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np

from cyclegan.errors import ImageError, reason_of
from cyclegan.images import MAX_PIXELS, MAX_SIDE, out_of_reach
from cyclegan.rasters.files.format import Header
from cyclegan.values import MAX_CHANNELS

MAX_SLICES = 10_000
MAX_UNPACKED = 4 * 2**30
"""Bytes of a compressed file that has to be unpacked whole before its slices can be read."""
_CHUNK = 2**20


def check_path(path: Path, name: object) -> None:
    """Raise ImageError unless a path is a file that isn't empty and can be read."""
    with explained(name):
        if path.is_dir():
            raise ImageError("{name} is a folder: give a picture file", name=name)
        if path.exists() and not path.is_file():  # Opening a pipe would wait for ever.
            raise ImageError("{name} is not a regular file: give a picture file", name=name)
        if not path.stat().st_size:
            raise ImageError("{name} is empty (0 bytes): copy or download it again", name=name)


def checked(header: Header, name: object) -> Header:
    """Return a header whose sizes and type of values are allowed. Raises ImageError."""
    shown = {"name": name, "width": header.width, "height": header.height}
    if header.width < 1 or header.height < 1:
        raise ImageError("{name} has no pixels ({width}×{height}): save it again", **shown)
    if header.slices < 1:
        raise ImageError("{name} has no slices: save it again", name=name)
    if max(header.size) > MAX_SIDE:
        raise ImageError(
            "{name}, {width}×{height}, has a side above {most:,} pixels: make it smaller first", most=MAX_SIDE, **shown
        )
    if header.width * header.height > MAX_PIXELS:
        raise ImageError(
            "{name}, {width}×{height}, has more than {most} megapixels: make it smaller first",
            most=MAX_PIXELS // 1_000_000, **shown,
        )  # fmt: skip
    if not 1 <= header.channels <= MAX_CHANNELS:
        raise ImageError(
            "{name} has {count} channels, and {most} are the most: save fewer of them", name=name,
            count=header.channels, most=MAX_CHANNELS,
        )  # fmt: skip
    if header.slices > MAX_SLICES:
        raise ImageError(
            "{name} has {count:,} slices, and {most:,} are the most: split it", name=name, count=header.slices,
            most=MAX_SLICES,
        )  # fmt: skip
    return header


def dtype_name(dtype: np.dtype, name: object) -> str:
    """Return NumPy's name of whole numbers, floats or booleans without their byte order. Raises ImageError."""
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise ImageError(
            "{name} holds values of the type {dtype}, which isn't a plain number: save whole numbers or floats",
            name=name, dtype=dtype,
        )  # fmt: skip
    return dtype.name


def check_bytes(count: int, name: object) -> None:
    """Raise ImageError if a compressed file would unpack to more bytes than MAX_UNPACKED."""
    if count > MAX_UNPACKED:
        raise ImageError(
            "{name} would unpack to {size:,} MB, and {most:,} are the most: save it without compression", name=name,
            size=count // 10**6, most=MAX_UNPACKED // 10**6,
        )  # fmt: skip


def copied(source: BinaryIO, target: BinaryIO, count: int, name: object) -> None:
    """Copy exactly so many bytes from a compressed stream. Raises ImageError if it ends before."""
    while count:
        with explained(name):
            chunk = source.read(min(count, _CHUNK))
        if not chunk:
            raise truncated(name)
        target.write(chunk)
        count -= len(chunk)


def read_values(path: Path, dtype: np.dtype, offset: int, count: int, name: object) -> np.ndarray:
    """Return a number of values from an offset of a file on. Raises ImageError if the file ends before.

    Read, not mapped: a file that somebody cuts while it is mapped ends the process.
    """
    size = count * dtype.itemsize
    with explained(name), open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < offset + size:  # Checked first, or room for a false size is taken.
            raise truncated(name)
        file.seek(offset)
        data = file.read(size)
    if len(data) < size:
        raise truncated(name)
    return np.frombuffer(data, dtype)


def truncated(name: object) -> ImageError:
    """Return the error for a file that is shorter than its header claims."""
    return ImageError("{name} is truncated or damaged: copy or download it again", name=name)


def package(module: str, install: str, name: object) -> ModuleType:
    """Return a format's library, imported now.

    Args:
        module: its name, with dots for a part of it.
        install: the package's name in pip.
        name: of the file that needs it.

    Raises:
        ImageError: it isn't installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImageError(
            "{name} needs the package {package}: pip install 'cyclegan-workbench[volumes]'", name=name, package=install
        ) from error


@contextlib.contextmanager
def explained(name: object) -> Iterator[None]:
    """Turn exceptions of a format's library and of the system into an ImageError.

    Only around calls of those libraries: with a damaged file, their parsers raise nearly anything.
    """
    try:
        with out_of_reach(name):
            yield
    except ImageError:
        raise
    except EOFError as error:
        raise truncated(name) from error
    except OSError as error:
        raise ImageError(
            "{name} can't be read ({reason}): copy or download it again", name=name, reason=reason_of(error)
        ) from error
    except Exception as error:
        raise ImageError(
            "{name} is damaged ({reason}): copy or download it again", name=name, reason=reason_of(error)
        ) from error
