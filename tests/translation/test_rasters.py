"""Rasters and volumes through networks: in units, in the same kind of file, without a loss where nothing changes."""

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from cyclegan.checkpoints.format import Checkpoint, load_checkpoint, save_checkpoint
from cyclegan.config import DataConfig
from cyclegan.errors import ImageError
from cyclegan.networks import generator_of
from cyclegan.rasters import files
from cyclegan.rasters.opening import open_picture
from cyclegan.rasters.raster import Origin, Raster, from_shown, to_raster
from cyclegan.translation.files import Item
from cyclegan.translation.pictures import translate_pictures
from cyclegan.translation.saving import path_of
from cyclegan.translation.translator import Translator
from cyclegan.values import Values


class Same(torch.nn.Module):
    """A network that changes nothing."""

    size_multiple, min_size, whole_only = 4, 8, False

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.weight


def translator(tmp_path, make_checkpoint, network=None, **data):
    """A translator of a tiny checkpoint with these settings, of its own networks or of one for both directions."""
    info = load_checkpoint(make_checkpoint(tmp_path, 1))
    settings = dataclasses.replace(info.config.data, **data)
    config = dataclasses.replace(info.config, data=settings)
    torch.manual_seed(0)
    ways = {way: network or generator_of(config, way).eval().requires_grad_(False) for way in ("ab", "ba")}
    return Translator(Checkpoint(info=info.info, config=config, generators=ways), "cpu")


ONE = {"channels_a": 1, "channels_b": 1, "range_a": "0:65535", "range_b": "0:65535"}


@pytest.mark.parametrize("kind, ending", [("png", ".png"), ("tiff", ".tif"), ("npy", ".npy"), ("nifti", ".nii.gz")])
def test_where_nothing_changes_nothing_is_lost(tmp_path, make_checkpoint, kind, ending):
    values = np.random.default_rng(0).integers(0, 65536, (37, 41, 1)).astype(np.uint16)
    path = tmp_path / f"given{ending}"
    files.write(path, Raster(values, Origin(kind, "uint16")))
    (tmp_path / "out").mkdir()
    same = translator(tmp_path, make_checkpoint, Same(), **ONE)
    done = translate_pictures(same, [Item(path, None, "given", "made.png")], tmp_path / "out", "ab", reconstruct=True)
    assert not done.failed
    for name in (f"made{ending}", f"made_rec{ending}"):
        made = files.read(tmp_path / "out" / name)
        assert (made.values == values).all() and made.origin.dtype == "uint16"


def test_units_of_the_other_domain(tmp_path, make_checkpoint):
    """What is 0 to 4095 there is -1000 to 3095 here; stored as whole numbers that can be negative."""
    same = translator(tmp_path, make_checkpoint, Same(), **{**ONE, "range_a": "0:4095", "range_b": "-1000:3095"})
    given = Raster(np.arange(1600).reshape(40, 40, 1) * 2, Origin("png", "uint16"))
    result = same.translate(given, "ab", reconstruct=True)
    assert np.abs(result.fake.values - (given.values - 1000)).max() < 0.01 and result.fake.origin.dtype == "int16"
    assert result.fake.origin.kind == "tiff", "PNG has no negative values"
    assert result.reconstruction_l1 < 0.01
    beyond = same.translate(Raster(np.full((40, 40, 1), 9999.0)), "ab").fake
    assert beyond.values.max() == 3095, "what lies beyond the range is cut"


def test_pieces_are_as_the_whole(tmp_path, make_checkpoint):
    given = Raster(np.random.default_rng(1).uniform(0, 65535, (700, 700, 1)))
    whole = translator(tmp_path, make_checkpoint, **ONE)
    pieces = Translator(whole.checkpoint, "cpu", max_bytes=48 * 2**20)
    one, other = (each.translate(given, "ab").fake.values for each in (whole, pieces))
    assert np.abs(one - other).max() < 65535 / 1000


def test_kinds_that_do_not_fit_are_sentences(tmp_path, make_checkpoint):
    plain = translator(tmp_path, make_checkpoint)
    with pytest.raises(ImageError, match="trained on 8-bit RGB pictures"):
        plain.translate(Raster(np.zeros((40, 40, 3))), "ab")
    two = translator(tmp_path / "two", make_checkpoint, **{**ONE, "channels_a": 2})
    with pytest.raises(ImageError, match="another number of channels .*1 instead of 2"):
        two.translate(Raster(np.zeros((40, 40, 1))), "ab")
    assert two.translate(Raster(np.zeros((40, 40, 2))), "ab", reconstruct=True).rec.channels == 2


def test_grey_levels_are_taken_as_values(tmp_path, make_checkpoint):
    same = translator(tmp_path, make_checkpoint, Same(), **{**ONE, "range_a": "0:255", "range_b": "0:255"})
    grey = Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40).astype(np.uint8))
    assert (same.translate(grey.convert("RGB"), "ab").fake.values[..., 0].round() == np.asarray(grey)).all()


def test_an_input_is_never_overwritten(tmp_path, make_checkpoint):
    path = tmp_path / "a.tif"
    files.write(path, Raster(np.zeros((40, 40, 1))))
    before = path.read_bytes()
    done = translate_pictures(translator(tmp_path, make_checkpoint, Same(), **ONE), [Item(path, None, "a", "a.png")],
                              tmp_path, "ab")  # fmt: skip
    assert "would overwrite it" in str(done.failed[0]) and path.read_bytes() == before


def test_a_volume_keeps_its_place_in_space(tmp_path, make_checkpoint):
    values, affine = np.arange(40 * 36 * 5, dtype=np.int16).reshape(40, 36, 5), np.diag([0.5, 0.5, 3, 1])
    path = tmp_path / "v.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    (tmp_path / "out").mkdir()
    for neighbours in (0, 2):
        count = 2 * neighbours + 1
        settings = {**ONE, "channels_a": count, "channels_b": count, "neighbours": neighbours}
        same = translator(tmp_path / str(neighbours), make_checkpoint, Same(), **settings)
        done = translate_pictures(same, [Item(path, None, "v", "v.png")], tmp_path / "out", "ab", reconstruct=True)
        made = nibabel.load(tmp_path / "out" / "v.nii.gz")
        assert not done.failed and (made.get_fdata() == values).all() and (made.affine == affine).all()
        assert (nibabel.load(tmp_path / "out" / "v_rec.nii.gz").get_fdata() == values).all()
        step = np.abs(np.diff(values.astype(float), axis=2)).mean() / 65535
        assert f"v: 5 slices; neighbouring slices differ by {step:.1%} of the range" in str(done.volumes[0])


def test_a_volume_that_fails_leaves_nothing(tmp_path, make_checkpoint, monkeypatch):
    path = tmp_path / "v.tif"
    tifffile.imwrite(path, np.zeros((5, 40, 40), np.uint16), photometric="minisblack")
    (tmp_path / "out").mkdir()
    same = translator(tmp_path, make_checkpoint, Same(), **ONE)
    calls = []

    def fails(image, direction, **options):
        calls.append(image)
        if len(calls) == 3:
            raise ImageError("too dark")
        return SimpleNamespace(fake=image, rec=None)

    monkeypatch.setattr(same, "translate", fails)
    done = translate_pictures(same, [Item(path, None, "v", "v.png")], tmp_path / "out", "ab")
    assert "too dark" in str(done.failed[0]) and not list((tmp_path / "out").iterdir())


def test_a_picture_for_a_screen():
    values = Values(1, -1000, 1550)
    raster = to_raster(torch.tensor([[[-1.0, 0.0, 1.0, float("nan")]]]), values)
    assert raster.values[0, :, 0].tolist() == [-1000, 275, 1550, 275]
    shown = values.shown(raster)
    assert np.asarray(shown)[0, :, 0].tolist() == [0, 128, 255, 128] and shown.mode == "RGB"
    assert np.asarray(values.shown(raster, (0, 550)))[0, :3, 0].tolist() == [0, 128, 255]
    assert np.abs(from_shown(shown, values).values - raster.values).max() <= 5.1
    assert np.asarray(Values(5).shown(Raster(np.ones((2, 2, 5)) * np.arange(5))))[0, 0].tolist() == [0, 1, 2]
    assert np.asarray(Values(2).shown(Raster(np.full((2, 2, 2), 9))))[0, 0].tolist() == [9, 9, 0]
    assert np.asarray(Values(3, neighbours=1).shown(Raster(np.ones((2, 2, 3)) * [1, 7, 9])))[0, 0].tolist() == [7] * 3


def test_checkpoints_keep_channels_and_ranges(tmp_path, make_checkpoint):
    config = load_checkpoint(make_checkpoint(tmp_path / "x", 1)).config
    data = DataConfig(channels_a=2, channels_b=16, range_a="0:4095", range_b="-1:1", crop_size=32, load_size=36)
    config = dataclasses.replace(config, data=data)
    weights = {f"gen_{way}": generator_of(config, way).state_dict() for way in ("ab", "ba")}
    save_checkpoint(tmp_path / "run", epoch=1, weights=weights, config=config, record={"global_step": 1})
    found = load_checkpoint(tmp_path / "run" / "epoch-0001")
    assert '"format_version": 3' in (tmp_path / "run" / "epoch-0001" / "config.json").read_text()
    assert found.config.data.values("a") == Values(2, 0, 4095) and found.config.data.values("b") == Values(16, -1, 1)
    fake = Translator(found, "cpu").translate(Raster(np.zeros((40, 44, 2))), "ab").fake
    assert fake.channels == 16 and fake.size == (44, 40) and -1 <= fake.values.min() <= fake.values.max() <= 1


def test_an_example_of_a_volume_s_run_is_taken_as_it_is(tmp_path):
    values = Values(3, 0, 100, neighbours=1)
    files.write(tmp_path / "a_1.tif", Raster(np.ones((40, 40, 3)) * [1, 2, 3]))
    assert open_picture(tmp_path / "a_1.tif", values).values[0, 0].tolist() == [1, 2, 3]
    files.write(tmp_path / "one.tif", Raster(np.ones((40, 40, 1))))
    assert open_picture(tmp_path / "one.tif", values).channels == 3


@pytest.mark.parametrize("target, ending, part, path", [
    ("a.png", ".tif", "", "a.tif"), ("a.png", ".nii.gz", "_rec", "a_rec.nii.gz"),
    ("v.nii.gz.png", ".nii.gz", "", "v.nii.gz"), ("IM.dcm.png", ".dcm", "", "IM.dcm"),
    ("mine.nii.gz", ".nii.gz", "", "mine.nii.gz"), ("mine.nii.gz", ".tif", "_rec", "mine_rec.nii.gz"),
    ("x.1.png", ".npy", "", "x.1.npy"),
])  # fmt: skip
def test_names_of_rasters(target, ending, part, path):
    assert path_of(Path("out") / target, ending, part) == Path("out") / path


def test_results_are_a_slice_without_its_neighbours(tmp_path, make_checkpoint):
    settings = {**ONE, "channels_a": 3, "channels_b": 3, "neighbours": 1}
    same = translator(tmp_path, make_checkpoint, Same(), **settings)
    given = Raster(np.ones((40, 40, 3)) * [1, 2, 3])
    result = same.translate(given, "ab", reconstruct=True)
    assert result.fake.channels == 1 and (result.fake.values.round() == 2).all() and result.reconstruction_l1 < 0.01
    same.with_neighbours = True
    assert same.translate(given, "ab").fake.channels == 3


@pytest.mark.parametrize("far", [-32768.0, 1e30, float("nan"), float("inf")])
def test_a_value_far_beyond_the_range_spreads_no_further(tmp_path, make_checkpoint, far):
    same = translator(tmp_path, make_checkpoint, Same(), **{**ONE, "range_a": "0:1000", "range_b": "0:1000"})
    values = np.full((40, 40, 1), 500.0)
    values[20, 20] = far
    made = same.translate(Raster(values), "ab", size=32).fake.values
    assert made.min() >= 0 and made.max() <= 1000 and (np.abs(made - 500) > 1).sum() < 60


def test_a_file_that_was_replaced_is_read_anew(tmp_path):
    path, values = tmp_path / "a.npy", Values(1, 0, 9)
    for number in (1, 2):
        other = tmp_path / f"{number}.npy"
        np.save(other, np.full((40, 40, 1), number, np.float32))
        os.utime(other, (1, 1))  # As `cp -p` and unpacking leave it.
        os.replace(other, path)
        assert open_picture(path, values).values.max() == number


def test_pictures_of_another_kind_than_the_training_s_are_counted(tmp_path, make_checkpoint):
    same = translator(tmp_path, make_checkpoint, Same(), **{**ONE, "range_a": "0:4095", "range_b": "0:4095"})
    Image.new("L", (40, 40), 9).save(tmp_path / "eight.png")
    files.write(tmp_path / "far.tif", Raster(np.full((40, 40, 1), 9999), Origin("tiff", "uint16")))
    files.write(tmp_path / "good.tif", Raster(np.full((40, 40, 1), 999), Origin("tiff", "uint16")))
    items = [Item(tmp_path / name, None, name, f"{name}.png") for name in ("eight.png", "far.tif", "good.tif")]
    (tmp_path / "out").mkdir()
    done = translate_pictures(same, items, tmp_path / "out", "ab")
    said = [str(note) for note in done.doubts(same.values("a"))]
    assert said[0].startswith("1 picture has 8 bits") and said[1].startswith("1 picture has more than a twentieth")
    assert len(said) == 2
