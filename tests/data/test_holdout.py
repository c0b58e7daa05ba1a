"""Training pictures that become test pictures."""

import numpy as np
import pytest
from PIL import Image

from cyclegan.__main__ import main
from cyclegan.config import DataConfig
from cyclegan.data import find_data
from cyclegan.data.holdout import resemble_neighbours
from cyclegan.data.labels import Classes, write_classes


def picture(path, level, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level % 2).save(path)

@pytest.fixture
def fill(tmp_path):
    """Write pictures into folders of a data set, and return it."""

    def fill(*parts, count=10, size=(16, 16)):
        for part in parts:
            for number in range(count):
                picture(tmp_path / "mine" / part / f"{number:02}.png", number, size)
        return tmp_path / "mine"

    return fill


@pytest.mark.parametrize(("parts", "tests"), [
    (("trainA", "trainB"), ("testA", "testB")),
    (("train/day", "train/night"), ("test/day", "test/night")),
    (("day", "night"), ("test/day", "test/night")),
])  # fmt: skip
def test_every_fifth_picture_is_found_as_a_test_picture(fill, parts, tests, capsys):
    root = fill(*parts)
    assert main(["holdout", str(root), "--every", "5"]) == 0
    said = capsys.readouterr()
    assert f"2 pictures moved from {parts[0]} to {root / tests[0]}" in said.out
    assert "note: runs that were trained before this know these pictures: train again before" in said.err
    assert "note: enough for samples and curves; scores and studies want 50 and more" in said.err
    splits = find_data(DataConfig(dataset=str(root)))
    assert (len(splits.train_a), len(splits.train_b), len(splits.test_a), len(splits.test_b)) == (8, 8, 2, 2)
    assert [splits.test_b.label(k) for k in range(2)] == ["04.png", "09.png"]
    assert main(["holdout", str(root)]) == 1
    assert "has test pictures already" in capsys.readouterr().err


def test_frames_of_a_video_are_taken_from_its_end(fill):
    root = fill("trainA", "trainB")
    assert main(["holdout", str(root), "--every", "5", "--together"]) == 0
    assert sorted(path.name for path in (root / "testA").iterdir()) == ["08.png", "09.png"]


def test_frames_that_nobody_called_so_are_noticed_before_anything_moves(tmp_path, capsys):
    """Every tenth frame of a drive would have near copies in training, so its scores would flatter."""
    rng, road = np.random.default_rng(0), np.random.default_rng(1).integers(0, 256, (64, 400, 3), dtype=np.uint8)
    road = np.asarray(Image.fromarray(road).resize((15, 16)).resize((600, 64)))  # Things are wider than a step.
    for number in range(40):
        for part, content in (("trainA", road[:, 8 * number : 8 * number + 64]),
                              ("trainB", rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))):  # fmt: skip
            path = tmp_path / "mine" / part / f"f{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).resize((64, 64)).save(path)
    (tmp_path / "mine" / "trainA" / "f003.png").write_bytes(b"damaged")
    root = str(tmp_path / "mine")
    assert main(["holdout", root]) == 1
    said = capsys.readouterr().err
    assert "the pictures of trainA resemble their neighbours by name" in said and "add --together" in said
    assert not (tmp_path / "mine" / "testA").exists() and not (tmp_path / "mine" / "testB").exists()
    assert resemble_neighbours(sorted((tmp_path / "mine" / "trainB").iterdir())) is False
    assert main(["holdout", root, "--spread"]) == 0 and (tmp_path / "mine" / "testA" / "f009.png").exists()
    assert "almost one scene" not in capsys.readouterr().err


def test_a_standstill_at_the_end_of_a_drive_is_said(tmp_path, capsys):
    for number in range(40):
        for part in ("trainA", "trainB"):
            path = tmp_path / "mine" / part / f"f{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            seed = 99 if part == "trainA" and number >= 35 else number
            pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((64, 64)).save(path)
    assert main(["holdout", str(tmp_path / "mine"), "--together"]) == 0
    said = capsys.readouterr().err
    assert f"those of {tmp_path / 'mine' / 'testA'} show almost one scene" in said and said.count("one scene") == 1


def test_pairs_are_moved_once_and_labels_with_their_pictures(fill):
    root = fill("train", size=(32, 16))
    for path in (root / "train").iterdir():
        picture(root / "labels" / "train" / path.name, 0, (16, 16))
    write_classes(root, Classes(("one", "two"), ((0, 0, 0), (9, 9, 9))))
    assert main(["holdout", str(root)]) == 0
    assert [path.name for path in (root / "test").iterdir()] == ["09.png"]
    assert [path.name for path in (root / "labels" / "test").iterdir()] == ["09.png"]
    assert len(list((root / "train").iterdir())) == len(list((root / "labels" / "train").iterdir())) == 9


@pytest.mark.parametrize(("words", "said"), [
    (("streets",), "doesn't hold its pictures in a folder"), (("mine", "--every", "11"), "fewer than --every 11"),
])  # fmt: skip
def test_what_cant_be_moved_is_said(fill, tmp_path, monkeypatch, capsys, words, said):
    fill("trainA", "trainB")
    monkeypatch.chdir(tmp_path)
    dataset = "streets:test_count=0" if words[0] == "streets" else words[0]
    assert main(["holdout", dataset, *words[1:]]) == 1
    assert said in capsys.readouterr().err
