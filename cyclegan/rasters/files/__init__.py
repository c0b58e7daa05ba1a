"""Files of rasters: TIFF."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cyclegan.rasters.raster import Origin, Raster


@dataclass(frozen=True)
class Header:
    """A file's header."""

    kind: str
    width: int
    height: int
    channels: int
    dtype: str
    slices: int


def kind_of(path: Path) -> str | None:
    """Return "tiff" for a TIFF of more than 8 bits, None for any other file."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return "tiff" if file.pages[0].dtype != np.uint8 else None
    except (OSError, ValueError, tifffile.TiffFileError):
        return None


def probe(path: Path) -> Header:
    """Return the header of a file that `kind_of` knows."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        size = page.imagewidth, page.imagelength
        return Header("tiff", *size, page.samplesperpixel, str(page.dtype), len(file.pages))


def read(path: Path, index: int = 0, name: object = None) -> Raster:
    """Return a picture of a file that `kind_of` knows."""
    import tifffile

    values = tifffile.imread(path, key=index)
    return Raster(values[..., None] if values.ndim == 2 else values, Origin("tiff", str(values.dtype)))


def write(path: Path, raster: Raster) -> None:
    """Write a TIFF."""
    import tifffile

    dtype, values = np.dtype(raster.origin.dtype), raster.values
    if dtype.kind in "ui":
        values = np.clip(np.rint(values), np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = values.astype(dtype)
    tifffile.imwrite(path, values[..., 0] if values.shape[2] == 1 else values)


def ending(raster: Raster) -> str:
    """Return the ending of the file's name."""
    return ".tif"
