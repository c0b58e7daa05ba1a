"""`Raster`: a picture of any depth and number of channels, with the geometry of a PIL image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cyclegan.errors import ImageError
from cyclegan.values import MAX_CHANNELS, Values

if TYPE_CHECKING:
    import torch


FILE_DIGEST = "digest of the file"
"""Key in an origin's `keep`: whoever opens files of strangers notes there which one it was."""


@dataclass(frozen=True)
class Origin:
    """The file that a raster was read from, as far as a file of the same kind needs it.

    Attributes:
        kind: of file: "png", "tiff", "npy", "dicom" or "nifti".
        dtype: NumPy's name of the stored values, such as "uint16".
        slope, intercept: value = stored × slope + intercept.
        keep: what the format's writer takes over, such as tags; nobody else looks into it.
    """

    kind: str = "tiff"
    dtype: str = "float32"
    slope: float = 1.0
    intercept: float = 0.0
    keep: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


class Raster:
    """A picture's values in their own units, such as Hounsfield units.

    Args:
        values: (H, W, C), of any real type; kept as float32, which holds 16 bits exactly. C is 1 to 16.
        origin: where they come from.

    Raises:
        ImageError: the values have another shape.
    """

    def __init__(self, values: np.ndarray, origin: Origin | None = None) -> None:
        if values.ndim != 3 or not 1 <= values.shape[2] <= MAX_CHANNELS or 0 in values.shape:
            raise ImageError(
                "an array {shape} isn't a picture: give (H, W, C) with 1 to {most} channels", shape=values.shape,
                most=MAX_CHANNELS,
            )  # fmt: skip
        self.values, self.origin = np.asarray(values, np.float32), origin or Origin()

    @property
    def width(self) -> int:
        """Pixels of a row."""
        return self.values.shape[1]

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.values.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, as PIL has them."""
        return self.width, self.height

    @property
    def channels(self) -> int:
        """Values of a pixel."""
        return self.values.shape[2]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype, copy=copy) if copy else np.asarray(self.values, dtype)

    def crop(self, box: tuple[int, int, int, int]) -> Raster:
        """Return a part, by left, top, right and bottom."""
        left, top, right, bottom = box
        return Raster(self.values[top:bottom, left:right], self.origin)

    def resize(self, size: tuple[int, int], resampling: Image.Resampling = Image.Resampling.BICUBIC) -> Raster:
        """Return the picture at a width and height, antialiased as PIL's `resize`, channel by channel."""
        bands = (Image.fromarray(np.ascontiguousarray(self.values[..., c])) for c in range(self.channels))
        return Raster(np.stack([np.asarray(band.resize(size, resampling)) for band in bands], 2), self.origin)

    def with_values(self, values: np.ndarray, **origin: Any) -> Raster:
        """Return other values of the same origin, or of one that differs in what is given."""
        return Raster(values, replace(self.origin, **origin) if origin else self.origin)


def to_raster(tensor: torch.Tensor, values: Values, origin: Origin | None = None) -> Raster:
    """Return a network's output, (C, H, W) or (1, C, H, W) in [-1, 1], in its domain's units.

    NaN, which only a broken network returns, becomes the middle of the range.
    """
    if tensor.ndim == 4:
        tensor = tensor[0]
    found = tensor.detach().float().nan_to_num(nan=0.0).clamp(-1, 1).permute(1, 2, 0).cpu().numpy()
    scale = np.float32((values.high - values.low) / 2)
    return Raster((found + np.float32(1)) * scale + np.float32(values.low), origin)


def from_shown(image: Image.Image, values: Values) -> Raster:
    """Return a picture for a screen, as `Values.shown` makes it of the whole range, as a raster of the domain.

    Raises:
        ImageError: the domain has channels that the picture lacks.
    """
    array = np.asarray(image, np.float32)[..., : values.channels]
    values.check(found := Raster(array), "a picture for a screen")
    return found.with_values(array * np.float32((values.high - values.low) / 255) + np.float32(values.low))
