"""`Header` and the protocol that a format's module follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from cyclegan.rasters.raster import Origin, Raster


@dataclass(frozen=True)
class Header:
    """The facts about a file that its header shows.

    Attributes:
        kind: "png", "tiff", "npy", "dicom" or "nifti".
        width, height: in pixels.
        channels: values of a pixel.
        dtype: NumPy's name of the stored values.
        slices: of a stack or volume; 1 for a picture.
    """

    kind: str
    width: int
    height: int
    channels: int
    dtype: str
    slices: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, as PIL has them."""
        return self.width, self.height


class Slices(Protocol):
    """A file whose header is read, and whose slices are read when they are asked for."""

    header: Header

    def read(self, index: int) -> Raster:
        """Return one slice."""


class Format(Protocol):
    """A module of this package that reads and writes one kind of file."""

    KIND: str
    SUFFIXES: tuple[str, ...]

    def matches(self, path: Path, head: bytes) -> bool:
        """Return True if the first bytes of a file are of this kind."""

    def holds_values(self, path: Path, head: bytes) -> bool:
        """Return True if a file that matches isn't an 8-bit picture, which `cyclegan.images` reads."""

    def open_file(self, path: Path, name: object) -> Slices:
        """Return the file's slices. Raises ImageError."""

    def save(self, path: Path, name: object, values: np.ndarray, origins: Sequence[Origin]) -> None:
        """Write float32 values (N, H, W, C) and the tags that their origins keep. Raises ImageError."""
