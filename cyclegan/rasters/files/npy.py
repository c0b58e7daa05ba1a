"""NumPy's .npy, and .npz with one array; never with pickle.

Axes: (H, W); (H, W, C) where the last is at most 16, else (N, H, W); (N, H, W, C).
"""

from __future__ import annotations

import math
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from cyclegan.errors import ImageError
from cyclegan.images import quiet
from cyclegan.rasters.files.bounds import check_bytes, checked, copied, dtype_name, explained, read_values
from cyclegan.rasters.files.format import Header
from cyclegan.rasters.files.units import dtype_for, to_stored, to_units
from cyclegan.rasters.raster import Origin, Raster
from cyclegan.values import MAX_CHANNELS

KIND, SUFFIXES = "npy", (".npy", ".npz")
_MAGIC = b"\x93NUMPY"
_ARRAY = "arr_0"
"""NumPy's own name of an array without one."""


def matches(path: Path, head: bytes) -> bool:
    """Return True for .npy by the first bytes, and for a ZIP file named .npz."""
    return head.startswith(_MAGIC) or (path.suffix.lower() == ".npz" and head.startswith(b"PK\x03\x04"))


def holds_values(path: Path, head: bytes) -> bool:
    """Return True."""
    return True


def open_file(path: Path, name: object) -> _Array:
    """Return the array's slices."""
    return _Array(path, name)


class _Array:
    def __init__(self, path: Path, name: object) -> None:
        self.path, self.name = path, name
        with explained(name), open(path, "rb") as file:
            self.packed = file.read(len(_MAGIC)) != _MAGIC
        self._copy, self.key = None, _ARRAY
        with self._opened() as stream:
            shape, self.fortran, self.dtype = _array_header(stream, name)
            self.offset = stream.tell()
        self.axes = {2: "hw", 3: "hwc" if shape[-1:] <= (MAX_CHANNELS,) else "nhw", 4: "nhwc"}.get(len(shape))
        if not self.axes:
            raise ImageError(
                "{name} holds an array {shape}: give (H, W), (H, W, C), (N, H, W) or (N, H, W, C)", name=name,
                shape=shape,
            )  # fmt: skip
        self.shape, sides = shape, dict(zip(self.axes, shape, strict=True))
        self.header = checked(
            Header(KIND, sides["w"], sides["h"], sides.get("c", 1), dtype_name(self.dtype, name), sides.get("n", 1)),
            name,
        )

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """Yield the array's own bytes, header first."""
        with open(self.path, "rb") as file:
            if not self.packed:
                yield file
                return
            with explained(self.name):
                archive = zipfile.ZipFile(file)
            with archive:
                inside = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
                if len(inside) != 1:
                    raise ImageError(
                        "{name} holds {count} arrays: save one array in a file", name=self.name, count=len(inside)
                    )
                self.key = inside[0].filename[:-4]
                with explained(self.name):
                    stream = archive.open(inside[0])
                with stream:
                    yield stream

    def read(self, index: int) -> Raster:
        stored = self._stored(index)
        stored = stored if "c" in self.axes else stored[..., None]
        keep = {"axes": self.axes, "key": self.key}
        return Raster(to_units(stored, 1.0, 0.0, self.name), Origin(KIND, self.header.dtype, keep=keep))

    def _stored(self, index: int) -> np.ndarray:
        """Return the stored values of one slice."""
        stack, order = "n" in self.axes, "F" if self.fortran else "C"
        # In Fortran's order, a slice's values are all over the file.
        if self.packed or (stack and self.fortran):
            if self._copy is None:
                self._copy = self._copied(order)
            return self._copy[index] if stack else self._copy
        shape = self.shape[1:] if stack else self.shape
        count = math.prod(shape)
        offset = self.offset + (index * count * self.dtype.itemsize if stack else 0)
        return read_values(self.path, self.dtype, offset, count, self.name).reshape(shape, order=order)

    def _copied(self, order: Literal["C", "F"]) -> np.ndarray:
        """Return the array, mapped from a copy that nobody else can change."""
        count = math.prod(self.shape) * self.dtype.itemsize
        with self._opened() as stream, tempfile.TemporaryFile() as file:
            _array_header(stream, self.name)
            if self.packed:
                check_bytes(count, self.name)
            copied(stream, file, count, self.name)
            file.flush()
            return np.memmap(file, self.dtype, "r", 0, self.shape, order)


def _array_header(stream: BinaryIO, name: object) -> tuple[tuple[int, ...], bool, np.dtype]:
    with explained(name), quiet():
        version = np.lib.format.read_magic(stream)
        # Version 3 differs from 2 in the names of structured types only.
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        if min(shape, default=0) < 0:
            raise ValueError(f"shape {shape}")
    dtype_name(dtype, name)
    return shape, fortran, dtype


def save(path: Path, name: object, values: np.ndarray, origins: Sequence[Origin]) -> None:
    """Write the array with the axes that its origin had, as far as they can hold it."""
    count, height, width, channels = values.shape
    dtype, keep = np.dtype(dtype_for(origins[0], KIND)), origins[0].keep if origins[0].kind == KIND else {}
    axes = keep.get("axes", "nhwc" if count > 1 else "hwc")
    sides = [count] if count > 1 or (axes[0] == "n" and len(origins) > 1) else []
    sides += [height, width] + ([channels] if channels > 1 or axes[-1] == "c" else [])
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(sides)}

    def write(stream: BinaryIO) -> None:
        np.lib.format.write_array_header_1_0(stream, header)
        for one in values:
            stream.write(to_stored(one, dtype.name).tobytes())

    if str(name).lower().endswith(".npz"):
        key = keep.get("key", _ARRAY)
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open(f"{key}.npy", "w", force_zip64=True) as stream,
        ):
            write(stream)
    else:
        with open(path, "wb") as stream:
            write(stream)
