"""The streets as folders of PNG files, with labels and the same scenes in the other domain."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from cyclegan.data.drawn import other, write_drawn
from cyclegan.data.labels import entries_of
from cyclegan.data.streets.classes import CLASS_COLORS, PALETTE
from cyclegan.data.streets.spec import StreetsSpec


def write_streets(spec: StreetsSpec, output: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write the data set as folders of PNG files::

        output/
          streets.json                  the spec and the classes
          trainA/0000.png …             spec.a, e.g. day      trainB/0000.png …    spec.b, e.g. night; other scenes
          testA/0000.png …              spec.a                testB/0000.png …     spec.b, other scenes
          labels/{trainA,trainB,testA,testB}/0000.png …       class index per pixel, 8 bit with palette
          truth/{testA,testB}/0000.png …                      the same scene in the other domain

    Arguments and exceptions as for `write_drawn`.
    """
    facts = {"spec": dataclasses.asdict(spec), "classes": entries_of(PALETTE), "label_domain": spec.label_domain}
    write_drawn(spec, output, functools.partial(_write_scene, spec), facts, progress)


def _write_scene(spec: StreetsSpec, output: Path, split: str, domain: str, index: int, name: str) -> None:
    folder = split + domain.upper()
    raster = spec.raster(split, domain, index)
    pictures = {folder: spec.draw(raster, domain), f"labels/{folder}": label_image(raster.labels)}
    if split == "test":
        pictures[f"truth/{folder}"] = spec.draw(raster, other(domain))
    for place, picture in pictures.items():
        (output / place).mkdir(parents=True, exist_ok=True)
        picture.save(output / place / f"{name}.png")


def label_image(labels: np.ndarray) -> Image.Image:
    """Return a label map, uint8 (H, W), as an index picture (mode P) with the colours of `CLASS_COLORS`."""
    image = Image.frombytes("P", labels.shape[::-1], np.ascontiguousarray(labels, np.uint8).tobytes())
    image.putpalette(list(chain.from_iterable(CLASS_COLORS)))
    return image
