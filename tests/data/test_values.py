"""Channels and ranges of a data set's pictures: found before training, by all headers and by the training values."""

import dataclasses

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from cyclegan.cli.flags import parse_train_config
from cyclegan.config import DataConfig, TrainConfig
from cyclegan.data import Data, find_data
from cyclegan.data.values import values_found, with_values
from cyclegan.errors import CheckpointError, ConfigError, DataError
from cyclegan.images import normalise
from cyclegan.rasters import files
from cyclegan.rasters.raster import Origin, Raster
from cyclegan.training.changes import changed_settings
from cyclegan.values import parse_range


@pytest.fixture
def folder(tmp_path):
    """A data set of these pictures, arrays by their folders."""

    def made(**parts):
        for part, pictures in parts.items():
            (tmp_path / part).mkdir()
            for number, array in enumerate(pictures):
                if array.dtype == np.uint8:
                    Image.fromarray(array).save(tmp_path / part / f"{number}.png")
                else:
                    values = array[..., None] if array.ndim == 2 else array
                    files.write(tmp_path / part / f"{number}.tif", Raster(values, Origin("tiff", array.dtype.name)))
        return tmp_path

    return made


def deep(low, high, *shape, dtype=np.uint16):
    return np.linspace(low, high, int(np.prod(shape or (40, 40)))).reshape(shape or (40, 40)).astype(dtype)


def rgb(seed):
    return np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8)


def grey(seed):
    return rgb(seed)[..., 0]


def found(folder, **settings):
    config = DataConfig(dataset=str(folder), load_size=36, crop_size=32, num_workers=0, **settings)
    return values_found(config, find_data(config))


def test_eight_bits_in_colour_are_as_ever(folder):
    config, splits = found(folder(trainA=[rgb(0), grey(1)], trainB=[rgb(2)]))
    assert config.plain and config.range_a == "0:255" and isinstance(splits.train_a.load(1), Image.Image)
    before = DataConfig(dataset=config.dataset, load_size=36, crop_size=32, num_workers=0)
    assert config.recorded() == before.recorded()


def test_channels_and_ranges_are_found(folder):
    many = [deep(0, 4095, 40, 40, 5), deep(0, 4095, 40, 40, 5)]
    config, splits = found(folder(trainA=many, trainB=[deep(-1000, 3000, dtype=np.int16)], testB=[grey(0)]))
    assert (config.channels_a, config.channels_b) == (5, 1)
    assert config.values("a").low == pytest.approx(0, abs=10) and config.values("a").high == pytest.approx(4095, abs=10)
    assert config.values("b").low == pytest.approx(-1000, abs=10)
    said = [str(note) for note in splits.notes]
    assert any(note.startswith("domain A: 5 channels, values from ") for note in said)
    assert any(note.startswith("domain B: 1 channel, values from -99") for note in said)
    raster = splits.train_b.load(0)
    assert raster.values.shape == (40, 40, 1) and raster.values.min() == -1000 and raster.origin.dtype == "int16"
    assert config.recorded()[1] == 3


def test_a_grey_set_has_one_channel(folder):
    config, splits = found(folder(trainA=[grey(0), grey(1)], trainB=[rgb(0)]))
    assert (config.channels_a, config.channels_b, config.range_a) == (1, 3, "0:255")
    assert (splits.train_a.load(1).values[..., 0] == grey(1)).all()


def test_settings_win(folder):
    config, splits = found(folder(trainA=[grey(0)], trainB=[deep(0, 99)]), channels_a=3, range_b="0:50")
    assert config.channels_a == 3 and config.values("a").plain and config.range_b == "0:50"
    assert splits.train_b.values.high == 50


@pytest.mark.parametrize("other", [deep(0, 9, 40, 40, 2), np.zeros((40, 40), np.uint8)])
def test_mixed_kinds_are_refused_by_name(folder, other):
    with pytest.raises(DataError, match="are of different kinds: .*trainA/0.tif .*trainA/1") as caught:
        found(folder(trainA=[deep(0, 9), other], trainB=[rgb(0)]))
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_a_sentence(folder):
    place = folder(trainA=[deep(0, 9)], trainB=[deep(7, 7)])
    with pytest.raises(DataError, match="all values in trainB are 7"):
        found(place)
    with pytest.raises(DataError, match="--channels_a 3 isn't what the pictures of trainA have"):
        found(place, channels_a=3, range_b="0:9")
    with pytest.raises(DataError, match="--neighbours 1 is for volumes"):
        found(place, neighbours=1, range_b="0:9")
    for text in ("5", "9:1", "a:b", "0:inf", "1:2:3", ""):
        with pytest.raises(ConfigError, match="isn't a range"):
            dataclasses.replace(DataConfig(dataset="x"), range_a=text).validate()


def test_identity_needs_equal_channels(folder):
    place = folder(trainA=[deep(0, 9)], trainB=[rgb(0)])
    config = TrainConfig(data=DataConfig(dataset=str(place), load_size=36, crop_size=32))
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, output_dir="x"))
    with pytest.raises(ConfigError, match="--lambda_identity: A and B differ .*1/3.*: add --lambda_identity 0"):
        with_values(config, find_data(config.data))
    loss = dataclasses.replace(config.loss, lambda_identity=0.0)
    ready, _ = with_values(dataclasses.replace(config, loss=loss), find_data(config.data))
    assert ready.data.channels_a == 1


@pytest.mark.parametrize("cache_mb", [0, 100])
def test_batches_are_in_the_range_and_changed_alike(folder, cache_mb):
    ramp = deep(0, 1000, 36, 36, 2)
    config, splits = found(folder(trainA=[ramp] * 3, trainB=[rgb(0)] * 3), range_a="0:500", cache_mb=cache_mb)
    data = Data(splits, config, seed=0, multiple=4, paired=False, progress=False)
    batch = next(data.batches(1, batch_size=2))
    a, b = batch["real_a"], batch["real_b"]
    assert a.dtype == torch.float32 and a.shape == (2, 32, 32, 2) and b.dtype == torch.uint8
    assert a.min() >= -1 and a.max() == 1 and (a == 1).float().mean() > 0.3, "what lies beyond is cut"
    assert normalise(a).shape == (2, 2, 32, 32)
    again = next(Data(splits, config, seed=0, multiple=4, paired=False, progress=False).batches(1, batch_size=2))
    assert torch.equal(a, again["real_a"])


def test_volumes_are_pictures_by_the_slice(folder):
    volume = np.stack([np.full((40, 40), 100 * n, np.uint16) for n in range(4)])
    place = folder(trainA=[], trainB=[deep(0, 9)])
    for number in (0, 1):
        tifffile.imwrite(place / "trainA" / f"{number}.tif", volume + number, photometric="minisblack")
    config, splits = found(place, range_a="0:400")
    assert len(splits.train_a) == 8 and splits.train_a.load(5).values.max() == 101
    assert splits.train_a.label(5) == "1.tif, slice 2" and len({splits.train_a.fingerprint(i) for i in range(8)}) == 8
    assert any("8 slices in volumes" in str(note) for note in splits.notes)
    (place / "trainB" / "0.tif").unlink()
    tifffile.imwrite(place / "trainB" / "0.tif", volume, photometric="minisblack")
    config, splits = found(place, neighbours=1, range_a="0:400", range_b="0:400")
    assert config.channels_a == 3 and config.values("a").own == slice(1, 2)
    assert splits.train_a.load(0).values[0, 0].tolist() == [0, 0, 100], "the first slice is repeated"
    assert splits.train_a.load(3).values[0, 0].tolist() == [200, 300, 300]


@pytest.mark.parametrize("words", [["--range_b", "-1000:3000"], ["--range_b=-1000:3000"]])
def test_a_range_may_begin_with_a_minus(words):
    config = parse_train_config(["--dataset", "x", "--output_dir", "y", *words])
    assert config.data.range_b == "-1000:3000" and config.data.values("b").low == -1000


def test_a_run_from_before_reads_its_pictures_as_ever(folder):
    """Its settings name 8-bit RGB, which was all there was; they aren't looked at anew."""
    volume = np.stack([np.full((40, 40), n, np.uint8) for n in range(4)])
    place = folder(trainA=[deep(0, 65535)] * 2, trainB=[])
    tifffile.imwrite(place / "trainB" / "0.tif", volume, photometric="minisblack")
    config, splits = found(place, channels_a=3, channels_b=3, range_a="0:255", range_b="0:255")
    assert config.plain and isinstance(splits.train_a.load(0), Image.Image) and len(splits.train_b) == 1


@pytest.mark.parametrize("text", ["-1e308:1e308", "0:1e39", "0:1e-300", "1.00000000001:1.00000000002"])
def test_ranges_that_no_network_could_learn_are_refused(text):
    with pytest.raises(ConfigError, match="isn't a range"):
        parse_range(text)


def test_values_far_from_zero_keep_their_ends(folder):
    config, _ = found(folder(trainA=[deep(100000, 100001, dtype=np.float32)], trainB=[rgb(0)]))
    assert 99999 < config.values("a").low < config.values("a").high <= 100001


def test_another_range_in_the_middle_of_a_run_is_refused(tmp_path):
    before, now = ({"data": {"range_b": text}} for text in ("0:9", "0:10"))
    with pytest.raises(CheckpointError, match="--range_b 0:9, not 0:10"):
        changed_settings(tmp_path, before, now, begun=True)
