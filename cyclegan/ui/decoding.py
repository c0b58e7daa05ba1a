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
from typing import Any

from PIL import Image

from cyclegan.errors import Message
from cyclegan.images import MAX_PIXELS, Source, open_image, probe_image

MAX_AT_ONCE = MAX_PIXELS
"""Pixels that are decoded at once: one of the largest pictures, or many of the usual ones."""
LARGE = 4_000_000
"""After a picture of so many pixels, what was freed goes back to the system; it otherwise stays with the process."""

_changed = threading.Condition()
_decoding = 0


def open_picture(
    source: Source, *, name: str | Message | None = None, enough: int | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """Open a visitor's picture when there is room for it, as `cyclegan.images.open_image` does.

    Returns:
        The picture, and the width and height of the file, of which `enough` may decode a part.

    Raises:
        ImageError: as there; a size that isn't allowed is found before anything is decoded.
    """
    size = probe_image(source, name=name)
    with room(math.prod(size)):
        return open_image(source, name=name, enough=enough), size


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
