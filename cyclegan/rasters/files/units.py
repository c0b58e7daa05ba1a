"""Stored values to units and back: value = stored × slope + intercept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cyclegan.errors import ImageError
from cyclegan.rasters.raster import Origin

_EXACT = 2**24
"""float32 holds all whole numbers up to this one."""
FEWEST_STEPS = 255
"""A range of fewer whole numbers than 8 bits have is stored in finer steps."""
_FINE_STEPS = 10_000
"""A slope other than 1 is kept for a range of so many steps: the file's units may be far smaller than the slope."""


def to_units(stored: np.ndarray, slope: float, intercept: float, name: object) -> np.ndarray:
    """Return stored values in units, as float32.

    Raises:
        ImageError: whole numbers that float32 would change.
    """
    large = stored.dtype.kind in "iu" and stored.dtype.itemsize > 2
    if large and max(int(stored.max()), -int(stored.min())) > _EXACT:
        raise ImageError(
            "{name} holds whole numbers beyond {most:,}, which can't be kept exactly: save smaller numbers or floats",
            name=name, most=_EXACT,
        )  # fmt: skip
    with np.errstate(over="ignore", invalid="ignore"):  # Some float64 files mark missing values with -1.8e308.
        if slope == 1 and intercept == 0:
            return stored.astype(np.float32)
        return (stored * np.float64(slope) + np.float64(intercept)).astype(np.float32)


def to_stored(values: np.ndarray, dtype: str, slope: float = 1.0, intercept: float = 0.0) -> np.ndarray:
    """Return values in units as they are stored: rounded and clipped for whole numbers, where NaN becomes 0."""
    target = np.dtype(dtype)
    plain = slope == 1 and intercept == 0
    # float64, because float32 rounds the ends of 32-bit types.
    scaled = values if plain and target.itemsize <= 2 else values.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        if not plain:
            scaled = (scaled - intercept) / slope
        if target.kind == "f":
            return scaled.astype(target)
        low, high = (0, 1) if target.kind == "b" else (np.iinfo(target).min, np.iinfo(target).max)
        limited = np.clip(np.nan_to_num(np.rint(scaled), nan=0.0), max(low, -(2**53)), min(high, 2**53))
        return limited.astype(target)


def dtype_for(origin: Origin, kind: str) -> str:
    """Return the type of values in a file of this kind: the origin's own, floats where that needs a slope."""
    plain = origin.slope == 1 and origin.intercept == 0
    return origin.dtype if origin.kind == kind or plain else "float32"


def coarse(slope: float, low: float, high: float) -> bool:
    """Return True for a slope, other than 1, whose steps are too large for a range in units."""
    return abs(slope) != 1 and (high - low) / abs(slope) < _FINE_STEPS


def held(origin: Origin, low: float, high: float) -> Origin:
    """Return an origin whose stored values can hold a range in units; the same one if it can.

    For the pictures of another domain than the file was of: a uint16 file of 0:4095 becomes int16 for -1000:3000, and
    float32 for 0:1. PNG holds neither, so it becomes TIFF. A coarse slope becomes 1. DICOM keeps the range,
    because its writer chooses a slope.
    """
    dtype = np.dtype(origin.dtype)
    if origin.kind == "dicom":
        return replace(origin, keep={**origin.keep, "range": (low, high)})
    if dtype.kind == "f":
        return origin
    if coarse(origin.slope, low, high):
        origin = replace(origin, slope=1.0, intercept=0.0)
    if dtype.kind in "iu" and (high - low) / abs(origin.slope) >= FEWEST_STEPS:
        ends = sorted((end - origin.intercept) / origin.slope for end in (low, high))
        for name in (dtype.name, "uint8", "int16", "uint16"):
            info = np.iinfo(name)
            if info.min <= round(ends[0]) and round(ends[1]) <= info.max:
                # PNG stores unsigned values only.
                kind = "tiff" if origin.kind == "png" and info.min < 0 else origin.kind
                return origin if name == dtype.name else replace(origin, kind=kind, dtype=name)
    kind = "tiff" if origin.kind == "png" else origin.kind
    return replace(origin, kind=kind, dtype="float32", slope=1.0, intercept=0.0)
