"""`StreetsSpec`: the scenes that a data set "streets:…" consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from cyclegan.data.labels import SIDES, Side
from cyclegan.data.streets.classes import DENSITY_CLASSES, PALETTE, check_size, checked_density
from cyclegan.data.streets.light import shade_day, shade_night
from cyclegan.data.streets.raster import Raster
from cyclegan.data.streets.scene import Scene, rasterise
from cyclegan.errors import DataError, message

SPLITS, DOMAINS = ("train", "test"), ("a", "b")
VIEWS = {"day": shade_day, "night": shade_night, "labels": lambda raster: PALETTE.picture(raster.labels)}
"""The ways in which a domain's pictures can show a scene."""
_LEAST = {"count": 1, "test_count": 0, "seed": 0}


@dataclass(frozen=True)
class StreetsSpec:
    """Parsed form of `--dataset streets:count=400,size=256,seed=1,pedestrian_b=0`.

    Args:
        count, test_count: scenes per domain.
        width, height: pixels.
        density_a, density_b: factor by class name (1 = default, 0 = none, 2 = twice as many) in domain a and b.
        a, b: how the domain's pictures show its scenes: "day", "night" or "labels" (colour-coded label maps).

    Raises:
        DataError: a value is out of range.
    """

    count: int = 400
    test_count: int = 40
    width: int = 256
    height: int = 256
    seed: int = 0
    density_a: Mapping[str, float] = field(default_factory=dict)
    density_b: Mapping[str, float] = field(default_factory=dict)
    a: str = "day"
    b: str = "night"

    def __post_init__(self) -> None:
        check_size(self.width, self.height)
        for name, least in _LEAST.items():
            if (value := getattr(self, name)) < least:
                raise DataError(
                    "streets needs {name}={least} or more, not {value}", name=name, least=least, value=value
                )
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
        name, _, rest = text.partition(":")
        if name.strip() != "streets":
            raise DataError("{text!r} is not a streets data set: {understood}", text=text, understood=understood)
        values: dict[str, Any] = {}
        density: dict[str, dict[str, float]] = {"a": {}, "b": {}}
        for item in filter(None, (part.strip() for part in rest.split(","))):
            key, _, value = (part.strip() for part in item.partition("="))
            try:
                _read_item(key, value, values, density)
            except (ValueError, DataError):
                raise DataError(
                    "{item!r} in {text!r} is not understood: {understood}", item=item, text=text, understood=understood
                ) from None
        return cls(**values, density_a=density["a"], density_b=density["b"])

    def series(self, split: str, domain: str) -> int:
        """Return the seed for `render_scene`: different for every split, domain and seed of the spec."""
        if split not in SPLITS or domain not in DOMAINS:
            raise ValueError(f"split is train or test and domain a or b, not {split!r} and {domain!r}")
        return 4 * self.seed + 2 * SPLITS.index(split) + DOMAINS.index(domain)

    def length(self, split: str) -> int:
        """Return the number of scenes per domain in a split."""
        return self.count if split == "train" else self.test_count

    def raster(self, split: str, domain: str, index: int) -> Raster:
        """Return one scene before any light falls on it. Arguments as for `scene`."""
        series = self.series(split, domain)
        if not 0 <= index < self.length(split):
            raise ValueError(f"streets has {self.length(split)} {split} scenes per domain, but no number {index}")
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
        return self.draw(self.raster(split, domain, index), "b" if domain == "a" else "a")

    def draw(self, raster: Raster, domain: str) -> Image.Image:
        """Return a scene, RGB, as the pictures of domain "a" or "b" show it."""
        return VIEWS[self.view(domain)](raster)


def _read_item(key: str, value: str, values: dict[str, Any], density: dict[str, dict[str, float]]) -> None:
    """Put one key's value where it belongs. Raises ValueError or DataError."""
    if key in _LEAST:
        values[key] = int(value)
    elif key in DOMAINS:
        if value not in VIEWS:
            raise ValueError(value)
        values[key] = value
    elif key == "size":
        width, _, height = value.lower().partition("x")
        values["width"], values["height"] = int(width), int(height or width)
    else:
        name, domains = (key[:-2], key[-1]) if key.endswith(("_a", "_b")) else (key, "ab")
        checked_density({name: float(value)})
        for domain in domains:
            density[domain][name] = float(value)
