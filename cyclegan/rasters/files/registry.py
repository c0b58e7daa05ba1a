"""The formats, by the first bytes of a file and by the end of its name."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from cyclegan.errors import ImageError
from cyclegan.images import IMAGE_SUFFIXES
from cyclegan.rasters.files import dicom, nifti, npy, png, tiff
from cyclegan.rasters.files.format import Format

FORMATS = {module.KIND: cast(Format, module) for module in (png, tiff, npy, nifti, dicom)}
SUFFIXES = frozenset(suffix for form in FORMATS.values() for suffix in form.SUFFIXES)
"""Ends of names of files of values; those of DICOM often have none."""
_HEAD = 4096


def head_of(path: Path) -> bytes:
    """Return a file's first bytes. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(_HEAD)


def by_content(path: Path, head: bytes) -> Format | None:
    """Return the format of a file with these first bytes."""
    return next((form for form in FORMATS.values() if form.matches(path, head)), None)


def by_name(path: Path, kind: str) -> Format:
    """Return the format that a file's name asks for, otherwise that of the kind.

    Raises:
        ImageError: the name is that of an 8-bit picture.
    """
    name = path.name.lower()
    for form in FORMATS.values():
        if name.endswith(form.SUFFIXES):
            return form
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise ImageError(
            "{name} would be a picture of 8 bits, which can't hold these values: give a name that ends in .tif",
            name=path.name,
        )
    return FORMATS[kind]
