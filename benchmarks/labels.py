"""Labels of maps: which of its main colours each pixel is nearest to."""

from __future__ import annotations

import numpy as np
from PIL import Image

COLOURS = 6
"""Main colours that a map's pixels are told apart by."""


def labels(image: Image.Image, colours: np.ndarray) -> np.ndarray:
    """Index of the nearest of the colours (k, 3), per pixel: int32 (H·W,)."""
    from scipy.cluster.vq import vq

    return vq(np.asarray(image, dtype=np.float64).reshape(-1, 3), colours)[0]


def main_colours(images: list[Image.Image]) -> np.ndarray:
    """The COLOURS that k-means finds among the pictures' pixels, commonest first: float64 (k, 3), 0 to 255."""
    from scipy.cluster.vq import kmeans2

    pixels = np.concatenate([np.asarray(image, dtype=np.float64).reshape(-1, 3) for image in images])
    few = pixels[:: max(1, len(pixels) // 100_000)]
    colours, found = kmeans2(few, COLOURS, minit="++", seed=0)
    return colours[np.argsort(-np.bincount(found, minlength=COLOURS))]


def agreement(fake: Image.Image, truth: Image.Image, colours: np.ndarray) -> float:
    """Share of pixels whose label is the truth's."""
    return float((labels(fake, colours) == labels(truth, colours)).mean())


def commonest_share(images: list[Image.Image], colours: np.ndarray) -> float:
    """Share of all pixels that have the commonest label: the agreement of one label everywhere."""
    counts = np.bincount(np.concatenate([labels(image, colours) for image in images]), minlength=len(colours))
    return float(counts.max() / counts.sum())
