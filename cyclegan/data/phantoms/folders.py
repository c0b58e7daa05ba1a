"""The phantoms as folders of 16-bit TIFF files, with the same slices in the other domain."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

from cyclegan.data.drawn import other, write_drawn
from cyclegan.data.phantoms.spec import PhantomsSpec
from cyclegan.data.phantoms.tissues import CT_RANGE, MR_RANGE
from cyclegan.errors import DataError
from cyclegan.rasters.raster import Raster


def write_phantoms(spec: PhantomsSpec, output: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write the data set as folders of TIFF files::

        output/
          phantoms.json                 the spec and the ranges of values
          trainA/0000.tif …             MR, uint16              trainB/0000.tif …    CT, int16; other slices
          testA/0000.tif …              MR                      testB/0000.tif …     CT, other slices
          truth/{testA,testB}/0000.tif …                        the same slice in the other domain

    Arguments and exceptions as for `write_drawn`.
    """
    try:
        import tifffile  # noqa: F401
    except ImportError as error:
        raise DataError("writing the phantoms needs a package: pip install tifffile") from error
    facts = {"spec": dataclasses.asdict(spec), "range_a": list(MR_RANGE), "range_b": list(CT_RANGE)}
    write_drawn(spec, output, functools.partial(_write_slice, spec), facts, progress)


def _write_slice(spec: PhantomsSpec, output: Path, split: str, domain: str, index: int, name: str) -> None:
    folder, drawn = split + domain.upper(), spec.slice(split, domain, index)
    _write(output / folder / f"{name}.tif", spec.show(drawn, domain))
    if split == "test":
        _write(output / "truth" / folder / f"{name}.tif", spec.show(drawn, other(domain)))


def _write(path: Path, raster: Raster) -> None:
    import tifffile

    path.parent.mkdir(parents=True, exist_ok=True)
    values = raster.values[..., 0].astype(raster.origin.dtype)
    tifffile.imwrite(path, values, photometric="minisblack", compression=None, metadata=None, software=False)
