"""NIfTI-1 and -2 in one file, .nii and .nii.gz: slices along the third axis, rows along the second.

A fourth axis of up to 16 is channels. Values are stored × scl_slope + scl_inter.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cyclegan.errors import ImageError
from cyclegan.images import quiet
from cyclegan.rasters.files.bounds import (
    check_bytes,
    checked,
    copied,
    dtype_name,
    explained,
    package,
    read_values,
)
from cyclegan.rasters.files.format import Header
from cyclegan.rasters.files.units import dtype_for, to_stored, to_units
from cyclegan.rasters.raster import Origin, Raster

KIND, SUFFIXES = "nifti", (".nii", ".nii.gz")
_GZIP = b"\x1f\x8b"
_MOST_EXTENSIONS = 2**24
"""Bytes between the header and the values; extensions are texts of some kilobytes."""
_FARTHEST = 1e9
"""Millimetres; an affine beyond them is damaged."""
_CODES = 5
"""The last code for the kind of space that an affine leads to."""
_STORED_AS = {"bool": "uint8", "float16": "float32"}


def matches(path: Path, head: bytes) -> bool:
    """Return True for either version's magic, compressed or not."""
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(31).decompress(head, 352)
        except zlib.error:
            return False
    return head[344:347] == b"n+1" or head[4:7] == b"n+2"


def holds_values(path: Path, head: bytes) -> bool:
    """Return True."""
    return True


def open_file(path: Path, name: object) -> _Volume:
    """Return the volume's slices."""
    return _Volume(path, name)


class _Volume:
    def __init__(self, path: Path, name: object) -> None:
        nibabel = package("nibabel", "nibabel", name)
        self.path, self.name, self._copy = path, name, None
        with explained(name), quiet(), self._opened() as stream:
            self.packed = isinstance(stream, gzip.GzipFile)
            head = stream.read(540)
            kind = nibabel.Nifti2Header if head[4:7] == b"n+2" else nibabel.Nifti1Header
            size = kind.sizeof_hdr
            self.offset = int(kind(head[:size], check=False).get_data_offset())
            if not size <= self.offset <= _MOST_EXTENSIONS:
                raise ValueError(f"vox_offset {self.offset}")
            head += stream.read(self.offset - len(head)) if self.offset > len(head) else b""
            self.fields = kind.from_fileobj(io.BytesIO(head[: self.offset]), check=False)
            shape = tuple(int(side) for side in self.fields.get_data_shape())
            self.dtype = self.fields.get_data_dtype()
            slope, intercept = self.fields.get_slope_inter()
            _check_places(self.fields)
        self.slope, self.intercept = (1.0 if slope is None else float(slope)), float(intercept or 0.0)
        while len(shape) > 2 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) == 5 and shape[3] == 1:  # Vectors are along the fifth axis.
            shape = (*shape[:3], shape[4])
        if not 2 <= len(shape) <= 4:
            raise ImageError(
                "{name} has the axes {shape}: give width, height, slices and at most 16 channels", name=name,
                shape=shape,
            )  # fmt: skip
        width, height, count, channels = (*shape, 1, 1)[:4]
        self.header = checked(Header(KIND, width, height, channels, dtype_name(self.dtype, name), count), name)

    def _opened(self) -> BinaryIO:
        with open(self.path, "rb") as file:
            packed = file.read(2) == _GZIP
        return gzip.open(self.path, "rb") if packed else open(self.path, "rb")

    def read(self, index: int) -> Raster:
        keep: dict[str, Any] = {"header": self.fields, "slice": index, "size": self.header.size}
        low, high = float(self.fields["cal_min"]), float(self.fields["cal_max"])
        if math.isfinite(low) and math.isfinite(high) and low < high:
            keep["window"] = (low, high)
        origin = Origin(KIND, self.header.dtype, self.slope, self.intercept, keep)
        return Raster(to_units(self._stored(index).transpose(1, 2, 0), self.slope, self.intercept, self.name), origin)

    def _stored(self, index: int) -> np.ndarray:
        """Return the stored values of one slice, (C, H, W)."""
        if self.packed:
            if self._copy is None:
                self._copy = self._unpacked()
            return self._copy[:, index]
        header = self.header
        area = header.height * header.width
        places = (index + channel * header.slices for channel in range(header.channels))
        offsets = (self.offset + place * area * self.dtype.itemsize for place in places)
        bands = [read_values(self.path, self.dtype, offset, area, self.name) for offset in offsets]
        return np.stack(bands).reshape(header.channels, header.height, header.width)

    def _unpacked(self) -> np.ndarray:
        """Return the values as (C, N, H, W), mapped from an unpacked copy of the file."""
        header = self.header
        shape = (header.channels, header.slices, header.height, header.width)
        count = math.prod(shape) * self.dtype.itemsize
        check_bytes(count, self.name)
        with tempfile.TemporaryFile() as file, self._opened() as stream:
            with explained(self.name):
                stream.read(self.offset)
            copied(stream, file, count, self.name)
            file.flush()
            return np.memmap(file, self.dtype, "r", 0, shape)


def save(path: Path, name: object, values: np.ndarray, origins: Sequence[Origin]) -> None:
    """Write a volume with the header and the affine of its origin; a single slice stays at its place in space."""
    nibabel = package("nibabel", "nibabel", name)
    origin, (count, height, width, channels) = origins[0], values.shape
    own = origin.kind == KIND and "header" in origin.keep
    header = origin.keep["header"].copy() if own else nibabel.Nifti1Header()
    header = header.as_byteswapped("<")
    dtype = _STORED_AS.get(dtype_for(origin, KIND), dtype_for(origin, KIND))
    slope, intercept = (origin.slope, origin.intercept) if origin.kind == KIND else (1.0, 0.0)
    flat = own and count * channels == 1 and len(header.get_data_shape()) == 2
    header.set_data_shape((width, height, count, channels)[: 2 if flat else 4 if channels > 1 else 3])
    header.set_data_dtype(dtype)
    header.set_slope_inter(slope, intercept)
    header["cal_min"] = header["cal_max"] = header["vox_offset"] = 0
    if own and origin.keep["size"] == (width, height):
        _move(header, origin.keep["slice"])
    else:  # A picture of another size, or from another kind of file: nobody knows its place in space.
        header["qform_code"] = header["sform_code"] = 0
        header["pixdim"][1:3] = 1
    with open(path, "wb") as file:
        packed = str(name).lower().endswith(".gz")
        # Without a file's name and time, equal volumes are equal files.
        with gzip.GzipFile("", "wb", 6, file, 0) if packed else contextlib.nullcontext(file) as stream:
            header.write_to(stream)
            stream.write(b"\0" * (int(header.get_data_offset()) - stream.tell()))
            order = np.dtype(dtype).newbyteorder("<")
            for channel in range(channels):
                for one in values:
                    stream.write(to_stored(one[..., channel], dtype, slope, intercept).astype(order).tobytes())


def _check_places(header: Any) -> None:
    """Forget a place in space that isn't one, because the values can be read without it."""
    for get, code in ((header.get_qform, "qform_code"), (header.get_sform, "sform_code")):
        try:
            affine = get(coded=False)
            known = np.isfinite(affine).all() and np.abs(affine).max() < _FARTHEST and 0 <= header[code] <= _CODES
        except Exception:  # Damaged fields raise nearly anything.
            known = False
        if not known:
            header[code] = 0


def _move(header: Any, slices: int) -> None:
    """Move the volume's origin in space by a number of slices."""
    qform, sform = header.get_qform(coded=True)[0], header.get_sform(coded=True)[0]  # None: no place is known.
    for axis, name in enumerate("xyz"):
        if qform is not None:
            header[f"qoffset_{name}"] += qform[axis, 2] * slices
        if sform is not None:
            header[f"srow_{name}"][3] += sform[axis, 2] * slices
