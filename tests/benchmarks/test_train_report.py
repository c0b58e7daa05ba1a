"""A training's report: its figures on pictures whose answers are known, and that it says what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import train_report
from benchmarks.labels import agreement
from benchmarks.train_report import baselines, markdown, psnr

REPORT = Path(train_report.__file__).parent / "reports" / "photos-maps"
GREEN, WHITE = (200, 220, 175), (255, 255, 255)


def halves(left, right):
    """A picture of 8×4 pixels in two colours."""
    image = Image.new("RGB", (8, 4), right)
    image.paste(left, (0, 0, 4, 4))
    return image


def test_figures_of_pictures_whose_answers_are_known():
    colours = np.array([GREEN, WHITE], dtype=float)
    truth, half = halves(GREEN, WHITE), halves(WHITE, WHITE)
    assert agreement(truth, truth, colours) == 1 and agreement(half, truth, colours) == 0.5
    one, other = Image.new("RGB", (4, 4), (10, 10, 10)), Image.new("RGB", (4, 4), (35, 35, 35))
    assert psnr(one, other) == pytest.approx(20 * np.log10(255 / 25))
    black = Image.new("RGB", (8, 4))
    found = baselines([{"a": black, "b": half}, {"a": black, "b": truth}], colours)
    assert found["commonest_label_ab"] == 0.75 and found["mean_colour_ba"] == 0
    assert found["copy_ab"] == found["copy_ba"] == pytest.approx((255 * 3 + np.mean(GREEN)) / 4)


def test_the_committed_report_says_what_its_figures_say():
    report = json.loads((REPORT / "report.json").read_text(encoding="utf-8"))
    shown = (REPORT / "README.md").read_text(encoding="utf-8")
    assert markdown(report, {"a": "aerial photo", "b": "map"}) == shown
    assert all((REPORT / name).is_file() for name in ("held_back.jpg", "curves.png"))
