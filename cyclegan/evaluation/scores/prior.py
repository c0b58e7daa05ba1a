"""Label maps that answer without looking at a picture: what a score must beat before it says anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cyclegan.config import DataConfig
from cyclegan.data.domains import Domain
from cyclegan.data.labels import Classes
from cyclegan.errors import DataError
from cyclegan.images import prepare_labels, resize


@dataclass(frozen=True)
class Prior:
    """The answers of a data set's training labels to every test picture.

    Attributes:
        map: the commonest class of each position: uint8 (side, side), without VOID.
        commonest: the commonest class of all.
    """

    map: np.ndarray
    commonest: int


def blind_prior(
    domain: Domain, classes: Classes, config: DataConfig, progress: Callable[[int], object] | None = None
) -> Prior:
    """Return the prior of a domain's training labels, `config.crop_size` wide and high.

    Args:
        domain: the training pictures; at most `config.max_images` of them count.
        classes: of their labels.
        config: the preparation of test pictures.
        progress: called with 1 after each label map.

    Raises:
        DataError: a picture has no label map, or none of its classes is scored.
    """
    def maps() -> Iterator[np.ndarray]:
        for index in range(min(len(domain), config.max_images or len(domain))):
            yield square_labels(domain, index, config)
            if progress:
                progress(1)

    return prior_of(maps(), classes.count)


def square_labels(domain: Domain, index: int, config: DataConfig) -> np.ndarray:
    """Return a picture's label map as `prepare_labels` does, brought to uint8 (crop_size, crop_size).

    Raises:
        DataError: the picture has no label map.
    """
    if (labels := domain.labels(index)) is None:
        raise DataError(
            "{picture} has no label map: save one for each picture as labels/FOLDER/NAME.png in the data set, with the "
            "picture's folder and name, then run python -m cyclegan classes DATA",
            picture=domain.where(index),
        )
    prepared = Image.fromarray(prepare_labels(labels, config))
    return np.asarray(resize(prepared, (config.crop_size, config.crop_size), Image.Resampling.NEAREST))


def prior_of(maps: Iterable[np.ndarray], count: int) -> Prior:
    """Return the prior of label maps of one size.

    Args:
        maps: uint8 (H, W); 0 to count - 1, or VOID.
        count: the number of classes.

    Raises:
        DataError: all is VOID.
    """
    found: np.ndarray | int = 0
    for labels in maps:
        found = found + (labels == np.arange(count, dtype=np.uint8)[:, None, None])
    totals = np.sum(found, axis=(1, 2))
    if not totals.any():
        raise DataError(
            "the label maps hold none of the classes that are scored, but only pixels without a class: check them and "
            "classes.json",
        )
    commonest = int(totals.argmax())
    positions = np.where(np.any(found, axis=0), np.argmax(found, axis=0), commonest)
    return Prior(positions.astype(np.uint8), commonest)
