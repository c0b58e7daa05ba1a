"""The difference between a picture and its way back: figures and a map of |x − F(G(x))|."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cyclegan.images import mean_difference

MAX_SSIM_PIXELS = 2_000_000
HEAT_FULL = 64
"""Grey levels of error at which the map is brightest: one scale for all pictures, because people compare them."""


@dataclass(frozen=True)
class Similarity:
    """The similarity of two pictures of the same size."""

    l1: float
    """Mean |x − y| over pixels and channels, in grey levels (0 to 255)."""
    psnr: float
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    ssim: float | None
    """Structural similarity, −1 to 1, mean over channels, with Wang et al.'s Gaussian window of σ 1.5 pixels
    (2004, section III); None where a side is shorter than the window's 11 pixels. Pictures beyond MAX_SSIM_PIXELS are
    reduced by a whole number first, as its authors do for pictures that are seen from farther away."""


def similarity(one: Image.Image, other: Image.Image) -> Similarity:
    """Compare two RGB pictures of one size.

    Raises:
        ValueError: their sizes differ.
    """
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    x, y = np.asarray(one.convert("RGB")), np.asarray(other.convert("RGB"))
    if x.shape != y.shape:
        raise ValueError(f"pictures of {one.size} and {other.size} can't be compared; bring them to one size")
    with np.errstate(divide="ignore"):
        psnr = float(peak_signal_noise_ratio(x, y, data_range=255))
    l1, ssim = mean_difference(x, y), None
    if (factor := math.ceil(math.sqrt(one.width * one.height / MAX_SSIM_PIXELS))) > 1:
        x, y = (np.asarray(image.convert("RGB").reduce(factor)) for image in (one, other))
    if min(x.shape[:2]) >= 11:
        ssim = float(structural_similarity(
            x, y, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        ))  # fmt: skip
    return Similarity(l1, psnr, ssim)


def heat_map(one: Image.Image, other: Image.Image) -> Image.Image:
    """Return a map of the differences between two RGB pictures of one size.

    Mean |x − y| over the channels is black for 0, and pale yellow from HEAT_FULL grey levels on.
    """
    from matplotlib import colormaps

    x, y = (np.asarray(image.convert("RGB"), dtype=np.int16) for image in (one, other))
    error = np.abs(x - y).mean(axis=2) / HEAT_FULL
    return Image.fromarray(colormaps["inferno"](np.minimum(error, 1), bytes=True)[..., :3])
