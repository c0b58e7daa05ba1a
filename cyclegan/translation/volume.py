"""A volume translated slice by slice: NIfTI, a folder of DICOM slices, a TIFF of several pages, a NumPy array."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cyclegan.config import Direction
from cyclegan.rasters import files
from cyclegan.rasters.opening import with_neighbours
from cyclegan.rasters.raster import Raster
from cyclegan.translation.translator import Picture, Translator


@dataclass(frozen=True)
class VolumeTranslation:
    """Facts about the translation of a volume."""

    slices: int
    step_before: float
    """Mean difference of neighbouring slices, as a share of the range: of the volume."""
    step_after: float
    """The same of its translation. Much more than before is flicker from slice to slice."""


def translate_volume(
    translator: Translator, stack: files.Stack, path: Path, direction: Direction, *, back: Path | None = None,
    size: int | None = None, progress: Callable[[float], None] = lambda part: None,
) -> VolumeTranslation:
    """Translate a volume into a file or folder of the same kind, whole or not at all.

    Args:
        translator: the checkpoint.
        stack: the volume; each slice goes through the networks with its neighbours where they were trained so.
        path: the translation.
        direction: the direction of the translation.
        back: the way back, F(G(x)), if the checkpoint has both directions; None leaves it out.
        size: see `Translator.translate_many`.
        progress: called with the part that is done, 0 to 1.

    Raises:
        CheckpointError: the checkpoint lacks this direction.
        ImageError: a slice can't be read or translated, or the volume can't be written.
    """
    here, there = (translator.values(domain) for domain in direction)
    steps, before = np.zeros(2), None
    with contextlib.ExitStack() as writing:
        writer = writing.enter_context(stack.writer(path))
        returned = writing.enter_context(stack.writer(back)) if back else None
        for index in range(len(stack)):
            given = with_neighbours(stack, index, here.neighbours)
            result = translator.translate(given, direction, reconstruct=back is not None, size=size)
            source = given.with_values(given.values[..., here.own])
            fake = _as_raster(result.fake, source)
            if before is not None:
                spans = here.high - here.low, there.high - there.low
                steps += [np.abs(one.values - other.values).mean() / span
                          for one, other, span in zip((source, fake), before, spans, strict=True)]  # fmt: skip
            before = source, fake
            writer.write(index, fake)
            if returned is not None and result.rec is not None:
                returned.write(index, _as_raster(result.rec, source))
            progress((index + 1) / len(stack))
    return VolumeTranslation(len(stack), *(steps / max(1, len(stack) - 1)).tolist())


def _as_raster(picture: Picture, given: Raster) -> Raster:
    """Return a result as a raster; 8-bit RGB as three channels of the file's kind."""
    if isinstance(picture, Raster):
        return picture
    return Raster(np.asarray(picture), files.held(given.origin, 0, 255))
