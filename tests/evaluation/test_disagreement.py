"""Differences between the translations of one picture."""

import numpy as np
import pytest
from PIL import Image

from cyclegan.evaluation.disagreement import MAX_PIXELS, differences, disagreement


def flat(grey: int, size=(6, 4)) -> Image.Image:
    return Image.new("RGB", size, (grey, grey, grey))


def test_each_is_compared_with_each():
    found = differences([flat(10), flat(30), None, flat(70)])
    assert found == [[0, 20, None, 60], [20, 0, None, 40], [None] * 4, [60, 40, None, 0]]
    assert disagreement(found) == (20 + 60 + 40) / 3
    assert disagreement([[0.0]]) is None and disagreement(differences([None, None])) is None


def test_it_is_the_mean_over_pixels_and_channels():
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 256, (9, 7, 3), dtype=np.uint8) for _ in range(2))
    found = differences([Image.fromarray(one), Image.fromarray(other)])
    assert found[0][1] == found[1][0] == pytest.approx(np.abs(one.astype(float) - other.astype(float)).mean())


def test_large_pictures_are_reduced_first():
    side = int(MAX_PIXELS**0.5) + 24
    striped = np.zeros((side, side, 3), np.uint8)
    striped[::2] = 200  # Grey, where pixels are averaged in pairs of rows.
    assert differences([Image.fromarray(striped), flat(100, (side, side))])[0][1] == pytest.approx(0, abs=1)
