"""A visitor's picture as each domain of a run has it, and the domain that it is nearer to."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.config import DIRECTIONS
from cyclegan.errors import ImageError
from cyclegan.evaluation.likeness import features, nearer_domain
from cyclegan.rasters import opening
from cyclegan.rasters.raster import Raster
from cyclegan.ui import inputs, runs
from cyclegan.ui.decoding import open_picture
from cyclegan.ui.results import Picture
from cyclegan.values import Values

LOOKED_AT = 3
"""So many files of an upload show which direction is meant."""
OUTSIDE, MUCH_MORE = 0.1, 4
"""A domain's range speaks against a picture from this part of its values outside of it, if the other domain's range has
so many times less outside."""


def as_read(
    read: Callable[[Values], tuple[Image.Image | Raster, list[str]]], info: CheckpointInfo, directions: Iterable[str]
) -> tuple[dict[str, Picture], list[str]]:
    """Return a picture as each direction's domain has it, and remarks about it.

    Args:
        read: returns the picture for a domain of these values, and remarks; raises ImageError.
        info: the checkpoint.
        directions: at least one. One whose domain can't have the picture is left out if another can.
    """
    pictures: dict[str, Picture] = {}
    found: dict[tuple[bool, int], tuple[Picture, list[str]]] = {}
    errors = []
    for direction in directions:
        values = info.config.data.values(direction[0])
        kind = values.plain, values.channels  # The range doesn't matter to what is read.
        try:
            if kind not in found:
                image, remarks = read(values)
                found[kind] = Picture(image, values), remarks
        except ImageError as error:
            errors.append(error)
            continue
        picture = found[kind][0]
        pictures[direction] = picture if picture.values == values else Picture(picture.image, values)
    if not pictures:
        raise errors[0]
    return pictures, list(dict.fromkeys(remark for _, remarks in found.values() for remark in remarks))


def likely_direction(source: CheckpointSource, pictures: Mapping[str, Picture]) -> str | None:
    """Return the direction whose domain a picture is nearer to; None if unclear.

    Its channels or its values may leave one domain only. Otherwise the run's examples of both decide.

    Args:
        source: the run.
        pictures: the picture as each direction's domain has it, from `as_read`.
    """
    if len(pictures) < 2:
        return next(iter(pictures), None)
    if (found := _by_values(pictures)) is not None:
        return found
    paths, values = runs.examples_of(source), runs.values_of(source)
    known = {
        domain: [_features(path, values[domain]) for path in paths if path.name.startswith(f"{domain}_")]
        for domain in "ab"
    }
    as_a, as_b = pictures["ab"], pictures["ba"]
    domain = nearer_domain(
        features(as_a.shown), **{d: [f for f in found if f is not None] for d, found in known.items()},
        as_b=None if as_a is as_b else features(as_b.shown),
    )  # fmt: skip
    return None if domain is None else {"a": "ab", "b": "ba"}[domain]


def _by_values(pictures: Mapping[str, Picture]) -> str | None:
    """Return the direction whose domain's range holds a picture that the other's doesn't; None if both do or neither.

    Grey levels of 8 bits decide nothing, because they aren't in a domain's units.
    """
    outside = {}
    for direction, picture in pictures.items():
        if not isinstance(picture.image, Raster) or picture.image.origin.dtype == "uint8":
            return None
        values = picture.image.values
        outside[direction] = float(np.mean((values < picture.values.low) | (values > picture.values.high)))
    near, far = sorted(outside, key=outside.__getitem__)
    return near if outside[far] > OUTSIDE and outside[far] > MUCH_MORE * outside[near] else None


def likely_of_files(source: CheckpointSource, payloads: Sequence[dict]) -> str | None:
    """Return the direction for which the first pictures of an upload, or a video's first frame, look; None if unclear.

    Args:
        source: the run.
        payloads: the uploaded files; those that are neither, such as zips, don't matter.

    Raises:
        ImageError: a file isn't one that was uploaded here.
    """
    found, info = set(), next(iter(source.list()), None)
    for path in [inputs.source_of(payload) for payload in payloads[:LOOKED_AT]]:
        with contextlib.suppress(ImageError):  # The job says what is wrong with it.
            if info is not None:
                pictures, _ = as_read(functools.partial(_first_picture, path), info, DIRECTIONS)
                found.add(likely_direction(source, pictures))
    found.discard(None)
    return found.pop() if len(found) == 1 else None


def _first_picture(path: Any, values: Values) -> tuple[Image.Image | Raster, list[str]]:
    """Return a picture, or a video's first frame, without remarks. Raises ImageError."""
    from cyclegan.translation.video_io import Video, is_video

    if isinstance(path, Path) and is_video(path):
        frame = next(Video(path).frames()).image
        return frame if values.plain else opening.as_raster(frame, values, path.name), []
    return open_picture(path, values)[0], []


def _features(path: Path, values: Values) -> Any:
    """Return an example's features, None if it can't be read; remembered until the file changes."""
    try:
        return _features_of(path, path.stat().st_mtime_ns, values)
    except (ImageError, OSError):
        return None


@functools.lru_cache(maxsize=1024)
def _features_of(path: Path, changed: int, values: Values) -> Any:
    return features(Picture(opening.open_picture(path, values), values).shown)
