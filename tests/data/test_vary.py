"""Random changes of training pictures besides crop and mirror."""

import numpy as np
import pytest
import torch

from cyclegan.config import DataConfig
from cyclegan.data import open_data
from cyclegan.data.vary import vary

SOME = {"rotate": 10.0, "zoom": 0.2, "shift": 0.1}


def noise(height, width, low=0):
    return np.random.default_rng(1).integers(low, 256, (height, width, 3), dtype=np.uint8)


def varied(array, seed, *, colours=True, **settings):
    return vary(array, DataConfig(**settings), np.random.default_rng(seed), colour=colours)


def test_without_amounts_the_picture_is_the_same_object():
    array = noise(20, 30)
    assert varied(array, 0) is array and varied(array, 0, colours=False, colour=0.5) is array


@pytest.mark.parametrize("settings", [{name: amount} for name, amount in SOME.items()] + [{"colour": 0.3}])
def test_each_amount_changes_the_picture_by_chance_and_keeps_its_shape(settings):
    array = noise(20, 30)
    array.flags.writeable = False
    one, same, other = (varied(array, seed, **settings) for seed in (1, 1, 2))
    assert one.shape == array.shape and one.dtype == np.uint8
    assert np.array_equal(one, same) and not np.array_equal(one, other) and not np.array_equal(one, array)


def test_no_black_corner_comes_in_even_by_the_largest_amounts():
    array = noise(24, 40, low=100)
    for seed in range(20):
        assert varied(array, seed, rotate=180.0, zoom=1.0, shift=0.5).min() >= 100


def test_a_shift_moves_pixels_and_a_turn_is_of_so_many_degrees():
    line = np.zeros((41, 41, 3), np.uint8)
    line[20, 8:33] = 255
    angles, places = [], []
    for seed in range(40):
        rows, columns = np.nonzero(varied(line, seed, rotate=30.0)[..., 0] > 100)
        angles.append(np.degrees(np.arctan(np.polyfit(columns, rows, 1)[0])))
        shifted = varied(line, seed, shift=0.2)[..., 0]
        places.append(float(np.average(np.arange(41), weights=shifted.sum(1))))
    assert max(map(abs, angles)) <= 31 and min(angles) < -20 and max(angles) > 20
    assert 12 < min(places) < 15 and 25 < max(places) < 28.5


def test_pairs_share_the_geometry_and_keep_their_colours(tmp_path):
    from PIL import Image

    (tmp_path / "train").mkdir()
    half = noise(40, 40)
    for number in range(3):
        Image.fromarray(np.hstack([half, half])).save(tmp_path / "train" / f"{number}.png")
    config = DataConfig(str(tmp_path), preprocess="none", num_workers=0, colour=0.5, **SOME)
    with open_data(config, seed=0, multiple=4, paired=True, progress=False) as data:
        batch = next(data.batches(1, batch_size=1))
    assert torch.equal(batch["real_a"], batch["real_b"])
    with open_data(config, seed=0, multiple=4, paired=False, progress=False) as data:
        batch = next(data.batches(1, batch_size=1))
    assert not torch.equal(batch["real_a"], batch["real_b"])


def test_crops_and_mirrors_are_those_without_changes():
    """Switching a change on must not reshuffle the rest."""
    config = DataConfig("streets:count=2,size=36", load_size=36, crop_size=32, num_workers=0)
    changed = DataConfig("streets:count=2,size=36", load_size=36, crop_size=32, num_workers=0, colour=1e-9)
    batches = []
    for each in (config, changed):
        with open_data(each, seed=0, multiple=4, paired=False, progress=False) as data:
            batches.append(next(data.batches(1, batch_size=2)))
    assert (batches[0]["real_a"].int() - batches[1]["real_a"].int()).abs().max() <= 2
