"""`StreetsSpec`: the scenes that a data set "streets:…" consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from PIL import Image

from cyclegan.data.drawn import COMMON, DOMAINS, DrawnSpec, other, read_common, read_words
from cyclegan.data.labels import SIDES, Side
from cyclegan.data.streets.classes import DENSITY_CLASSES, PALETTE, checked_density
from cyclegan.data.streets.light import shade_day, shade_night
from cyclegan.data.streets.raster import Raster
from cyclegan.data.streets.scene import Scene, rasterise
from cyclegan.errors import DataError, message

VIEWS = {"day": shade_day, "night": shade_night, "labels": lambda raster: PALETTE.picture(raster.labels)}
"""The ways in which a domain's pictures can show a scene."""


@dataclass(frozen=True)
class StreetsSpec(DrawnSpec):
    """Parsed form of `--dataset streets:count=400,size=256,seed=1,pedestrian_b=0`.

    Args:
        count, test_count, width, height, seed: as for `DrawnSpec`.
        density_a, density_b: factor by class name (1 = default, 0 = none, 2 = twice as many) in domain a and b.
        a, b: how the domain's pictures show its scenes: "day", "night" or "labels" (colour-coded label maps).

    Raises:
        DataError: a value is out of range.
    """

    density_a: Mapping[str, float] = field(default_factory=dict)
    density_b: Mapping[str, float] = field(default_factory=dict)
    a: str = "day"
    b: str = "night"
    kind: ClassVar[str] = "streets"

    def __post_init__(self) -> None:
        super().__post_init__()
        for side in DOMAINS:
            if self.view(side) not in VIEWS:
                raise DataError(
                    "streets has no domain {side}={value}: choose from {names}",
                    side=side, value=self.view(side), names=", ".join(VIEWS),
                )  # fmt: skip
        checked_density(self.density_a)
        checked_density(self.density_b)

    @classmethod
    def parse(cls, text: str) -> StreetsSpec:
        """Read "streets" or "streets:key=value,…".

        Raises:
            DataError: not understood; the message lists the keys. Or a value is out of range.
        """
        understood = message(
            "streets understands count, test_count, size (256 or 512x256), seed, a and b ({views}), and a factor for "
            "{names} (for one domain: pedestrian_a, pedestrian_b, …)",
            views=", ".join(VIEWS), names=", ".join(DENSITY_CLASSES),
        )
        values: dict[str, Any] = {}
        density: dict[str, dict[str, float]] = {"a": {}, "b": {}}
        read_words(cls.kind, text, understood, lambda key, value: _read_item(key, value, values, density))
        return cls(**values, density_a=density["a"], density_b=density["b"])

    def raster(self, split: str, domain: str, index: int) -> Raster:
        """Return one scene before any light falls on it. Arguments as for `scene`."""
        series = self.series_with(split, domain, index)
        return rasterise(series, index, (self.width, self.height), self.density_a if domain == "a" else self.density_b)

    def scene(self, split: str, domain: str, index: int) -> Scene:
        """Return a scene in both domains.

        Args:
            split: "train" or "test".
            domain: "a" or "b": the domain whose data set the scene belongs to.
            index: 0 … `length(split)` - 1.
        """
        raster = self.raster(split, domain, index)
        return Scene(shade_day(raster), shade_night(raster), raster.labels)

    def view(self, domain: str) -> str:
        """Return "day", "night" or "labels": how the pictures of domain "a" or "b" show a scene."""
        return self.a if domain == "a" else self.b

    @property
    def label_domain(self) -> Side | None:
        """The domain whose pictures are label maps, if any."""
        return next((side for side in SIDES if self.view(side) == "labels"), None)

    def image(self, split: str, domain: str, index: int) -> Image.Image:
        """Return the picture of the data set: RGB, by default day for "a", night for "b"."""
        return self.draw(self.raster(split, domain, index), domain)

    def truth(self, split: str, domain: str, index: int) -> Image.Image:
        """Return the same scene in the other domain: RGB, for evaluation only."""
        return self.draw(self.raster(split, domain, index), other(domain))

    def draw(self, raster: Raster, domain: str) -> Image.Image:
        """Return a scene, RGB, as the pictures of domain "a" or "b" show it."""
        return VIEWS[self.view(domain)](raster)


def _read_item(key: str, value: str, values: dict[str, Any], density: dict[str, dict[str, float]]) -> None:
    """Put one key's value where it belongs. Raises ValueError or DataError."""
    if key in COMMON:
        read_common(key, value, values)
    elif key in DOMAINS:
        if value not in VIEWS:
            raise ValueError(value)
        values[key] = value
    else:
        name, domains = (key[:-2], key[-1]) if key.endswith(("_a", "_b")) else (key, "ab")
        checked_density({name: float(value)})
        for domain in domains:
            density[domain][name] = float(value)
