"""Derived DICOM images: new identity, the patient's and the scan's tags, and a rescale that the values fit."""

from __future__ import annotations

import contextlib
import copy
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from cyclegan.errors import ImageError
from cyclegan.images import quiet
from cyclegan.rasters.files.bounds import package
from cyclegan.rasters.files.dicom_tags import KIND
from cyclegan.rasters.files.units import FEWEST_STEPS, coarse, to_stored
from cyclegan.rasters.raster import Origin

DESCRIPTION = "Translated by a neural network (CycleGAN workbench); not for diagnosis"
_MOST_STEPS = 65535
_DERIVED, _MOST_LETTERS = " (derived)", 64
_DROPPED = (
    "PixelData", "FloatPixelData", "DoubleFloatPixelData", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction",
    "WindowCenterWidthExplanation", "SmallestImagePixelValue", "LargestImagePixelValue", "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries", "IconImageSequence", "PlanarConfiguration", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "PresentationLUTSequence", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RescaleType",
)  # fmt: skip
_GEOMETRY = ("PixelSpacing", "ImagerPixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
"""Tags that fit pictures of the same size only."""
_GROUP_GEOMETRY = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")


@dataclass(frozen=True)
class _Coding:
    """The way values are stored; of floats, `bits` is 0."""

    bits_allocated: int
    bits: int
    signed: bool
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def dtype(self) -> str:
        """NumPy's name of the stored type."""
        kind = ("int" if self.signed else "uint") if self.bits else "float"
        return f"{kind}{self.bits_allocated}"

    @property
    def ends(self) -> tuple[int, int]:
        """The lowest and the highest stored value."""
        return (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if self.signed else (0, 2**self.bits - 1)

    def holds(self, values: np.ndarray) -> bool:
        """Return True if the values are exactly some that can be stored."""
        if not np.isfinite(values).all():
            return False
        steps = np.rint((values.astype(np.float64) - self.intercept) / self.slope)
        exact = np.array_equal((steps * self.slope + self.intercept).astype(np.float32), values)
        return exact and self.ends[0] <= steps.min() and steps.max() <= self.ends[1]


def save(path: Path, name: object, values: np.ndarray, origins: Sequence[Origin]) -> None:
    """Write one file with a frame for each slice."""
    pydicom = package("pydicom", "pydicom", name)
    _check(values, origins, name)
    coding = _common(values, origins[0])
    data = _derived(pydicom, origins[0], values, coding, pydicom.uid.generate_uid(), _ends(values))
    _set_frames(data, origins, coding, values.shape[1:3])
    _write(pydicom, path, data, values, coding)


def save_series(folder: Path, name: object, values: np.ndarray, origins: Sequence[Origin]) -> None:
    """Write a file for each slice into a folder, with the names that they had, as one new series."""
    pydicom = package("pydicom", "pydicom", name)
    _check(values, origins, name)
    series, common, ends = pydicom.uid.generate_uid(), _common(values, origins[0]), _ends(values)
    for number, (one, origin) in enumerate(zip(values, origins, strict=True)):
        own = _own(origin, values.shape[3])
        coding = own if own.bits and own.holds(one) else common
        data = _derived(pydicom, origin, one[None], coding, series, ends)
        _write(pydicom, folder / origin.keep.get("file", f"{number:05d}.dcm"), data, one[None], coding)


def _check(values: np.ndarray, origins: Sequence[Origin], name: object) -> None:
    if any(origin.kind != KIND or "dataset" not in origin.keep for origin in origins):
        raise ImageError(
            "{name} can't be written, because only a translated DICOM file has a patient and a scan: give a name that "
            "ends in .tif or .nii.gz",
            name=name,
        )  # fmt: skip
    if values.shape[3] not in (1, 3):
        raise ImageError(
            "{name} would have {channels} channels, and DICOM holds 1 or 3: give a name that ends in .tif", name=name,
            channels=values.shape[3],
        )  # fmt: skip
    if values.shape[3] == 3:
        _check_colours(values, origins[0], name)


def _check_colours(values: np.ndarray, origin: Origin, name: object) -> None:
    """Raise ImageError for colours that rounding and cutting would change, because DICOM has no rescale for them."""
    low, high = origin.keep.get("range") or _ends(values)
    own = _own(origin, 3)
    whole = own.bits and own.ends[0] <= round(low) and round(high) <= own.ends[1]
    if whole and (high - low >= FEWEST_STEPS or all(np.array_equal(one, np.rint(one)) for one in values)):
        return
    least, most = own.ends if own.bits else (0, 2**16 - 1)
    raise ImageError(
        "{name} would have colours of {low:g} to {high:g}, and DICOM holds whole numbers from {least} to {most} here: "
        "give a name that ends in .tif",
        name=name, low=low, high=high, least=least, most=most,
    )  # fmt: skip


def _own(origin: Origin, channels: int) -> _Coding:
    """Return the way in which the origin's values were stored."""
    dtype, data = np.dtype(origin.dtype), origin.keep["dataset"]
    most = dtype.itemsize * 8
    if dtype.kind == "f":
        return _Coding(most, 0, False)
    # After a modality LUT or another type of values, the file's own number of bits says nothing.
    own = dtype.name == _Coding(int(data.get("BitsAllocated", 0) or 0), 1, bool(data.get("PixelRepresentation"))).dtype
    bits = int(data.get("BitsStored") or most) if own and not data.get("ModalityLUTSequence") else most
    slope, intercept = (origin.slope, origin.intercept) if channels == 1 else (1.0, 0.0)
    return _Coding(most, min(max(bits, 2), most), dtype.kind == "i", slope, intercept)


def _common(values: np.ndarray, origin: Origin) -> _Coding:
    """Return a way to store all values: the origin's own if they fit, otherwise 16 bits with a rescale of their own."""
    own = _own(origin, values.shape[3])
    if not own.bits or values.shape[3] > 1 or all(own.holds(one) for one in values):
        return own
    low, high = _ends(values)
    rough = coarse(own.slope, low, high)
    step = 1.0 if rough else abs(own.slope)
    if (high - low) / step >= FEWEST_STEPS:
        first, last = sorted((end - own.intercept) / own.slope for end in (low, high))
        if not rough and own.ends[0] <= round(first) and round(last) <= own.ends[1]:
            return own
        if math.ceil(high / step) - math.floor(low / step) <= _MOST_STEPS:
            return _Coding(16, 16, False, step, _written(math.floor(low / step) * step))
    slope = _written((high - low) / _MOST_STEPS) if high > low else 1.0
    return _Coding(16, 16, False, slope or 1.0, _written(low))


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest value, without those that aren't numbers."""
    lows, highs = [], []
    for one in values:
        finite = one[np.isfinite(one)]
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    return (min(lows), max(highs)) if lows else (0.0, 0.0)


def _written(number: float) -> float:
    """Return a number as DICOM's decimal texts of 16 letters hold it."""
    return float(_text(number))


def _text(number: float) -> str:
    for digits in range(15, 5, -1):
        text = f"{number:.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{number:.6g}"


@quiet()
def _derived(
    pydicom: Any, origin: Origin, values: np.ndarray, coding: _Coding, series: str, ends: tuple[float, float]
) -> Any:
    """Return a copy of the origin's dataset as that of a new image, without pixels."""
    data = _copied(pydicom, origin.keep["dataset"])
    for keyword in _DROPPED:
        _drop(data, keyword)
    _identify(pydicom, data, series)
    count, height, width, channels = values.shape
    if origin.keep["size"] != (width, height):
        for keyword in _GEOMETRY:
            _drop(data, keyword)
    data.Rows, data.Columns, data.SamplesPerPixel = height, width, channels
    inverted = channels == 1 and origin.keep["inverted"]
    data.PhotometricInterpretation = "RGB" if channels == 3 else "MONOCHROME1" if inverted else "MONOCHROME2"
    if channels == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = coding.bits_allocated
    if coding.bits:
        data.BitsStored, data.HighBit = coding.bits, coding.bits - 1
        data.PixelRepresentation = int(coding.signed)
    _set_units(data, coding, ends, channels)
    return data


def _copied(pydicom: Any, source: Any) -> Any:
    """Return a new dataset, because one that was read keeps its file's byte order.

    Damaged tags, which the picture could be read without, are left out.
    """
    data, charset = pydicom.Dataset(), "SpecificCharacterSet"
    for tag in source.keys():  # noqa: SIM118 - iterating over a dataset decodes its values.
        with contextlib.suppress(Exception):  # Damaged values raise nearly anything.
            alone = pydicom.Dataset()
            if charset in data:
                alone[charset] = data[charset]
            alone[tag] = copy.deepcopy(source[tag])
            alone.walk(lambda _, element: element.value)
            alone.save_as(io.BytesIO(), implicit_vr=False, little_endian=True)
            data[tag] = alone[tag]
    return data


def _set_units(data: Any, coding: _Coding, ends: tuple[float, float], channels: int) -> None:
    """Set the rescale, and a window over all values, because the file's own fits what was translated."""
    enhanced = "SharedFunctionalGroupsSequence" in data
    if channels > 1 or enhanced:
        for keyword in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"):
            _drop(data, keyword)
        return
    if (coding.slope, coding.intercept) != (1, 0) or "RescaleSlope" in data:
        data.RescaleSlope, data.RescaleIntercept = _text(coding.slope), _text(coding.intercept)
        data.RescaleType = "US"  # "Unspecified", because the source's units, such as HU, are those of another domain.
    data.WindowCenter, data.WindowWidth = _text(sum(ends) / 2), _text(max(ends[1] - ends[0], 1.0))


def _identify(pydicom: Any, data: Any, series: str) -> None:
    """Give an image an identity of its own, and name the one that it was made from."""
    now = datetime.now()
    reference = pydicom.Dataset()
    if data.get("SOPClassUID") and data.get("SOPInstanceUID"):
        reference.ReferencedSOPClassUID = data.SOPClassUID
        reference.ReferencedSOPInstanceUID = data.SOPInstanceUID
        data.SourceImageSequence = [reference]
    data.SOPInstanceUID, data.SeriesInstanceUID = pydicom.uid.generate_uid(), series
    data.SOPClassUID = data.get("SOPClassUID") or pydicom.uid.SecondaryCaptureImageStorage
    data.ImageType = ["DERIVED", "SECONDARY", *_texts(data.get("ImageType"))[2:]]
    data.DerivationDescription = DESCRIPTION
    described = " ".join(_texts(data.get("SeriesDescription")))
    data.SeriesDescription = described[: _MOST_LETTERS - len(_DERIVED)] + _DERIVED if described else _DERIVED.strip()
    data.InstanceCreationDate, data.InstanceCreationTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


@quiet()
def _set_frames(data: Any, origins: Sequence[Origin], coding: _Coding, size: tuple[int, int]) -> None:
    """Set the number of frames, and keep each one's own groups."""
    if "NumberOfFrames" not in data and len(origins) == 1:
        return
    data.NumberOfFrames = len(origins)
    if items := data.get("PerFrameFunctionalGroupsSequence"):
        frames = [origin.keep.get("frame", 0) for origin in origins]
        data.PerFrameFunctionalGroupsSequence = [copy.deepcopy(items[frame]) for frame in frames]
    if "SharedFunctionalGroupsSequence" not in data:
        return
    dropped = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
    if origins[0].keep["size"] != (size[1], size[0]):
        dropped += _GROUP_GEOMETRY
    for item in (*data.SharedFunctionalGroupsSequence, *data.get("PerFrameFunctionalGroupsSequence", ())):
        for keyword in dropped:
            _drop(item, keyword)
    if data.SamplesPerPixel == 1 and len(data.SharedFunctionalGroupsSequence):
        units = type(data.SharedFunctionalGroupsSequence[0])()
        units.RescaleSlope, units.RescaleIntercept = _text(coding.slope), _text(coding.intercept)
        units.RescaleType = "US"
        data.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = [units]


def _drop(data: Any, keyword: str) -> None:
    if keyword in data:
        del data[keyword]


@quiet()
def _write(pydicom: Any, path: Path, data: Any, values: np.ndarray, coding: _Coding) -> None:
    parts = []
    for one in values:
        stored = to_stored(one, coding.dtype, coding.slope, coding.intercept)
        if coding.bits:
            stored = np.clip(stored, *coding.ends)
        parts.append(stored.astype(np.dtype(coding.dtype).newbyteorder("<")).tobytes())
    pixels = b"".join(parts)
    pixels += b"\0" * (len(pixels) % 2)
    if coding.bits:
        data.add_new("PixelData", "OB" if coding.bits_allocated == 8 else "OW", pixels)
    elif coding.bits_allocated == 32:
        data.FloatPixelData = pixels
    else:
        data.DoubleFloatPixelData = pixels
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.save_as(path, enforce_file_format=True)
