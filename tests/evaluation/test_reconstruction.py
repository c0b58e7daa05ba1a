"""Figures of likeness and the map of errors."""

import math

import numpy as np
import pytest
from PIL import Image, ImageChops

from cyclegan.evaluation.reconstruction import HEAT_FULL, heat_full, heat_map, similarity
from cyclegan.rasters.raster import Raster
from cyclegan.values import Values


def noise(seed, height=40, width=30):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_equal_pictures():
    image = Image.fromarray(noise(0))
    found = similarity(image, image)
    assert (found.l1, found.psnr, found.ssim) == (0, math.inf, pytest.approx(1))
    assert not np.asarray(heat_map(image, image)).sum(axis=2).max() > 10


def test_figures_are_those_of_their_formulas():
    x = noise(0)
    y = np.clip(x.astype(int) + np.random.default_rng(1).integers(-20, 21, x.shape), 0, 255).astype(np.uint8)
    found = similarity(Image.fromarray(x), Image.fromarray(y))
    difference = x.astype(float) - y
    assert found.l1 == pytest.approx(np.abs(difference).mean())
    assert found.psnr == pytest.approx(10 * math.log10(255**2 / (difference**2).mean()))
    assert found.ssim == pytest.approx(np.mean([plain_ssim(x[..., c], y[..., c]) for c in range(3)]), abs=1e-6)
    assert found.ssim > similarity(Image.fromarray(x), Image.fromarray(noise(2))).ssim


def plain_ssim(x, y):
    """Wang et al. (2004), equation 13, window by window, over the windows that lie whole in the picture."""
    axis = np.arange(-5, 6)
    window = np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2, values = (0.01 * 255) ** 2, (0.03 * 255) ** 2, []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = (z[top : top + 11, left : left + 11].astype(float) for z in (x, y))
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * a * a).sum() - ma**2, (window * b * b).sum() - mb**2
            cov = (window * a * b).sum() - ma * mb
            values.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return np.mean(values)


def test_small_pictures_have_no_ssim():
    small = Image.fromarray(noise(0, 10, 40))
    assert similarity(small, small).ssim is None
    assert similarity(small.resize((1, 1)), small.resize((1, 1))).l1 == 0


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="can't be compared"):
        similarity(Image.fromarray(noise(0, 20, 20)), Image.fromarray(noise(0, 20, 21)))


def test_the_map_is_brighter_where_more_is_lost_on_one_scale_for_all():
    black = np.zeros((4, 4, 3), np.uint8)
    levels = []
    for level in (0, HEAT_FULL // 2, HEAT_FULL, 255):
        other = black.copy()
        other[1, 2] = level
        heat = np.asarray(heat_map(Image.fromarray(black), Image.fromarray(other))).astype(int)
        assert heat[0, 0].sum() < 10 and heat.shape == (4, 4, 3)
        levels.append(heat[1, 2].sum())
    assert levels[0] < levels[1] < levels[2] == levels[3] > 600


def test_large_pictures_are_compared_soon():
    """A photograph of 12 megapixels would take a minute and gigabytes at full size."""
    one = Image.effect_noise((4000, 3000), 60).convert("RGB")
    found = similarity(one, one)
    assert found.ssim == pytest.approx(1) and found.l1 == 0
    half = similarity(one, ImageChops.offset(one, 2000, 0))
    assert half.l1 > 10 and half.ssim < 0.5


def test_figures_of_rasters_are_in_units_and_relative_to_the_range():
    values = Values(1, -1000.0, 3000.0)
    x = np.random.default_rng(0).uniform(-1000, 3000, (40, 30, 1)).astype(np.float32)
    y = x + np.float32(100)
    found = similarity(Raster(y), Raster(x), values)
    assert found.l1 == pytest.approx(100, abs=0.01) and found.values == values
    assert found.psnr == pytest.approx(20 * math.log10(4000 / 100), abs=0.01)
    # As if both were drawn at 0 to 255, but for the rounding.
    drawn = similarity(values.shown(Raster(y)), values.shown(Raster(x)))
    assert found.ssim == pytest.approx(drawn.ssim, abs=0.02)
    assert heat_full(values) == 1000
    heat = np.asarray(heat_map(Raster(np.full((4, 4, 1), 500.0)), Raster(np.zeros((4, 4, 1))), values))
    brightest = np.asarray(heat_map(Raster(np.full((4, 4, 1), 1000.0)), Raster(np.zeros((4, 4, 1))), values))
    assert 0 < heat.sum() < brightest.sum()


def test_what_is_no_number_counts_as_the_low_end():
    values = Values(1, 0.0, 10.0)
    holes = Raster(np.array([[[np.nan], [10.0]]]))
    assert similarity(Raster(np.array([[[0.0], [10.0]]])), holes, values).l1 == 0
