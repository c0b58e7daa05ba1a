"""`Stack`: slices that are read one at a time, and the writer of a stack."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cyclegan.errors import ImageError, reason_of
from cyclegan.files import whole_file, whole_folder
from cyclegan.rasters.files import dicom, dicom_derived
from cyclegan.rasters.files.format import Slices
from cyclegan.rasters.files.registry import by_name
from cyclegan.rasters.raster import Origin, Raster


class Stack:
    """A file or a folder of slices of one size.

    Attributes:
        name: of the file or folder, for messages.
        header: kind, size, channels, dtype and number of slices.
    """

    def __init__(self, slices: Slices, name: str) -> None:
        self._slices, self.name, self.header = slices, name, slices.header

    @property
    def count(self) -> int:
        """Number of slices."""
        return self.header.slices

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a slice."""
        return self.header.size

    @property
    def channels(self) -> int:
        """Values of a pixel."""
        return self.header.channels

    @property
    def dtype(self) -> str:
        """NumPy's name of the stored values."""
        return self.header.dtype

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Raster:
        """Return one slice, read now. Raises ImageError."""
        if not 0 <= index < self.count:
            raise ImageError(
                "{name} has no slice {index}: give one from 0 to {last}", name=self.name, index=index,
                last=self.count - 1,
            )  # fmt: skip
        return self._slices.read(index)

    @contextlib.contextmanager
    def writer(self, path: Path) -> Iterator[Writer]:
        """Yield the writer of a stack with as many slices, in a file or folder of the same kind.

        The slices wait in a hidden file; at the end all are written, or after an exception none. A name that ends as
        those of another kind asks for that one.

        Raises:
            ImageError: it can't be written, or can't hold the values.
        """
        path = Path(path)
        _check_free(path)  # Before hours of work, and again at the end.
        with contextlib.ExitStack() as closing:
            with _written(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                file = closing.enter_context(tempfile.TemporaryFile(dir=path.parent))
            writer = Writer(path, file, self.count)
            yield writer
            save(path, writer.values(), writer.origins())


class Writer:
    """Slices of one size that arrive in any order."""

    def __init__(self, path: Path, file: BinaryIO, count: int) -> None:
        self._path, self._file, self._shape = path, file, None
        self._origins: list[Origin | None] = [None] * count

    def write(self, index: int, raster: Raster) -> None:
        """Add a slice. Raises ImageError if it has another size than those before, or the disk is full."""
        shape = raster.values.shape
        if shape != (self._shape or shape):
            raise ImageError(
                "slice {index} {shape} isn't of the size of those before it {before}: write slices of one size",
                index=index, shape=shape, before=self._shape,
            )  # fmt: skip
        self._shape, self._origins[index] = shape, raster.origin
        # Written, not mapped: a full disk is an error then, and not the end of the process.
        with _written(self._path):
            self._file.seek(index * raster.values.nbytes)
            self._file.write(raster.values.tobytes())
            self._file.flush()

    def origins(self) -> list[Origin]:
        """Return the origin of each slice. Raises ValueError for a slice that was never written."""
        missing = [index for index, origin in enumerate(self._origins) if origin is None]
        if missing:
            raise ValueError(f"slices {missing[:5]} were not written")
        return list(self._origins)

    def values(self) -> np.ndarray:
        """Return all slices as (N, H, W, C), mapped from the file."""
        self.origins()
        return np.memmap(self._file, np.float32, "r", 0, (len(self._origins), *self._shape))


def save(path: Path, values: np.ndarray, origins: list[Origin]) -> None:
    """Write a stack or a picture (N, H, W, C), whole or not at all. Raises ImageError."""
    with _written(path):
        form = by_name(path, origins[0].kind)
        if form.KIND == dicom.KIND and "file" in origins[0].keep and len(origins) > 1:
            _check_free(path)
            with whole_folder(path, replace=False) as part:
                dicom_derived.save_series(part, path.name, values, origins)
            return
        if path.is_dir():
            raise ImageError("{name} is a folder: give the name of a file", name=path.name)
        with whole_file(path) as part:
            form.save(part, path.name, values, origins)


def _check_free(path: Path) -> None:
    """Raise ImageError if a path is a folder with files in it, because they would be lost."""
    with _written(path):
        if path.is_dir() and any(path.iterdir()):
            raise ImageError("{name} is a folder that holds files already: give another name", name=path.name)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turn the system's reasons into an ImageError."""
    try:
        yield
    except OSError as error:
        raise ImageError(
            "{name} can't be written ({reason}): choose another folder, or free some space", name=path.name,
            reason=reason_of(error),
        ) from error  # fmt: skip
