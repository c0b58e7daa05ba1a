"""One scene: built, painted, and lit by day and by night."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cyclegan.data.drawn import check_size
from cyclegan.data.streets.buildings import add_buildings
from cyclegan.data.streets.classes import checked_density
from cyclegan.data.streets.ground import add_backdrop, add_ground
from cyclegan.data.streets.light import shade_day, shade_night
from cyclegan.data.streets.raster import Raster
from cyclegan.data.streets.traffic import add_cars, add_lamps, add_pedestrians
from cyclegan.data.streets.trees import add_trees
from cyclegan.data.streets.world import World

# In this order: things at the same distance are painted as they were added.
_PARTS = (add_backdrop, add_ground, add_buildings, add_trees, add_lamps, add_cars, add_pedestrians)


@dataclass(frozen=True)
class Scene:
    """One street in both domains.

    Attributes:
        day, night: RGB pictures of the same size.
        labels: uint8 (H, W), indices into `CLASSES`.
    """

    day: Image.Image
    night: Image.Image
    labels: np.ndarray


def render_scene(
    seed: int, index: int, *, size: tuple[int, int] = (256, 256), density: Mapping[str, float] | None = None
) -> Scene:
    """Draw one scene: a pure function of its arguments.

    It takes about 25 ms at 128×128, 55 ms at 256×256 and half a minute, with 3 GB of memory, at 4096×4096.

    Args:
        seed: the series, 0 or more.
        index: the scene's number in it, 0 or more.
        size: width and height in pixels, each 16 to 4096. Another size shows the same scene; another aspect ratio
            shows a wider or taller view of it.
        density: factor by name, for names of `DENSITY_CLASSES`, from 0 (none at all) over 1 (the default) to 10.
            "Twice as many" holds as far as there is room in the street.

    Raises:
        DataError: a size or density is out of range.
        ValueError: seed or index is negative.
    """
    raster = rasterise(seed, index, size, density or {})
    return Scene(shade_day(raster), shade_night(raster), raster.labels)


def rasterise(seed: int, index: int, size: tuple[int, int], density: Mapping[str, float]) -> Raster:
    """Return a scene before any light falls on it. Arguments and exceptions as for `render_scene`."""
    check_size("streets", *size)
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index of a scene must be 0 or more, not {seed} and {index}")
    world = World(seed, index, checked_density(density))
    for add in _PARTS:
        add(world)
    world.things.sort(key=lambda thing: -thing.depth)
    return Raster(world, size)
