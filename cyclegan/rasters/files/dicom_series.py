"""A folder of DICOM files that are the slices of one series, in their order in space."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from cyclegan.errors import ImageError
from cyclegan.images import natural_order, quiet
from cyclegan.rasters.files import dicom
from cyclegan.rasters.files.bounds import MAX_SLICES, checked, explained, package
from cyclegan.rasters.files.dicom_tags import check_tags
from cyclegan.rasters.files.format import Header
from cyclegan.rasters.raster import Raster

_TAGS = [
    "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "InstanceNumber", "ImagePositionPatient",
    "ImageOrientationPatient", "Rows", "Columns",
]  # fmt: skip
_MOST_NAMED = 5


class Series:
    """The slices of a folder.

    Attributes:
        header: size and type of the first slice, and the number of slices.
        files: of the slices, in order.
    """

    def __init__(self, folder: Path, name: object) -> None:
        found = _found(folder, name)
        by_series = defaultdict(list)
        for path, tags in found:
            by_series[str(tags.get("SeriesInstanceUID", ""))].append((path, tags))
        if len(by_series) > 1:
            names = sorted(_series_name(files) for files in by_series.values())
            more = ", …" if len(names) > _MOST_NAMED else ""
            raise ImageError(
                "{name} holds {count} DICOM series ({series}): move each into a folder of its own", name=name,
                count=len(names), series=", ".join(names[:_MOST_NAMED]) + more,
            )  # fmt: skip
        self.name = name
        self.files = [path for path, _ in _in_order(found)]
        first = dicom.Picture(self.files[0], self.files[0].name)
        self.frames = len(self.files) == 1 and first.header.slices > 1
        count = first.header.slices if self.frames else len(self.files)
        self.header = checked(
            Header(dicom.KIND, *first.header.size, first.header.channels, first.header.dtype, count), name
        )

    def read(self, index: int) -> Raster:
        """Return one slice in units."""
        path = self.files[0 if self.frames else index]
        picture = dicom.Picture(path, path.name)
        if not self.frames and picture.header.slices > 1:
            raise ImageError(
                "{name} has several frames, in a folder of several files: give the file itself", name=path.name
            )
        header = self.header
        if (picture.header.size, picture.header.channels) != (header.size, header.channels):
            raise ImageError(
                "{name}, {width}×{height}, isn't of the size of the first slice of its series: move it elsewhere",
                name=path.name, width=picture.header.width, height=picture.header.height,
            )  # fmt: skip
        raster = picture.read(index if self.frames else 0)
        if not self.frames:
            raster.origin.keep["file"] = path.name
        return raster


def _found(folder: Path, name: object) -> list[tuple[Path, Any]]:
    """Return the folder's DICOM pictures and the tags that order them; other files are left out."""
    pydicom = package("pydicom", "pydicom", name)
    with explained(name):
        paths = sorted((Path(entry.path) for entry in os.scandir(folder) if entry.is_file()), key=_by_name)
    found = []
    for path in paths:
        with explained(path.name), quiet():
            with open(path, "rb") as file:
                head = file.read(132)
            if path.name.startswith(".") or not dicom.matches(path, head):
                continue
            check_tags(path, path.name)
            meta = pydicom.filereader.read_file_meta_info(path)
            if dicom.is_directory(meta):
                continue
            if len(found) == MAX_SLICES:
                raise ImageError("{name} has more than {most:,} DICOM files: split it", name=name, most=MAX_SLICES)
            found.append((path, pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)))
    if not found:
        raise ImageError("{name} holds no DICOM files: give a folder with the slices of one series", name=name)
    return found


def _by_name(path: Path) -> tuple:
    return natural_order(path.name)


def _series_name(files: list[tuple[Path, Any]]) -> str:
    """Return a series' number and description, and its first file."""
    path, tags = files[0]
    parts = (str(tags.get(tag) or "") for tag in ("SeriesNumber", "SeriesDescription"))
    return " ".join(part for part in (*parts, f"[{path.name}]") if part)


def _in_order(found: list[tuple[Path, Any]]) -> list[tuple[Path, Any]]:
    """Return the slices by position along their normal, otherwise by instance number, otherwise by name."""
    positions = [_position(tags) for _, tags in found]
    normals = [normal for normal, _ in positions if normal is not None]
    parallel = len(normals) == len(found) and all(np.dot(normal, normals[0]) > 0.99 for normal in normals)
    places = [float(np.dot(at, normals[0])) for _, at in positions] if parallel else [0.0] * len(found)
    # Rounded, because the same place is written with different last digits; times of one place follow their number.
    keys = [
        (round(place, 3), _number(tags), natural_order(path.name))
        for place, (path, tags) in zip(places, found, strict=True)
    ]
    return [found[index] for index in sorted(range(len(found)), key=keys.__getitem__)]


def _position(tags: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the normal of a slice's plane and its position, or None for both."""
    try:
        turn = np.array([float(value) for value in tags.ImageOrientationPatient])
        at = np.array([float(value) for value in tags.ImagePositionPatient])
        normal = np.cross(turn[:3], turn[3:])
        length = float(np.linalg.norm(normal))
    except (AttributeError, TypeError, ValueError):
        return None, None
    if at.shape != (3,) or not np.isfinite(at).all() or not 0.5 < length < 2:
        return None, None
    return normal / length, at


def _number(tags: Any) -> int:
    try:
        return int(tags.get("InstanceNumber") or 0)
    except (TypeError, ValueError):
        return 0
