"""TIFF of any depth and number of bands, with its pages as slices, as stored.

The channels of ImageJ and OME files are channels here; all their other axes are slices.
"""

from __future__ import annotations

import itertools
import logging
import math
import re
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cyclegan.errors import ImageError
from cyclegan.images import MAX_PIXELS, quiet
from cyclegan.rasters.files.bounds import (
    MAX_SLICES,
    checked,
    dtype_name,
    explained,
    package,
    read_values,
    truncated,
)
from cyclegan.rasters.files.format import Header
from cyclegan.rasters.files.units import dtype_for, to_stored, to_units
from cyclegan.rasters.raster import Origin, Raster

KIND, SUFFIXES = "tiff", (".tif", ".tiff")
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SUBFILE, _WIDTH, _LENGTH, _BITS, _PHOTOMETRIC, _SAMPLES, _FORMAT = 254, 256, 257, 258, 262, 277, 339
_REDUCED, _MASK = 1, 4
_WHITE_IS_ZERO, _RGB, _PALETTE = 0, 2, 3
_GREY_OR_RGB = (0, 1, 2)
_PICTURE_BANDS = 4
"""Bands that a picture of 8 bits can have: RGB and alpha, or CMYK."""
_FIRST_PAGES = 8
"""Pages that are looked at for a second one of the first one's size; masks and small copies may come between."""
_ASCII, _SHORT, _DOUBLE = 2, 3, 12
_ORIENTATION = 274
_KEPT = {
    _ORIENTATION: _SHORT,
    315: _ASCII,  # Artist.
    33432: _ASCII,  # Copyright.
    33550: _DOUBLE,  # Size of a pixel on the ground, and the next two: its place.
    33922: _DOUBLE,
    34264: _DOUBLE,
    34735: _SHORT,  # GeoTIFF's keys; the next two have their values.
    34736: _DOUBLE,
    34737: _ASCII,
    42112: _ASCII,  # GDAL's metadata, and its value for what is missing.
    42113: _ASCII,
}
"""Tags that are written as they were, and their types."""
_GEOMETRY = (33550, 33922, 34264)
"""Tags that fit pictures of the same size only."""
_FLAVOURS = ("shaped", "imagej", "ome")
"""Conventions for the meaning of pages that are followed. Some others open files beside this one."""
_SHAPED = ('{"shape"', "shape=(")
"""The beginning of descriptions in which tifffile notes an array's shape."""
_IMAGEJ = (("spacing", float), ("finterval", float), ("unit", str), ("Info", str))
"""Values of ImageJ's own text that are kept, and their types."""
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")


def matches(path: Path, head: bytes) -> bool:
    """Return True for TIFF and BigTIFF of either byte order."""
    return head.startswith(_MAGIC)


def holds_values(path: Path, head: bytes) -> bool:
    """Return True for more than 8 bits, signed values, floats, more than 4 bands, or a stack of pages."""
    with open(path, "rb") as file:
        pages = [page for page in itertools.islice(_pages(file), _FIRST_PAGES) if _is_slice(page)]
    if not pages:
        return False
    first = pages[0]
    bits, photometric = first.get(_BITS, (1,)), first.get(_PHOTOMETRIC, (1,))[0]
    if photometric == _PALETTE or max(bits) < 8:
        return False
    if max(bits) > 8 or first.get(_FORMAT, (1,))[0] not in (1, 4) or first.get(_SAMPLES, (1,))[0] > _PICTURE_BANDS:
        return True
    alike = [page for page in pages if all(page.get(tag) == first.get(tag) for tag in (_WIDTH, _LENGTH, _BITS))]
    return len(alike) > 1 and photometric in _GREY_OR_RGB


def _is_slice(page: dict[int, tuple[int, ...]]) -> bool:
    return not page.get(_SUBFILE, (0,))[0] & (_REDUCED | _MASK)


def _pages(file: BinaryIO) -> Iterator[dict[int, tuple[int, ...]]]:
    """Yield the tags of each page that are short whole numbers, without a library; stop where the file is damaged.

    Raises:
        ValueError: the pages never end.
    """
    head = file.read(16)
    order, big = ("<" if head[:2] == b"II" else ">"), head[2:4] in (b"+\0", b"\0+")
    number, entry = ("Q", "HHQ8s") if big else ("L", "HHL4s")
    seen: set[int] = set()
    try:
        offset = struct.unpack_from(order + number, head, 8 if big else 4)[0]
        while offset:
            if offset in seen:  # tifffile would follow them for ever.
                raise ValueError("its pages are in a circle")
            seen.add(offset)
            file.seek(offset)
            count = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))[0]
            size = struct.calcsize("<" + entry)
            entries = file.read(min(count, 2**16) * size)
            rest = file.read(struct.calcsize("<" + number))
            yield dict(_short_values(file, entries, order + entry, order))
            offset = struct.unpack(order + number, rest)[0]
    except (struct.error, OSError, OverflowError):
        return


def _short_values(file: BinaryIO, entries: bytes, entry: str, order: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the tag and the values of each entry of a page that has up to 16 numbers of 16 or 32 bits."""
    whole = len(entries) - len(entries) % struct.calcsize(entry)
    for tag, kind, count, value in struct.iter_unpack(entry, entries[:whole]):
        letter = {3: "H", 4: "L"}.get(kind)
        if not letter or not 1 <= count <= 16:
            continue
        form = f"{order}{count}{letter}"
        if struct.calcsize(form) > len(value):
            file.seek(struct.unpack(order + ("Q" if len(value) == 8 else "L"), value)[0])
            value = file.read(struct.calcsize(form))
        if len(value) >= struct.calcsize(form):
            yield tag, struct.unpack_from(form, value)


def open_file(path: Path, name: object) -> _Pages:
    """Return the file's pages as slices."""
    return _Pages(path, name)


class _Pages:
    """The pages of a file's first series: all of one size, some of them channels of one slice."""

    def __init__(self, path: Path, name: object) -> None:
        self._tifffile = package("tifffile", "tifffile", name)
        _silence()
        self.path, self.name, self._reading = path, name, threading.Lock()
        with explained(name), open(path, "rb") as file:
            if sum(1 for _ in itertools.islice(_pages(file), MAX_SLICES + 1)) > MAX_SLICES:
                raise ImageError("{name} has more than {most:,} pages: split it", name=name, most=MAX_SLICES)
        flags = {f"is_{flag}": False for flag in self._tifffile.TIFF.FILE_FLAGS if flag not in _FLAVOURS}
        with explained(name), quiet(), self._tifffile.TiffFile(path, _multifile=False, **flags) as tiff:
            series, page = tiff.series[0], tiff.series[0].keyframe
            self.pages = [series[index] for index in range(len(series))]
            self.page, self.offset = page, series.dataoffset
            self.keep = _kept(tiff, page)
            self.order = tiff.byteorder
            self.lead, self.axes = _leading(series, page)
            dtype, photometric, self.depth = page.dtype, page.photometric, int(page.imagedepth)
            width, height, samples = int(page.imagewidth), int(page.imagelength), int(page.samplesperpixel)
            tile = int(page.tilewidth) * int(page.tilelength) * int(page.tiledepth)
        if dtype is None or photometric == _PALETTE:
            raise ImageError("{name} is a TIFF of an unusual kind: save 8, 16 or 32 bits without a palette", name=name)
        if tile > MAX_PIXELS:
            raise truncated(name)
        self.bands = math.prod(side for side, axis in zip(self.lead, self.axes, strict=True) if axis == "C")
        count = math.prod(self.lead) // max(self.bands, 1) * self.depth
        type_name = dtype_name(np.dtype(dtype), name)
        self.header = checked(Header(KIND, width, height, self.bands * samples, type_name, count), name)
        channel = self.axes.find("C")
        places = np.arange(math.prod(self.lead)).reshape(self.lead)
        self.places = (places if channel < 0 else np.moveaxis(places, channel, -1)).reshape(-1, self.bands)
        rest = [(axis, side) for axis, side in zip(self.axes, self.lead, strict=True) if axis in "TZ" and side > 1]
        if self.depth == 1 and math.prod(side for _, side in rest) == count:
            self.keep["lead"] = rest

    def read(self, index: int) -> Raster:
        place, depth = divmod(index, self.depth)
        bands = [self._plane(page)[:, depth] for page in self.places[place]]
        # (separate samples, H, W, samples) each; either kind of samples is 1.
        stored = np.concatenate([band.transpose(1, 2, 0, 3).reshape(*band.shape[1:3], -1) for band in bands], 2)
        return Raster(to_units(stored, 1.0, 0.0, self.name), Origin(KIND, self.header.dtype, keep=self.keep))

    def _plane(self, index: int) -> np.ndarray:
        """Return one page as (separate samples, depth, H, W, samples)."""
        shape = self.page.shaped
        if len(self.pages) != len(self.places) * self.bands:
            return self._contiguous(index).reshape(shape)
        page, size = self.pages[index], self.path.stat().st_size
        if page is None:  # OME can name planes that the file lacks.
            raise truncated(self.name)
        handle = page.parent.filehandle
        with self._reading, explained(self.name):
            parts = zip(page.dataoffsets, page.databytecounts, strict=False)
            if any(start + count > size for start, count in parts):
                raise truncated(self.name)
            handle.open()
            try:
                array = page.asarray(squeeze=False)
            finally:
                handle.close()
        if array.shape != shape:
            raise truncated(self.name)
        return array

    def _contiguous(self, index: int) -> np.ndarray:
        """Return one plane of a file whose only page is followed by the values of the others."""
        if self.offset is None:
            raise truncated(self.name)
        dtype = np.dtype(self.page.dtype).newbyteorder(self.order)
        offset = self.offset + index * self.page.size * dtype.itemsize
        return read_values(self.path, dtype, offset, self.page.size, self.name)


def _silence() -> None:
    """Keep tifffile's log of odd tags off the terminal, unless the program has handlers of its own."""
    logger = logging.getLogger("tifffile")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _leading(series: Any, page: Any) -> tuple[tuple[int, ...], str]:
    """Return the sizes and the letters of a series' axes before those of a page."""
    depth = len(page.shape)
    if tuple(series.shape[-depth:]) == tuple(page.shape) and series.axes[-depth:] == page.axes:
        return tuple(series.shape[:-depth]), series.axes[:-depth]
    return (series.size // page.size,), "I"


def _kept(tiff: Any, page: Any) -> dict[str, Any]:
    keep: dict[str, Any] = {
        "tags": [kept for tag in page.tags if (kept := _kept_tag(tag))],
        "size": (page.imagewidth, page.imagelength),
        "compressed": page.compression != 1,
        "rgb": page.photometric == _RGB,
        "extra": tuple(int(sample) for sample in page.extrasamples),
        "inverted": page.photometric == _WHITE_IS_ZERO,
    }
    across, down, unit = (page.tags.valueof(code) for code in (282, 283, 296))
    ratios = [isinstance(ratio, tuple) and len(ratio) == 2 and min(ratio) > 0 for ratio in (across, down)]
    if all(ratios) and unit in (None, 1, 2, 3):
        keep["resolution"] = (across, down, 2 if unit is None else int(unit))
    if tiff.is_imagej:
        metadata = tiff.imagej_metadata or {}
        keep["imagej"] = {key: metadata[key] for key, kind in _IMAGEJ if isinstance(metadata.get(key), kind)}
    elif tiff.is_ome:
        text = tiff.ome_metadata or ""
        sizes = re.findall(r'\b(PhysicalSize[XYZ])="(\d{1,9}(?:\.\d{1,20})?(?:[eE][-+]?\d)?)"', text)
        units = re.findall(r'\b(PhysicalSize[XYZ]Unit)="([^"<>&]{1,20})"', text)
        keep["ome"] = {**{key: float(size) for key, size in reversed(sizes)}, **dict(reversed(units))}
    elif page.description and not page.description.startswith(_SHAPED):
        keep["description"] = page.description
    return keep


def _kept_tag(tag: Any) -> tuple[int, int, int, Any, bool] | None:
    """Return a tag as tifffile writes it; None for one that isn't kept, or is damaged."""
    kind, value = _KEPT.get(tag.code), tag.value
    if kind is None or tag.dtype != kind:
        return None
    if kind == _ASCII:
        data = value.encode() if isinstance(value, str) else value
        return (tag.code, kind, len(data) + 1, data, True) if isinstance(data, bytes) and data else None
    numbers = tuple(value) if isinstance(value, tuple) else (value,)
    if tag.code == _ORIENTATION:
        numbers = tuple(int(number) for number in numbers)
    if not numbers or not all(isinstance(number, int | float) for number in numbers):
        return None
    return tag.code, kind, len(numbers), numbers if len(numbers) > 1 else numbers[0], True


def save(path: Path, name: object, values: np.ndarray, origins: Sequence[Origin]) -> None:
    """Write a page for each slice; for ImageJ and OME one for each channel."""
    tifffile = package("tifffile", "tifffile", name)
    count, height, width, channels = values.shape
    keep = origins[0].keep if origins[0].kind == KIND else {}
    dtype = np.dtype(dtype_for(origins[0], KIND))
    if dtype.kind == "b" and channels > 1:  # TIFF has single bits for one band only.
        dtype = np.dtype(np.uint8)
    same_size = keep.get("size", (width, height)) == (width, height)
    options: dict[str, Any] = {"compression": "zlib" if keep.get("compressed") else None}
    if "resolution" in keep and same_size:
        *options["resolution"], options["resolutionunit"] = keep["resolution"]
    tags = [tag for tag in keep.get("tags", ()) if same_size or tag[0] not in _GEOMETRY]
    flavour = _flavour(keep, dtype, channels)
    if flavour:
        lead = keep.get("lead", [])
        if math.prod(side for _, side in lead) != count:
            lead = [("Z", count)] if count > 1 else []
        axes = [*lead, *([("C", channels)] if channels > 1 else []), ("Y", height), ("X", width)]
        pages = (to_stored(one[..., channel], dtype.name) for one in values for channel in range(channels))
        options |= {"shape": tuple(side for _, side in axes), "photometric": "minisblack"}
        options["metadata"] = {**keep[flavour], "axes": "".join(axis for axis, _ in axes)}
    else:
        pages = (to_stored(one if channels > 1 else one[..., 0], dtype.name) for one in values)
        options |= {"shape": (count, height, width) + ((channels,) if channels > 1 else ()), "metadata": None}
        options |= _photometric(keep, dtype, channels)
        options |= {"description": keep.get("description", "").encode(), "extratags": tags}
    # 4 GB with room for the tags is the limit of a plain TIFF; ImageJ has its own way beyond.
    big = flavour != "imagej" and values.size * dtype.itemsize > 2**32 - 2**25
    kinds = {flavour: True} if flavour else {}
    with tifffile.TiffWriter(path, bigtiff=big, **kinds) as writer:
        writer.write(pages, dtype=dtype, **options)


def _flavour(keep: dict[str, Any], dtype: np.dtype, channels: int) -> str | None:
    """Return the convention for the meaning of pages that the file followed, if it can hold these values."""
    if "imagej" in keep and dtype.name in _IMAGEJ_TYPES and not keep["rgb"]:
        return "imagej"
    return "ome" if "ome" in keep and not keep["rgb"] and dtype.kind != "b" else None


def _photometric(keep: dict[str, Any], dtype: np.dtype, channels: int) -> dict[str, Any]:
    """Return the meaning of the channels: red, green and blue where they were, otherwise bands."""
    if channels == 1:
        return {"photometric": "miniswhite" if keep.get("inverted") else "minisblack"}
    extra = keep.get("extra", ())
    if channels >= 3 and keep.get("rgb", channels == 3 and dtype.kind == "u"):
        more = channels - 3
        return {"photometric": "rgb", "planarconfig": "contig", "extrasamples": (*extra[:more], *[0] * more)[:more]}
    more = channels - 1
    return {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": (*extra[:more], *[0] * more)[:more]}
