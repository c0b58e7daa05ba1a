"""The classes of things in a street, their colours, and the bounds of a data set's settings."""

from __future__ import annotations

from collections.abc import Mapping

from cyclegan.data.labels import Classes
from cyclegan.errors import DataError

CLASSES: tuple[str, ...] = (
    "sky", "road", "lane_marking", "pavement", "terrain", "building", "tree", "car", "pedestrian", "lamp",
)  # fmt: skip
CLASS_COLORS: tuple[tuple[int, int, int], ...] = (
    (70, 130, 180), (128, 64, 128), (255, 255, 255), (244, 35, 232), (152, 251, 152),
    (90, 90, 90), (107, 142, 35), (0, 0, 200), (220, 20, 60), (250, 200, 30),
)  # fmt: skip
PALETTE = Classes(CLASSES, CLASS_COLORS)
DENSITY_CLASSES: tuple[str, ...] = ("lane_marking", "building", "tree", "car", "pedestrian", "lamp")
MAX_DENSITY = 10.0

SKY, ROAD, MARKING, PAVEMENT, TERRAIN, BUILDING, TREE, CAR, PEDESTRIAN, LAMP = range(10)


def checked_density(density: Mapping[str, float]) -> dict[str, float]:
    """Return a factor for each of `DENSITY_CLASSES`; 1 where none is given. Raises DataError."""
    for name, factor in density.items():
        if name not in DENSITY_CLASSES:
            raise DataError(
                "there is no density of {name!r}: choose from {names}", name=name, names=", ".join(DENSITY_CLASSES)
            )
        if not 0 <= factor <= MAX_DENSITY:
            raise DataError(
                "the density of {name} is {factor}: choose 0 to {most:g}", name=name, factor=factor, most=MAX_DENSITY
            )
    return {name: float(density.get(name, 1.0)) for name in DENSITY_CLASSES}
