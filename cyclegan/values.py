"""The range of a domain's values and the number of its channels: from units to a network's numbers, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cyclegan.errors import ConfigError, ImageError

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

MAX_CHANNELS = 16
MOST = 1e12
"""Bound of a range's ends."""
PLAIN = "0:255"
"""The range of 8-bit pictures, as the flags have it."""


@dataclass(frozen=True)
class Values:
    """A domain's pictures as its networks see them: `low` becomes -1, `high` becomes 1, what lies beyond is cut.

    Its methods take pictures as rasters or as arrays (H, W, C), in their own units.

    Attributes:
        channels: values of a pixel, 1 to 16.
        low, high: the range, in the pictures' own units.
        neighbours: slices before and after each slice of a volume that are channels of its picture, too; they are
            counted in `channels`, and the slice's own are in the middle.
    """

    channels: int = 3
    low: float = 0.0
    high: float = 255.0
    neighbours: int = 0

    @property
    def own(self) -> slice:
        """The channels that are a picture's own, not its neighbours'."""
        count = self.channels // (2 * self.neighbours + 1)
        return slice(self.neighbours * count, (self.neighbours + 1) * count)

    @property
    def plain(self) -> bool:
        """True for 8-bit RGB, which has a way of its own: `cyclegan.images` (PIL images, grey levels)."""
        return self == RGB

    def text(self) -> str:
        """Return the range as the flags have it, `-1000:3000`."""
        return f"{self.low:.9g}:{self.high:.9g}"

    def check(self, raster: ArrayLike, name: object) -> None:
        """Raise ImageError if a picture has another number of channels."""
        found = np.asarray(raster).shape[2]
        if found != self.channels:
            raise ImageError(
                "{name} has another number of channels than this domain's pictures ({found} instead of {wanted}): give "
                "pictures of one kind", name=name, found=found, wanted=self.channels,
            )  # fmt: skip

    def normalised(self, raster: ArrayLike) -> np.ndarray:
        """Return float32 (H, W, C) in [-1, 1]; what isn't a number becomes -1."""
        scaled = (np.asarray(raster) - np.float32(self.low)) * np.float32(2 / (self.high - self.low)) - np.float32(1)
        return np.nan_to_num(np.clip(scaled, -1, 1, out=scaled), copy=False, nan=-1.0)

    def cut(self, values: np.ndarray) -> np.ndarray:
        """Return values within the range; what isn't a number becomes its low end."""
        return np.clip(np.nan_to_num(values, nan=self.low), np.float32(self.low), np.float32(self.high))

    def to_tensor(self, raster: ArrayLike) -> torch.Tensor:
        """Return float32 (C, H, W) in [-1, 1]."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.normalised(raster).transpose(2, 0, 1)))

    def shown(self, raster: ArrayLike, window: tuple[float, float] | None = None) -> Image.Image:
        """Return an 8-bit RGB picture for a screen: a window of the values, by default the whole range.

        One channel is grey, three are RGB, two are red and green, and of more the first three are shown.
        """
        low, high = window or (self.low, self.high)
        # A raster of other channels is one of which somebody has chosen some.
        values = np.asarray(raster)
        own = values[..., self.own] if values.shape[2] == self.channels else values
        grey = np.clip((own[..., :3] - low) * (255 / (high - low)), 0, 255)
        levels = np.nan_to_num(grey, nan=0.0).round().astype(np.uint8)
        if levels.shape[2] == 1:
            levels = np.repeat(levels, 3, axis=2)
        elif levels.shape[2] == 2:
            levels = np.concatenate([levels, np.zeros_like(levels[..., :1])], axis=2)
        return Image.fromarray(np.ascontiguousarray(levels))


RGB = Values()
"""8-bit RGB."""


def parse_range(text: str) -> tuple[float, float]:
    """Return the low and the high end of a range such as `0:4095` or `-1000:3000`. Raises ConfigError."""
    try:
        low, high = (float(part) for part in text.split(":"))
        # float32 has to tell the ends apart, and to hold a thousandth of what lies between.
        if not (max(abs(low), abs(high)) <= MOST and high - low >= max(1 / MOST, 1e-6 * max(abs(low), abs(high)))):
            raise ValueError(text)
    except ValueError as error:
        raise ConfigError(
            "{text!r} isn't a range: give its low and its high end, such as 0:4095 or -1000:3000, or auto", text=text
        ) from error
    return low, high


def values_of(channels: int | None, text: str, neighbours: int = 0) -> Values:
    """Return a domain's values by its two settings, once both are known. Raises ConfigError."""
    if not channels or not 1 <= channels <= MAX_CHANNELS:
        raise ConfigError("{number} isn't a number of channels: give 1 to {most}", number=channels, most=MAX_CHANNELS)
    return Values(channels, *parse_range(text), neighbours)
