"""Differences between the translations of one picture: where epochs disagree, a look is worth the most."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from cyclegan.images import mean_difference

MAX_PIXELS = 1_000_000


def differences(pictures: Sequence[Image.Image | None]) -> list[list[float | None]]:
    """Return the mean absolute difference of every picture to every other, in grey levels (0 to 255).

    Args:
        pictures: (N,) RGB, of one size; the row and the column of None are None. Those beyond MAX_PIXELS are reduced
            by a whole number first, because N pictures have N² differences.

    Returns:
        (N, N), symmetric, with zeros on the diagonal.
    """
    pixels = max((picture.width * picture.height for picture in pictures if picture is not None), default=0)
    factor = max(1, math.ceil(math.sqrt(pixels / MAX_PIXELS)))
    arrays = [
        None if picture is None else np.asarray(picture.convert("RGB").reduce(factor), dtype=np.int16)
        for picture in pictures
    ]
    found: list[list[float | None]] = [[None] * len(arrays) for _ in arrays]
    for i, one in enumerate(arrays):
        for j, other in enumerate(arrays[: i + 1]):
            if one is not None and other is not None:
                found[i][j] = found[j][i] = mean_difference(one, other) if i != j else 0.0
    return found


def disagreement(differences: Sequence[Sequence[float | None]]) -> float | None:
    """Return the mean of an (N, N) table of `differences` over all pairs, without None; None if there is no pair."""
    pairs = [each for i, row in enumerate(differences) for each in row[:i] if each is not None]
    return sum(pairs) / len(pairs) if pairs else None
