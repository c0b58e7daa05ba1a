"""A guess at the domain of a picture by its colours and texture: it needs a few pictures of each, and no network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

SIDE = 64
"""Pictures are compared at this width and height in pixels."""
LEAST_SPREAD = np.array([0.025] * 9 + [0.01, 0.05, 0.01] + [0.025] * 3)
"""Spread within a domain that a few pictures may hide, for each feature."""
SURE = 0.05
"""Least difference of the two distances, as a part of their sum, for a guess. `python -m benchmarks.likeness` measures
how often a guess is right, and how often there is none."""


def features(image: Image.Image) -> np.ndarray:
    """Return 15 numbers about a picture, mostly in [0, 1]: of brightness, colour, saturation and edges.

    Args:
        image: RGB of any size.
    """
    rgb = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255
    luma = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    planes = (luma, rgb[..., 2] - luma, rgb[..., 0] - luma, rgb.max(2) - rgb.min(2))
    edges = np.hypot(np.diff(luma, axis=0)[:, :-1], np.diff(luma, axis=1)[:-1])
    third = SIDE // 3
    return np.array([
        *(value for plane in planes for value in (plane.mean(), plane.std())),
        luma[:third].mean() - luma[-third:].mean(),
        edges.mean(), (edges < 0.01).mean(), edges.std(),
        *np.quantile(luma, (0.1, 0.5, 0.9)),
    ])  # fmt: skip


def nearer_domain(
    picture: np.ndarray, a: Sequence[np.ndarray], b: Sequence[np.ndarray], as_b: np.ndarray | None = None
) -> str | None:
    """Return `a` or `b`, the domain whose mean is nearer in units of the spread within; None if it isn't clear.

    Args:
        picture: `features` of a picture.
        a: those of pictures of domain a; may be empty, which leaves it unclear.
        b: those of domain b.
        as_b: `features` of the picture as domain b shows it, where the domains' ranges differ; `picture` is as domain
            a shows it.
    """
    if not len(a) or not len(b):
        return None
    spread = np.sqrt((np.var(a, axis=0) + np.var(b, axis=0)) / 2 + LEAST_SPREAD**2)
    shown = (picture, a), (picture if as_b is None else as_b, b)
    to_a, to_b = (float(np.linalg.norm((seen - np.mean(each, axis=0)) / spread)) for seen, each in shown)
    if abs(to_a - to_b) <= SURE * (to_a + to_b):
        return None
    return "a" if to_a < to_b else "b"
