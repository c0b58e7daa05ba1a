"""The built-in day and night streets: the same everywhere, exact labels, and the promised folders."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cyclegan.data.streets import (
    CLASS_COLORS,
    CLASSES,
    DENSITY_CLASSES,
    StreetsSpec,
    render_scene,
    write_streets,
)
from cyclegan.errors import DataError

SMALL = (64, 64)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(float)


def digest(seed: int, index: int) -> str:
    scene = render_scene(seed, index, size=(96, 64))
    return hashlib.sha256(scene.day.tobytes() + scene.night.tobytes() + scene.labels.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def scenes():
    return [render_scene(3, index, size=(96, 96)) for index in range(24)]


def test_a_scene_is_a_pure_function_of_seed_and_index():
    assert digest(5, 2) == digest(5, 2)
    assert len({digest(5, 2), digest(5, 3), digest(6, 2)}) == 3


def test_another_process_draws_the_same_bytes():
    code = "import sys; sys.path[:] = sys.argv[1:]; from test_streets import digest; print(digest(7, 4))"
    command = [sys.executable, "-c", code, str(Path(__file__).parent), *sys.path]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == digest(7, 4)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_another_size_shows_the_same_scene(index):
    large, small = render_scene(1, index, size=(192, 192)), render_scene(1, index, size=(96, 96))
    other = render_scene(1, index + 10, size=(96, 96))
    for name in ("day", "night"):
        reduced = pixels(getattr(large, name).reduce(2)).ravel()
        same = np.corrcoef(reduced, pixels(getattr(small, name)).ravel())[0, 1]
        different = np.corrcoef(reduced, pixels(getattr(other, name)).ravel())[0, 1]
        assert same > 0.95
        assert same > different + 0.1
    assert (large.labels[1::2, 1::2] == small.labels).mean() > 0.95


@pytest.mark.parametrize("size", [(16, 16), (16, 200), (333, 40), (17, 31)])
def test_any_size_is_drawn(size):
    scene = render_scene(0, 0, size=size)
    assert scene.day.size == scene.night.size == size
    assert scene.labels.shape == size[::-1]
    assert scene.day.mode == scene.night.mode == "RGB"


@pytest.mark.parametrize("size", [(15, 64), (64, 15), (4097, 64), (64, 4097)])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(DataError, match="16 to 4096"):
        render_scene(0, 0, size=size)


def test_labels_are_class_numbers_and_every_class_occurs(scenes):
    assert len(CLASSES) == len(CLASS_COLORS) == len(set(CLASS_COLORS))
    for scene in scenes:
        assert scene.labels.dtype == np.uint8
    found = np.unique(np.concatenate([scene.labels.ravel() for scene in scenes]))
    assert [CLASSES[i] for i in found] == list(CLASSES)


def test_the_day_is_bright_and_the_night_sky_is_blue(scenes):
    for scene in scenes:
        day, night = pixels(scene.day), pixels(scene.night)
        assert day.mean() > 1.35 * night.mean()
    assert np.mean([pixels(s.day).mean() / pixels(s.night).mean() for s in scenes]) > 1.8
    sky = np.concatenate([pixels(s.night)[s.labels == 0] for s in scenes]).mean(0)
    assert sky[2] > 1.4 * sky[0]


def test_the_night_is_lit_by_windows_and_lamps(scenes):
    assert max(pixels(s.night)[s.labels == CLASSES.index("lamp")].max() for s in scenes) > 230
    assert max(pixels(s.night)[s.labels == CLASSES.index("building")].max() for s in scenes) > 200


@pytest.mark.parametrize("name", DENSITY_CLASSES)
def test_density_zero_leaves_not_one_pixel(name):
    label, before = CLASSES.index(name), 0
    for index in range(8):
        before += (render_scene(4, index, size=SMALL).labels == label).sum()
        assert not (render_scene(4, index, size=SMALL, density={name: 0}).labels == label).any()
    assert before > 0


@pytest.mark.parametrize("name", ["car", "pedestrian", "tree", "lamp"])
def test_density_two_draws_more(name):
    label = CLASSES.index(name)

    def total(factor: float) -> int:
        drawn = [render_scene(4, i, size=(96, 96), density={name: factor}) for i in range(5)]
        return sum(int((scene.labels == label).sum()) for scene in drawn)

    assert total(2) > 1.2 * total(1) > 1.2 * total(0.4)


@pytest.mark.parametrize("name", ["car", "pedestrian", "tree"])
def test_taking_one_kind_away_moves_nothing_else(name):
    """Elsewhere the labels are the same, and open sky is the same to the byte."""
    label = CLASSES.index(name)
    for index in range(6):
        full, less = (render_scene(2, index, size=(96, 96), density=d) for d in ({}, {name: 0}))
        kept = full.labels != label
        assert (full.labels == less.labels)[kept].all()
        sky = (full.labels == 0) & (less.labels == 0)
        inner = sky.copy()  # an edge pixel is a mixture, and so may be the pixel next to the tip of a leaf
        for axis in (0, 1):
            for step in (-2, -1, 1, 2):
                inner &= np.roll(sky, step, axis)
        assert inner.any()
        assert (pixels(full.day) == pixels(less.day))[inner].mean() > 0.999


def test_without_pedestrians_only_the_places_they_stood_change():
    changed = total = 0
    for index in range(12):
        full, less = (render_scene(9, index, size=(96, 96), density=d) for d in ({}, {"pedestrian": 0}))
        stood = full.labels == CLASSES.index("pedestrian")
        near = stood.copy()
        for _ in range(8):  # their soft shadows, and the rain's mirror images, reach a little further
            for axis in (0, 1):
                near |= np.roll(near, 1, axis) | np.roll(near, -1, axis)
        difference = np.abs(pixels(full.day) - pixels(less.day)).max(-1)
        assert stood.sum() == 0 or difference[stood].max() > 20
        changed += (difference[~near] > 3).sum()
        total += (~near).sum()
    assert changed / total < 0.01


@pytest.mark.parametrize("density", [{"sky": 0}, {"dog": 1}, {"car": -1}, {"car": float("nan")}, {"car": 11}])
def test_bad_densities_are_refused(density):
    with pytest.raises(DataError, match="density"):
        render_scene(0, 0, size=SMALL, density=density)


def test_parse():
    assert StreetsSpec.parse("streets") == StreetsSpec()
    spec = StreetsSpec.parse("streets:count=7, test_count=3,size=96x64,seed=5,pedestrian_b=0,car=2")
    assert (spec.count, spec.test_count, spec.width, spec.height, spec.seed) == (7, 3, 96, 64, 5)
    assert spec.density_a == {"car": 2.0}
    assert spec.density_b == {"car": 2.0, "pedestrian": 0.0}
    assert StreetsSpec.parse("streets:size=128").height == 128


@pytest.mark.parametrize(
    "text",
    ["roads", "streets:dogs=1", "streets:count=many", "streets:count", "streets:size=1x2x3", "streets:car=-1",
     "streets:sky=0", "streets:car_c=1", "streets:car=nan"],
)  # fmt: skip
def test_parse_says_what_is_understood(text):
    with pytest.raises(DataError, match="streets understands count, test_count, size"):
        StreetsSpec.parse(text)


@pytest.mark.parametrize(
    "text", ["streets:count=0", "streets:test_count=-1", "streets:seed=-1", "streets:size=8"]
)
def test_parse_refuses_values_out_of_range(text):
    with pytest.raises(DataError):
        StreetsSpec.parse(text)


def test_all_splits_and_domains_are_different_scenes():
    specs = [StreetsSpec.parse(f"streets:count=3,test_count=3,size=48,seed={seed}") for seed in (0, 1)]
    seen = [
        spec.scene(split, domain, i).labels.tobytes()
        for spec in specs for split in ("train", "test") for domain in "ab" for i in range(3)
    ]  # fmt: skip
    assert len(set(seen)) == len(seen) == 24


def test_density_in_one_domain_only():
    spec = StreetsSpec.parse("streets:count=12,size=64,pedestrian_b=0")
    label = CLASSES.index("pedestrian")
    by_domain = {d: sum((spec.scene("train", d, i).labels == label).sum() for i in range(12)) for d in "ab"}
    assert by_domain["a"] > 0
    assert by_domain["b"] == 0


def test_image_and_truth_are_the_two_pictures_of_one_scene():
    spec = StreetsSpec(count=1, test_count=1, width=64, height=48)
    a, b = spec.scene("test", "a", 0), spec.scene("test", "b", 0)
    assert spec.image("test", "a", 0).tobytes() == a.day.tobytes()
    assert spec.truth("test", "a", 0).tobytes() == a.night.tobytes()
    assert spec.image("test", "b", 0).tobytes() == b.night.tobytes()
    assert spec.truth("test", "b", 0).tobytes() == b.day.tobytes()


@pytest.mark.parametrize(
    "where", [("valid", "a", 0), ("train", "c", 0), ("test", "a", 1), ("train", "b", -1)]
)
def test_scenes_that_do_not_exist_are_refused(where):
    with pytest.raises(ValueError):
        StreetsSpec(count=1, test_count=1, width=16, height=16).image(*where)


def test_write_streets(tmp_path):
    spec = StreetsSpec(count=2, test_count=1, width=48, height=32, seed=3, density_b={"car": 0.0})
    calls = []
    write_streets(spec, tmp_path / "out", lambda done, total: calls.append((done, total)))
    files = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*"))
    folders = {"trainA": 2, "trainB": 2, "testA": 1, "testB": 1}
    expected = [
        f"{top}{f}/{i:04d}.png" for top in ("", "labels/") for f, n in folders.items() for i in range(n)
    ]
    expected += ["truth/testA/0000.png", "truth/testB/0000.png", "streets.json"]
    assert files == sorted(expected)
    assert calls == [(i, 6) for i in range(1, 7)]

    scene = spec.scene("test", "b", 0)
    out = tmp_path / "out"
    assert np.array_equal(np.asarray(Image.open(out / "testB/0000.png")), np.asarray(scene.night))
    assert np.array_equal(np.asarray(Image.open(out / "truth/testB/0000.png")), np.asarray(scene.day))
    labels = Image.open(out / "labels/testB/0000.png")
    assert labels.mode == "P"
    assert np.array_equal(np.asarray(labels), scene.labels)
    assert np.array_equal(np.asarray(labels.convert("RGB")), np.array(CLASS_COLORS, np.uint8)[scene.labels])
    about = json.loads((out / "streets.json").read_text(encoding="utf-8"))
    assert about["spec"]["seed"] == 3
    assert about["spec"]["density_b"] == {"car": 0.0}
    assert [entry["name"] for entry in about["classes"]] == list(CLASSES)


def test_write_streets_refuses_a_folder_with_something_in_it(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(DataError, match="not an empty folder"):
        write_streets(StreetsSpec(count=1, test_count=1, width=16, height=16), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can't be written"):
        write_streets(StreetsSpec(count=1, test_count=0, width=16, height=16), tmp_path / "file" / "out")
