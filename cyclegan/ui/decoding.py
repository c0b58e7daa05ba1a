"""Visitors' pictures are opened here: so many pixels are decoded at once, whoever sends them and however many do.

A file of 38 bytes may hold 50 megapixels, and decoding takes some 14 bytes for each of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from cyclegan.errors import ImageError, Message, message
from cyclegan.files import sha256
from cyclegan.images import MAX_PIXELS, Source, open_image, probe_image
from cyclegan.rasters import files, opening
from cyclegan.rasters.raster import FILE_DIGEST, Raster
from cyclegan.values import RGB, Values

MAX_AT_ONCE = MAX_PIXELS
"""Pixels that are decoded at once: one of the largest pictures, or many of the usual ones."""
LARGE = 4_000_000
"""After a picture of so many pixels, what was freed goes back to the system; it otherwise stays with the process."""
MAX_VALUES = MAX_PIXELS
"""Most values, which are pixels times channels, of a picture that isn't 8-bit RGB: each takes about 14 bytes, too."""
PACKED = (".gz", ".npz")
READ_AS_IMAGES = {None, "png", "tiff"}
"""The kinds of file that `cyclegan.images` reads, too, with their values scaled to 8 bits."""

_changed = threading.Condition()
_decoding = 0


def open_picture(
    source: Source, values: Values = RGB, *, name: str | Message | None = None, enough: int | None = None
) -> tuple[Image.Image | Raster, tuple[int, int]]:
    """Open a visitor's picture when there is room for it, for a domain of these values.

    An 8-bit RGB domain's are opened as by `cyclegan.images.open_image`, others as by `cyclegan.rasters.opening`, of a
    stack of slices the one in the middle.

    Returns:
        The picture, and the width and height of the file, of which `enough` may decode a part.

    Raises:
        ImageError: as there; a size that isn't allowed is found before anything is decoded.
    """
    kind = kind_of(source)
    if values.plain and kind not in READ_AS_IMAGES:
        raise ImageError(
            "{name} has values of its own, and these networks take 8-bit colour: save it as an 8-bit PNG first",
            name=name or Path(source).name,
        )
    if not values.plain and kind is not None:
        header, shown = files.probe(source), name or Path(source).name
        packed = source.suffix.lower() in PACKED  # It has to be unpacked whole before a slice can be read.
        if header.width * header.height * header.channels * (header.slices if packed else 1) > MAX_VALUES:
            raise ImageError(
                "{name}, {shape}, has more than {most} million values: make it smaller first",
                name=shown, shape="×".join(map(str, (*header.size, header.channels, header.slices))),
                most=MAX_VALUES // 1_000_000,
            )  # fmt: skip
        with room(header.width * header.height * header.channels):
            try:
                raster = opening.open_picture(source, values, name=shown, index=header.slices // 2)
            finally:
                opening.forget()  # A visitor's volume isn't kept open.
        # Results are kept by it, with its tags.
        raster = raster.with_values(raster.values, keep={**raster.origin.keep, FILE_DIGEST: sha256(source)})
        return raster, (header.width, header.height)
    size = probe_image(source, name=name)
    with room(math.prod(size)):
        image = open_image(source, name=name, enough=enough)
        return (image if values.plain else opening.as_raster(image, values, name or message("the picture"))), size


def kind_of(source: Source) -> str | None:
    """Return a file's kind, as `cyclegan.rasters.files` has it; None for a picture of 8 bits."""
    return files.kind_of(source) if isinstance(source, Path) else None


def slices_of(source: Source) -> int:
    """Return the number of slices in a file that `kind_of` knows, 1 in any other. Raises ImageError."""
    return files.probe(source).slices if kind_of(source) is not None else 1


@contextlib.contextmanager
def room(pixels: int) -> Iterator[None]:
    """Wait until so many pixels may be decoded."""
    global _decoding
    pixels = min(pixels, MAX_AT_ONCE)
    with _changed:
        _changed.wait_for(lambda: _decoding + pixels <= MAX_AT_ONCE)
        _decoding += pixels
    try:
        yield
    finally:
        with _changed:
            _decoding -= pixels
            _changed.notify_all()
        if pixels >= LARGE:
            give_back()


def give_back() -> None:
    """Return freed memory to the system."""
    _trim()(0)


@functools.cache
def _trim() -> Callable[[int], Any]:
    """Return glibc's `malloc_trim`; a function that does nothing where there is none."""
    try:
        return ctypes.CDLL(ctypes.util.find_library("c")).malloc_trim
    except (OSError, AttributeError, TypeError):
        return lambda _: None
