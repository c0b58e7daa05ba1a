"""The streets as folders of PNG files, with labels and the same scenes in the other domain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from cyclegan.data.labels import entries_of
from cyclegan.data.streets.classes import CLASS_COLORS, PALETTE
from cyclegan.data.streets.spec import DOMAINS, SPLITS, StreetsSpec
from cyclegan.errors import DataError
from cyclegan.files import write_json


def write_streets(spec: StreetsSpec, output: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write the data set as folders of PNG files::

        output/
          streets.json                  the spec and the classes
          trainA/0000.png …             spec.a, e.g. day      trainB/0000.png …    spec.b, e.g. night; other scenes
          testA/0000.png …              spec.a                testB/0000.png …     spec.b, other scenes
          labels/{trainA,trainB,testA,testB}/0000.png …       class index per pixel, 8 bit with palette
          truth/{testA,testB}/0000.png …                      the same scene in the other domain

    File names count from zero, padded with zeros to four digits or more.

    Args:
        output: a new or empty folder.
        progress: called with (done, total) after each scene.

    Raises:
        DataError: `output` is a file or a folder that isn't empty, or can't be written.
    """
    output = Path(output)
    jobs = [(split, domain, index) for split in SPLITS for domain in DOMAINS for index in range(spec.length(split))]
    digits = max(4, len(str(max(spec.count, spec.test_count) - 1)))
    try:
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise DataError("{output} is not an empty folder: give a new or an empty one", output=output)
        for done, (split, domain, index) in enumerate(jobs, 1):
            _write_scene(spec, output, split, domain, index, f"{index:0{digits}d}.png")
            if progress:
                progress(done, len(jobs))
        facts = {"spec": dataclasses.asdict(spec), "classes": entries_of(PALETTE), "label_domain": spec.label_domain}
        write_json(output / "streets.json", facts)
    except OSError as error:
        raise DataError(
            "{folder} can't be written ({reason}): free space or choose another folder",
            folder=output, reason=error,
        ) from error  # fmt: skip


def _write_scene(spec: StreetsSpec, output: Path, split: str, domain: str, index: int, name: str) -> None:
    folder = split + domain.upper()
    raster = spec.raster(split, domain, index)
    pictures = {folder: spec.draw(raster, domain), f"labels/{folder}": label_image(raster.labels)}
    if split == "test":
        pictures[f"truth/{folder}"] = spec.draw(raster, "b" if domain == "a" else "a")
    for place, picture in pictures.items():
        (output / place).mkdir(parents=True, exist_ok=True)
        picture.save(output / place / name)


def label_image(labels: np.ndarray) -> Image.Image:
    """Return a label map, uint8 (H, W), as an index picture (mode P) with the colours of `CLASS_COLORS`."""
    image = Image.frombytes("P", labels.shape[::-1], np.ascontiguousarray(labels, np.uint8).tobytes())
    image.putpalette(list(chain.from_iterable(CLASS_COLORS)))
    return image
