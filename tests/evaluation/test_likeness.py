"""A guess at a picture's domain, and the grids that test pictures are cut from."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import likeness as benchmark
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.data.streets import StreetsSpec
from cyclegan.evaluation.grids import cut_grid
from cyclegan.evaluation.likeness import features, nearer_domain
from cyclegan.evaluation.samples import TranslatedSamples, sample_grid
from cyclegan.images import open_image, to_image

DEMO = Path(__file__).parents[2] / "demo"


def known(run):
    """The features of a run's examples by domain."""
    paths = LocalSource(DEMO / run).examples()
    return {one: [features(open_image(path)) for path in paths if path.name.startswith(one)] for one in "ab"}


def test_scenes_that_a_run_never_saw_are_guessed_by_its_examples():
    spec, examples = StreetsSpec.parse("streets:count=1,test_count=16,size=64"), known("streets")
    scenes = [(one, features(spec.image("test", one, index))) for one in "ab" for index in range(16)]
    guesses = [(one, nearer_domain(scene, **examples)) for one, scene in scenes]
    assert benchmark.rates(guesses) == {"guessed": 1, "right": 1}


def test_each_example_is_guessed_by_the_others():
    examples = known("towns")
    for one, found in examples.items():
        for left_out, picture in enumerate(found):
            others = {**examples, one: [f for index, f in enumerate(found) if index != left_out]}
            assert nearer_domain(picture, **others) == one


def test_what_is_like_both_or_has_no_examples_is_not_guessed():
    grey, white = (features(Image.new("RGB", (9, 5), colour)) for colour in ("grey", "white"))
    middle = (grey + white) / 2
    assert nearer_domain(middle, [grey], [white]) is None
    assert nearer_domain(grey, [grey], [grey]) is None
    assert nearer_domain(grey, [], [white]) is None and nearer_domain(grey, [grey], []) is None
    assert nearer_domain(white, [grey], [white]) == "b"


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (640, 480)])
def test_a_picture_of_any_size_has_features(size):
    found = features(Image.new("RGB", size, "red"))
    assert found.shape == (15,) and np.isfinite(found).all()


def test_the_report_is_that_of_the_code():
    """The report in the repository was written with today's bounds, and the page's promise is in it."""
    report = json.loads(benchmark.REPORT.read_text())
    assert (report["sure"], report["clearly_less"]) == (benchmark.SURE, benchmark.CLEARLY_LESS)
    assert len(report["datasets"]) >= 6 and min(each["right"] for each in report["datasets"].values()) > 0.95


@pytest.mark.parametrize("columns", [2, 3, 4, 5])
def test_a_grid_is_cut_into_the_pictures_that_it_was_drawn_from(tmp_path, columns):
    generator = torch.Generator().manual_seed(0)
    drawn = [[torch.rand(3, 100, 120, generator=generator) * 1.9 - 1 for _ in range(2)] for _ in range(columns)]
    names = ("real", "fake", "rec", "truth", "redrawn")
    parts = dict(zip(names, drawn, strict=False))
    grid = sample_grid(TranslatedSamples("ab", ["1", "2"], **parts), {"a": "day", "b": "night"}, count=2)
    grid.save(tmp_path / "ab.png")
    rows = cut_grid(tmp_path / "ab.png")
    assert [len(row) for row in rows] == [columns, columns]
    for number, row in enumerate(rows):
        for tile, column in zip(row, drawn, strict=True):
            assert tile.tobytes() == to_image(column[number]).tobytes()


def test_another_picture_is_not_cut(tmp_path):
    Image.effect_noise((300, 200), 90).save(tmp_path / "noise.png")
    assert cut_grid(tmp_path / "noise.png") == []
