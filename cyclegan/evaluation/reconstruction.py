"""The difference between a picture and its way back: figures and a map of |x − F(G(x))|."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cyclegan.images import mean_difference
from cyclegan.rasters.raster import Raster
from cyclegan.values import RGB, Values

MAX_SSIM_PIXELS = 2_000_000
HEAT_FULL = 64
"""Grey levels of error at which the map is brightest: one scale for all pictures, because people compare them."""
HEAT_PART = 0.25
"""The same for pictures of other values, as a part of their range."""


@dataclass(frozen=True)
class Similarity:
    """The similarity of two pictures of the same size."""

    l1: float
    """Mean |x − y| over pixels and channels, in grey levels (0 to 255), or a raster's units."""
    psnr: float
    """Peak signal-to-noise ratio in dB, whose peak is 255 or a raster's range; infinite for equal pictures."""
    ssim: float | None
    """Structural similarity, −1 to 1, mean over channels, with Wang et al.'s Gaussian window of σ 1.5 pixels
    (2004, section III); None where a side is shorter than the window's 11 pixels. Pictures beyond MAX_SSIM_PIXELS are
    reduced by a whole number first, as its authors do for pictures that are seen from farther away."""
    values: Values = RGB
    """The pictures' range, whose units `l1` has."""


def similarity(one: Image.Image | Raster, other: Image.Image | Raster, values: Values = RGB) -> Similarity:
    """Compare two RGB pictures of one size, or two rasters of a domain of these values.

    Raises:
        ValueError: their sizes differ.
    """
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    x, y = _array(one, values), _array(other, values)
    if x.shape != y.shape:
        raise ValueError(f"pictures of {one.size} and {other.size} can't be compared; bring them to one size")
    peak = values.high - values.low
    with np.errstate(divide="ignore"):
        psnr = float(peak_signal_noise_ratio(x, y, data_range=peak))
    l1, ssim = mean_difference(x, y), None
    if (factor := math.ceil(math.sqrt(one.width * one.height / MAX_SSIM_PIXELS))) > 1:
        x, y = (_array(image, values, factor) for image in (one, other))
    if min(x.shape[:2]) >= 11:
        ssim = float(structural_similarity(
            x, y, channel_axis=2, data_range=peak, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        ))  # fmt: skip
    return Similarity(l1, psnr, ssim, values)


def _array(picture: Image.Image | Raster, values: Values, factor: int = 1) -> np.ndarray:
    """Return a picture's (H, W, C), reduced by a whole number; what isn't a number is the range's low end."""
    if not isinstance(picture, Raster):
        return np.asarray(picture.convert("RGB") if factor == 1 else picture.convert("RGB").reduce(factor))
    if factor > 1:
        size = -(-picture.width // factor), -(-picture.height // factor)
        picture = picture.resize(size, Image.Resampling.BOX)
    return np.nan_to_num(picture.values, nan=values.low, posinf=values.high, neginf=values.low)


def heat_full(values: Values = RGB) -> float:
    """Return the difference from which `heat_map` is brightest: HEAT_FULL grey levels, or HEAT_PART of a range."""
    return HEAT_FULL if values.plain else HEAT_PART * (values.high - values.low)


def heat_map(one: Image.Image | Raster, other: Image.Image | Raster, values: Values = RGB) -> Image.Image:
    """Return a map of the differences between two RGB pictures of one size, or two rasters of a domain of these values.

    Mean |x − y| over the channels is black for 0, and pale yellow from `heat_full` on.
    """
    from matplotlib import colormaps

    exact = np.int16 if values.plain else np.float32
    x, y = (_array(image, values).astype(exact) for image in (one, other))
    error = np.abs(x - y).mean(axis=2) / heat_full(values)
    return Image.fromarray(colormaps["inferno"](np.minimum(error, 1), bytes=True)[..., :3])
