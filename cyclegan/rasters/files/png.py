"""16-bit PNG: grey, grey with alpha, RGB and RGBA, as stored."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cyclegan.errors import ImageError
from cyclegan.rasters.files.bounds import checked, explained, package
from cyclegan.rasters.files.format import Header
from cyclegan.rasters.files.units import dtype_for, to_stored, to_units
from cyclegan.rasters.raster import Origin, Raster

KIND, SUFFIXES = "png", (".png",)
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Channels for each colour type in the header; 3 is a palette."""


def matches(path: Path, head: bytes) -> bool:
    """Return True for a PNG."""
    return head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR" and len(head) >= 26


def holds_values(path: Path, head: bytes) -> bool:
    """Return True for 16 bits."""
    return head[24] == 16


def open_file(path: Path, name: object) -> _Picture:
    """Return the picture as one slice."""
    return _Picture(path, name)


class _Picture:
    def __init__(self, path: Path, name: object) -> None:
        with explained(name), open(path, "rb") as file:
            width, height, bits, colour = struct.unpack(">IIBB", file.read(26)[16:])
        if bits not in (8, 16) or colour not in _CHANNELS:
            raise ImageError("{name} is a PNG of {bits} bits or with a palette: save 16 bits", name=name, bits=bits)
        self.path, self.name = path, name
        self.header = checked(Header(KIND, width, height, _CHANNELS[colour], f"uint{bits}"), name)

    def read(self, index: int) -> Raster:
        codecs = package("imagecodecs", "imagecodecs", self.name)
        with explained(self.name):
            pixels = codecs.png_decode(self.path.read_bytes())
            # A colour that counts as transparent is decoded as a channel of its own.
            pixels = pixels.reshape(self.header.height, self.header.width, -1)[..., : self.header.channels]
        return Raster(to_units(pixels, 1.0, 0.0, self.name), Origin(KIND, pixels.dtype.name))


def save(path: Path, name: object, values: np.ndarray, origins: Sequence[Origin]) -> None:
    """Write one picture of whole numbers."""
    dtype = dtype_for(origins[0], KIND)
    if dtype not in ("uint8", "uint16"):
        raise ImageError(
            "{name} would hold values of the type {dtype}, and PNG holds whole numbers from 0 to 65,535: give a name "
            "that ends in .tif",
            name=name, dtype=dtype,
        )  # fmt: skip
    if len(values) > 1 or values.shape[3] > 4:
        raise ImageError(
            "{name} would have {slices} slices and {channels} channels, and PNG holds 1 slice and 4 channels: give a "
            "name that ends in .tif",
            name=name, slices=len(values), channels=values.shape[3],
        )  # fmt: skip
    pixels = to_stored(values[0], dtype)
    codecs = package("imagecodecs", "imagecodecs", name)
    path.write_bytes(codecs.png_encode(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)))
