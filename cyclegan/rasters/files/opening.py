"""The way in and out: kind_of, probe, read, write, open_stack."""

from __future__ import annotations

import os
from pathlib import Path

from cyclegan.errors import ImageError
from cyclegan.images import IMAGE_SUFFIXES
from cyclegan.rasters.files import dicom
from cyclegan.rasters.files.bounds import check_path, explained
from cyclegan.rasters.files.dicom_series import Series
from cyclegan.rasters.files.format import Header, Slices
from cyclegan.rasters.files.registry import SUFFIXES, by_content, head_of
from cyclegan.rasters.files.stack import Stack, save
from cyclegan.rasters.raster import Raster

ENDINGS = {"png": ".png", "tiff": ".tif", "npy": ".npy", "dicom": ".dcm", "nifti": ".nii.gz"}

__all__ = ["ENDINGS", "SUFFIXES", "ending", "is_series", "kind_of", "open_stack", "probe", "read", "write"]


def kind_of(path: str | os.PathLike) -> str | None:
    """Return the kind of a file of values: "png", "tiff", "npy", "dicom" or "nifti".

    From the first bytes, whatever the name; no library is loaded. None stands for everything else: pictures of 8 bits,
    which `cyclegan.images.open_image` reads, and whatever can't be read. TIFFs of 8 bits with several pages of one size
    are stacks.
    """
    path = Path(path)
    try:
        if not path.is_file():  # Opening a pipe would wait for ever.
            return None
        head = head_of(path)
        form = by_content(path, head)
        return form.KIND if form and form.holds_values(path, head) else None
    except (OSError, ValueError):  # ValueError: a name with a null byte.
        return None


def probe(path: str | os.PathLike, *, name: str | None = None) -> Header:
    """Return size, channels, type and number of slices, from the header alone. Raises ImageError."""
    return _opened(Path(path), name or Path(path).name).header


def read(path: str | os.PathLike, index: int = 0, *, name: str | None = None) -> Raster:
    """Return a picture, or a slice of a stack, in units.

    Raises:
        ImageError: it can't be read, is too large, or isn't a file of values.
    """
    name = name or Path(path).name
    return Stack(_opened(Path(path), name), name).read(index)


def write(path: str | os.PathLike, raster: Raster) -> None:
    """Write a picture as its origin was: the same type of values, slope and tags, where the kind of file has them.

    Whole numbers are rounded, and clipped at the ends of their type; `held` gives another type to those that wouldn't
    fit. A name that ends as those of another kind of file asks for that one. DICOM becomes a derived image.

    Raises:
        ImageError: it can't be written, or the kind of file can't hold it.
    """
    save(Path(path), raster.values[None], [raster.origin])


def ending(raster: Raster) -> str:
    """Return the end of the name of a file that `write` writes a picture to in its origin's kind, such as ".tif"."""
    origin = raster.origin
    if origin.kind == "png" and (origin.dtype not in ("uint8", "uint16") or raster.channels > 4):
        return ENDINGS["tiff"]  # PNG can't hold it.
    return ENDINGS[origin.kind]


def open_stack(path: str | os.PathLike, *, name: str | None = None) -> Stack:
    """Return the slices of a file, or of a folder with the DICOM files of one series.

    Slices are the pages of a TIFF; the third axis of a NIfTI volume; the frames of a DICOM file; and the first axis of
    a NumPy array (N, H, W, C), or (N, H, W) where the last axis is longer than 16: a shorter one is channels.

    Raises:
        ImageError: it can't be read, or the folder holds no series, or several.
    """
    path = Path(path)
    name = name or path.resolve().name
    with explained(name):
        folder = path.is_dir()
    return Stack(Series(path, name) if folder else _opened(path, name), name)


def is_series(path: str | os.PathLike) -> bool:
    """Return whether a folder holds two DICOM files or more, and no other picture.

    Subfolders, a DICOMDIR, texts, and empty or hidden files don't count.
    """
    count = 0
    try:
        if not os.path.isdir(path):
            return False
        for each in Path(path).iterdir():
            hidden = each.name.startswith(".") or each.name.upper() == "DICOMDIR"
            if hidden or not each.is_file() or not each.stat().st_size:
                continue
            kind = kind_of(each)
            if kind == dicom.KIND:
                count += 1
            elif kind or each.suffix.lower() in IMAGE_SUFFIXES:
                return False
    except OSError:
        return False
    return count > 1


def _opened(path: Path, name: str) -> Slices:
    check_path(path, name)
    with explained(name):
        head = head_of(path)
    form = by_content(path, head)
    if not form:
        raise ImageError(
            "{name} isn't a PNG, TIFF, NumPy, DICOM or NIfTI file that can be read here, whatever its name: give one",
            name=name,
        )
    return form.open_file(path, name)
