"""Open a picture as its domain has them: 8-bit RGB as a PIL image, any other values as a raster."""

from __future__ import annotations

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


def look(path: str | os.PathLike) -> Look | None:
    """Return what a picture's file holds; None for one that isn't a picture, which whoever opens it explains."""
    if files.kind_of(Path(path)) is not None:
        try:
            return Look(files.probe(Path(path)).channels, True)
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
        index: the slice to read of a file that is a stack of them.

    Raises:
        ImageError: it can't be read, or has another number of channels.
    """
    if values.plain:
        return open_image(path, name=name)
    if files.kind_of(Path(path)) is not None:
        raster = files.read(Path(path), index, name=name)
        if raster.channels == 1 and values.channels == 3:
            raster = raster.with_values(np.repeat(raster.values, 3, axis=2))
        values.check(raster, name or Path(path).name)
        return raster
    return as_raster(open_image(path, name=name), values, name or Path(path).name)


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
