"""DICOM, one picture or several frames: values in units by the rescale slope or the modality LUT, never windowed.

MONOCHROME1, in which the lowest value is white, keeps its values; `keep["inverted"]` says so for screens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cyclegan.errors import ImageError, UserError
from cyclegan.images import quiet
from cyclegan.rasters.files.bounds import checked, explained, package
from cyclegan.rasters.files.dicom_tags import KIND, check_tags
from cyclegan.rasters.files.format import Header
from cyclegan.rasters.files.units import to_units
from cyclegan.rasters.raster import Origin, Raster

SUFFIXES = (".dcm", ".dicom", ".ima")
_DEFLATED = "1.2.840.10008.1.2.1.99"
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "YBR_PARTIAL_420")
_GREYS = ("MONOCHROME1", "MONOCHROME2")
_DIRECTORY = "1.2.840.10008.1.3.10"


def matches(path: Path, head: bytes) -> bool:
    """Return True for a file with DICOM's preamble, whatever its name."""
    return head[128:132] == b"DICM"


def holds_values(path: Path, head: bytes) -> bool:
    """Return True."""
    return True


def open_file(path: Path, name: object) -> Picture:
    """Return the file's frames as slices."""
    return Picture(path, name)


class Picture:
    """A DICOM file's frames.

    Attributes:
        dataset: pydicom's, without the pixels.
        header: size, type and number of frames.
    """

    def __init__(self, path: Path, name: object) -> None:
        self._pixels = package("pydicom.pixels", "pydicom", name)
        pydicom = package("pydicom", "pydicom", name)
        self.path, self.name = path, name
        check_tags(path, name)
        with explained(name), quiet():
            meta = pydicom.filereader.read_file_meta_info(path)
            self.syntax = pydicom.uid.UID(str(meta.get("TransferSyntaxUID", "1.2.840.10008.1.2")))
            if self.syntax != _DEFLATED:  # It would be unpacked whole, whatever its size.
                self.dataset = pydicom.dcmread(path, stop_before_pixels=True)
                self.header = self._header()
        if self.syntax == _DEFLATED:
            raise self._undecoded()
        checked(self.header, name)

    def _header(self) -> Header:
        data = self.dataset
        if data.get("Rows") is None or data.get("Columns") is None:
            raise ImageError(
                "{name} is a DICOM file without a picture, or cut short: give one with a picture, or copy it again",
                name=self.name,
            )
        self.photometric = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
        samples, bits = int(data.get("SamplesPerPixel", 1)), int(data.BitsAllocated)
        if self.photometric not in (_GREYS if samples == 1 else _COLOURS):
            raise ImageError(
                "{name} is a DICOM file with the colours {photometric}, which can't be read here: save it as grey or "
                "RGB",
                name=self.name, photometric=self.photometric,
            )  # fmt: skip
        if bits not in (1, 8, 16, 32, 64):
            raise ValueError(f"BitsAllocated {bits}")
        if data.get("BitsStored") is None:
            dtype = f"float{bits}"
        else:
            dtype = f"{'int' if data.get('PixelRepresentation', 0) else 'uint'}{max(bits, 8)}"
        frames = data.get("NumberOfFrames", 1)
        count = 1 if frames in (None, "") else int(frames)
        return Header(KIND, int(data.Columns), int(data.Rows), samples, np.dtype(dtype).name, count)

    def read(self, index: int) -> Raster:
        """Return one frame in units."""
        with explained(self.name), quiet():
            self._check_decoder()
            stored = self._pixels.pixel_array(self.path, index=index)
            shape = (self.header.height, self.header.width, self.header.channels)
            stored = stored.reshape(shape)
            slope, intercept = rescale(self.dataset, index)
            keep = {"dataset": self.dataset, "frame": index, "size": self.header.size,
                    "inverted": self.photometric == "MONOCHROME1"}  # fmt: skip
            if window := _window(self.dataset):
                keep["window"] = window
            dtype, looked_up = stored.dtype, bool(self.dataset.get("ModalityLUTSequence"))
            if looked_up:
                stored = np.asarray(self._pixels.apply_modality_lut(stored, self.dataset))
                dtype, slope, intercept = np.dtype(np.uint16), 1.0, 0.0
        return Raster(to_units(stored, slope, intercept, self.name), Origin(KIND, dtype.name, slope, intercept, keep))

    def _check_decoder(self) -> None:
        if not self.syntax.is_compressed:
            return
        try:
            known = self._pixels.get_decoder(self.syntax).is_available
        except NotImplementedError:
            known = False
        if not known:
            raise self._undecoded()

    def _undecoded(self) -> UserError:
        return ImageError(
            "{name} is compressed as {syntax}, which can't be unpacked here: save it without compression, or try "
            "pip install 'pylibjpeg[all]'",
            name=self.name, syntax=self.syntax.name,
        )  # fmt: skip


def is_directory(dataset: Any) -> bool:
    """Return True for a DICOMDIR, which lists other files."""
    return str(dataset.get("MediaStorageSOPClassUID", "")) == _DIRECTORY


def groups(dataset: Any, index: int, name: str) -> Any:
    """Return a frame's item of a functional group in an enhanced file; None elsewhere."""
    for sequence, place in (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0)):
        items = dataset.get(sequence) or []
        found = items[place].get(name) if place < len(items) else None
        if found:
            return found[0]
    return None


def rescale(dataset: Any, index: int) -> tuple[float, float]:
    """Return the slope and the intercept of a frame. Raises ValueError for those that can't be."""
    where = groups(dataset, index, "PixelValueTransformationSequence") or dataset
    slope, intercept = where.get("RescaleSlope"), where.get("RescaleIntercept")
    slope = 1.0 if slope in (None, "") else float(slope)
    intercept = 0.0 if intercept in (None, "") else float(intercept)
    if not (math.isfinite(slope) and slope and math.isfinite(intercept)):
        raise ValueError(f"rescale {slope}, {intercept}")
    return slope, intercept


def _window(dataset: Any) -> tuple[float, float] | None:
    """Return the low and the high end of the file's first window, in units."""
    values = []
    for tag in ("WindowCenter", "WindowWidth"):
        value = dataset.get(tag)
        if isinstance(value, Sequence) and not isinstance(value, str):  # One for each of several windows.
            value = value[0] if len(value) else None
        if value in (None, ""):
            return None
        values.append(float(value))
    centre, width = values
    return (centre - width / 2, centre + width / 2) if width > 0 and math.isfinite(centre + width) else None


def save(path: Path, name: object, values: np.ndarray, origins: Sequence[Origin]) -> None:
    """Write a derived image, in frames if there are several slices."""
    from cyclegan.rasters.files import dicom_derived

    dicom_derived.save(path, name, values, origins)
