"""The canvas of a phantom: outlines in the patient's own coordinates, painted as numbers of tissues."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from cyclegan.data.phantoms.tissues import NAMES

_ANGLES = np.linspace(0, 2 * math.pi, 48, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)
_WAVES = np.array([f(n * _ANGLES) for n in (2, 3, 5) for f in (np.cos, np.sin)])

OVER = 3
"""Painted pixels for each of the picture's, on each side."""


class Canvas:
    """A slice that is being painted: later shapes cover earlier ones.

    Coordinates are x right and y towards the back of the patient, from the middle of the body; 1 is the smaller side of
    the picture, so that every size shows the same slice.

    Args:
        size: width and height in pixels.
        rng: of the shapes' irregularities.
        turn: the patient's, in radians.
        shift: of the body's middle from the picture's.
    """

    def __init__(
        self, size: tuple[int, int], rng: np.random.Generator, turn: float, shift: tuple[float, float]
    ) -> None:
        self.rng, self.shift = rng, np.array(shift)
        self.size, self.unit = size, min(size)
        self.over = OVER if max(size) <= 1024 else 1
        cos, sin = math.cos(turn), math.sin(turn)
        self._turn = np.array([[cos, sin], [-sin, cos]])
        self.image = Image.new("L", (size[0] * self.over, size[1] * self.over), NAMES.index("air"))
        self._draw = ImageDraw.Draw(self.image)

    def placed(self, outline: np.ndarray) -> np.ndarray:
        """Return an outline (N, 2) turned and shifted as the patient is, from the picture's middle."""
        return outline @ self._turn + self.shift

    def paint(self, tissue: str, outline: np.ndarray, upper: float = 1.0) -> None:
        """Paint an outline of the patient, or the upper part of it, which ends in a level surface, as fluids have."""
        points = self.placed(outline)
        if upper < 1:
            top, bottom = points[:, 1].min(), points[:, 1].max()
            points[:, 1] = np.minimum(points[:, 1], top + upper * (bottom - top))
        self.paint_placed(tissue, points)

    def paint_placed(self, tissue: str, points: np.ndarray) -> None:
        """Paint an outline that is given from the picture's middle."""
        self._draw.polygon(self._pixels(points), fill=NAMES.index(tissue))

    def _pixels(self, points: np.ndarray) -> list[int]:
        xy = np.rint(points * (self.unit * self.over) + np.array(self.image.size) / 2 - 0.5)
        return xy.astype(int).ravel().tolist()

    def keep_outside(self, outline: np.ndarray, earlier: Image.Image) -> None:
        """Put back an earlier painting outside of an outline, because organs may reach beyond it."""
        mask = Image.new("1", self.image.size, 1)
        ImageDraw.Draw(mask).polygon(self._pixels(self.placed(outline)), fill=0)
        self.image.paste(earlier, mask=mask)

    def ring(self, tissue: str, outer: np.ndarray, inner: np.ndarray) -> None:
        """Paint what lies between two outlines."""
        self.paint(tissue, np.concatenate([outer, outer[:1], inner, inner[:1]]))

    def blob(self, x: float, y: float, rx: float, ry: float, turn: float = 0.0, rough: float = 0.05) -> np.ndarray:
        """Return the outline of an irregular ellipse.

        Args:
            x, y: its middle.
            rx, ry: its radii.
            turn: degrees, clockwise on the picture.
            rough: how far it departs from an ellipse, as a share of its radii.
        """
        radius = 1 + rough * (self.rng.uniform(-0.7, 0.7, 6) @ _WAVES)
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        axes = np.array([[rx * cos, rx * sin], [-ry * sin, ry * cos]])
        return (_CIRCLE * radius[:, None]) @ axes + (x, y)

    def organ(self, tissue: str, x: float, y: float, rx: float, ry: float, turn: float = 0.0, rough: float = 0.05,
              rim: str = "", thick: float = 0.006) -> np.ndarray:  # fmt: skip
        """Paint an irregular ellipse, within a rim of another tissue if one is named; return its outline."""
        outline = self.blob(x, y, rx, ry, turn, rough)
        self.paint(rim or tissue, outline)
        if rim and thick < 0.85 * min(rx, ry):
            self.paint(tissue, (outline - (x, y)) * (1 - thick / min(rx, ry)) + (x, y))
        return outline
