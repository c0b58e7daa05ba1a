"""The embedded runs: what `make demo` opens on is whole, small, and does what it is there to show."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.data.streets import StreetsSpec
from cyclegan.images import list_images, mean_difference, open_image
from cyclegan.translation.translator import Translator

DEMO = Path(__file__).parent.parent / "demo"


@pytest.fixture(scope="module")
def towns():
    """demo/draw_towns.py's pairs."""
    spec = importlib.util.spec_from_file_location("draw_towns", DEMO / "draw_towns.py")
    module = importlib.util.module_from_spec(spec)
    path = [*sys.path]
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module.towns()


def test_they_are_small():
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) <= 48_000_000


@pytest.mark.parametrize(("run", "epochs"), [("streets", 3), ("towns", 4)])
def test_they_are_whole(run, epochs):
    source = LocalSource(DEMO / run)
    infos = source.list()
    assert source.problems == [] and len(infos) == epochs
    assert infos[0].epoch >= 3 * infos[-1].epoch  # Spread over the training.
    assert all((source.path(info.epoch) / "samples" / f"{d}.png").is_file() for info in infos for d in ("ab", "ba"))
    assert {path.name[:2] for path in list_images(DEMO / run / "examples")} == {"a_", "b_"}
    for name in ("curves.png", "metrics.jsonl"):
        assert (DEMO / run / name).is_file()


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


def test_photos_become_maps_of_their_own_streets(towns):
    """On drawn towns: the map's streets are where the photo's are, and the way back is nearer than another town."""
    translator = Translator(LocalSource(DEMO / "towns").load(), "cpu")
    for number, pair in enumerate(towns):
        other = towns[(number + 1) % len(towns)]
        result = translator.translate(pair["a"], "ab", reconstruct=True)
        light = np.asarray(result.fake, dtype=float).mean(axis=-1)
        own, others = (np.asarray(town["b"]).min(axis=-1) >= 252 for town in (pair, other))  # White: streets.
        assert light[own].mean() - light[~own].mean() > 8
        assert abs(light[others].mean() - light[~others].mean()) < 2
        assert mean_difference(result.fake, pair["b"]) < 20 < 150 < mean_difference(pair["a"], pair["b"])
        assert mean_difference(result.rec, pair["a"]) < 0.8 * mean_difference(other["a"], pair["a"])


def test_the_towns_are_the_ones_that_the_readme_says(towns):
    for number, pair in enumerate(towns, 1):
        for domain, drawn in pair.items():
            example = open_image(DEMO / "towns" / "examples" / f"{domain}_{number}.png")
            assert mean_difference(example, drawn) < 1  # Another Pillow may round another way.
