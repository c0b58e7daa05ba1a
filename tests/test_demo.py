"""The embedded run: what `make demo` opens on is whole, small, and does what it is there to show."""

from pathlib import Path

import numpy as np
import pytest

from cyclegan.checkpoint import LocalSource
from cyclegan.data.streets import StreetsSpec
from cyclegan.images import list_images, open_image
from cyclegan.translator import Translator, mean_difference

DEMO = Path(__file__).parent.parent / "demo"


def test_it_is_whole_and_small():
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) <= 20_000_000
    source = LocalSource(DEMO / "streets")
    infos = source.list()
    assert source.problems == [] and len(infos) >= 5
    assert infos[0].epoch >= 10 * infos[-1].epoch  # Spread over the training.
    assert all((source.path(info.epoch) / "samples" / f"{d}.png").is_file() for info in infos for d in ("ab", "ba"))
    assert {path.name[:2] for path in list_images(DEMO / "streets" / "examples")} == {"a_", "b_"}


@pytest.mark.parametrize("direction", ["ab", "ba"])
def test_its_last_epoch_turns_day_into_night_and_back(direction):
    """On scenes that it never saw: brightness moves most of the way, and the true picture is nearer than the input."""
    translator = Translator(LocalSource(DEMO / "streets").load(), "cpu")
    spec, domain = StreetsSpec.parse("streets:count=1,test_count=6,size=128"), direction[0]
    moved, nearer = [], []
    for index in range(6):
        given, truth = (get("test", domain, index) for get in (spec.image, spec.truth))
        fake = translator.translate(given, direction).fake
        given_light, fake_light, true_light = (np.asarray(image).mean() for image in (given, fake, truth))
        moved.append((fake_light - given_light) / (true_light - given_light))
        nearer.append(mean_difference(fake, truth) / mean_difference(given, truth))
    assert 0.7 < np.mean(moved) < 1.3
    assert np.mean(nearer) < 0.6


def test_its_examples_are_the_scenes_that_the_readme_says():
    example = open_image(DEMO / "streets" / "examples" / "a_1.png")
    scene = StreetsSpec.parse("streets:count=1,test_count=14,size=256").image("test", "a", 0)
    assert mean_difference(example, scene) < 1  # Another Pillow may round another way.
