"""Open a picture as its domain has them: 8-bit RGB as a PIL image, any other values as a raster."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cyclegan.errors import ImageError, Message
from cyclegan.images import open_image, probe_image
from cyclegan.rasters import files
from cyclegan.rasters.raster import Origin, Raster
from cyclegan.values import Values

_GREY = ("1", "L", "LA")


@dataclass(frozen=True)
class Look:
    """A file's kind of picture, from its header alone."""

    channels: int
    deep: bool
    """True for values of more than 8 bits, or of more channels than colour has: they are read as a raster."""
    slices: int = 1
    """Number of slices, of a volume or a stack."""


def look(path: str | os.PathLike) -> Look | None:
    """Return what a picture's file holds; None for one that isn't a picture, which whoever opens it explains."""
    if files.kind_of(Path(path)) is not None:
        try:
            found = files.probe(Path(path))
            return Look(found.channels, True, found.slices)
        except ImageError:
            return None
    try:
        with Image.open(path) as image:
            return Look(1 if image.mode in _GREY else 3, False)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def open_picture(
    path: str | os.PathLike, values: Values, *, name: str | Message | None = None, index: int = 0
) -> Image.Image | Raster:
    """Open a picture for a domain of these values.

    In a domain that isn't 8-bit RGB, a picture of 8 bits is a raster of grey levels; grey in colour is spread, and
    colour in grey becomes its brightness.

    Args:
        path: the file.
        values: of the domain.
        name: the picture's name in messages.
        index: of a volume's slice.

    Raises:
        ImageError: it can't be read, or has another number of channels.
    """
    if values.plain:
        return open_image(path, name=name)
    if files.kind_of(Path(path)) is not None:
        stack = _stack(Path(path))
        # An example of a volume's run is one picture that has its neighbours already.
        whole = len(stack) == 1 and stack.channels == values.channels
        raster = with_neighbours(stack, index, 0 if whole else values.neighbours)
        if raster.channels == 1 and values.channels == 3:
            raster = raster.with_values(np.repeat(raster.values, 3, axis=2))
        values.check(raster, name or Path(path).name)
        return raster
    return as_raster(open_image(path, name=name), values, name or Path(path).name)


@functools.lru_cache(maxsize=8)
def _kept_stack(path: Path, state: tuple[int, ...]) -> files.Stack:
    """Return an open file, kept because unpacking a volume for each of its slices would take minutes."""
    return files.open_stack(path)


def _stack(path: Path) -> files.Stack:
    found = os.stat(path)
    return _kept_stack(path, (found.st_mtime_ns, found.st_size, found.st_ino))


def forget() -> None:
    """Close the files that are kept open."""
    _kept_stack.cache_clear()


def stack_of(path: str | os.PathLike, values: Values) -> files.Stack | None:
    """Return the slices of a file that has several, None for a picture or in a domain of 8-bit RGB. Raises ImageError.
    """
    if values.plain or files.kind_of(Path(path)) is None:
        return None
    stack = _stack(Path(path))
    return stack if len(stack) > 1 else None


def with_neighbours(stack: files.Stack, index: int, neighbours: int) -> Raster:
    """Return a slice with those before and after it as further channels; at the ends the last slice is repeated."""
    raster = stack.read(index)
    if not neighbours:
        return raster
    places = [min(max(place, 0), len(stack) - 1) for place in range(index - neighbours, index + neighbours + 1)]
    read = {place: raster if place == index else stack.read(place) for place in set(places)}
    return raster.with_values(np.concatenate([read[place].values for place in places], axis=2))


def as_raster(image: Image.Image, values: Values, name: object) -> Raster:
    """Return an 8-bit RGB picture as a raster of one or three channels. Raises ImageError for another number."""
    image = image.convert("L") if values.channels == 1 else image
    array = np.asarray(image, np.float32)
    raster = Raster(array[..., None] if array.ndim == 2 else array, Origin("png", "uint8"))
    values.check(raster, name)
    return raster


def probe_picture(path: str | os.PathLike, values: Values, *, name: str | Message | None = None) -> tuple[int, int]:
    """Return width and height as `open_picture` would, from the header alone. Raises ImageError."""
    if values.plain or files.kind_of(Path(path)) is None:
        return probe_image(path, name=name)
    found = files.probe(Path(path))
    return found.width, found.height
