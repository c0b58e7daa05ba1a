"""Pictures of other values on the pages: read by a run's domains, kept behind what browsers show, saved as they are."""

import shutil
import zipfile
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import tifffile
from PIL import Image

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.errors import ImageError
from cyclegan.rasters.raster import FILE_DIGEST, Origin, Raster
from cyclegan.ui import decoding, inputs, jobs, matrix, reading, runs, translating
from cyclegan.ui.pages import files
from cyclegan.ui.results import Picture, linked, original_of, served, values_behind
from cyclegan.ui.words import speaker
from cyclegan.ui.workbench import Workbench
from cyclegan.values import RGB, Values
from tests.ui.conftest import picture, write_epoch

DEEP = {"channels_a": 1, "channels_b": 1, "range_a": "0:4000", "range_b": "-1000:2000"}
MR, CT = Values(1, 0.0, 4000.0), Values(1, -1000.0, 2000.0)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = tmp_path_factory.mktemp("deep") / "run"
    write_epoch(run, 1, domains=("MR", "CT"), **DEEP)
    (run / "examples").mkdir()
    for number in (1, 2):
        tifffile.imwrite(run / "examples" / f"a_{number}.tif", mr(number))
        tifffile.imwrite(run / "examples" / f"b_{number}.tif", ct(number))
    return run


@pytest.fixture
def bench(run):
    return Workbench([LocalSource(run)])


def mr(seed, size=(40, 48)):
    return np.random.default_rng(seed).integers(300, 4000, size).astype(np.uint16)


def ct(seed, size=(40, 48)):
    return np.random.default_rng(seed).integers(-1000, 200, size).astype(np.int16)


def uploaded(path):
    return {"path": served(path.name, lambda target: shutil.copyfile(path, target)), "orig_name": path.name}


def given(tmp_path, values, name="mine.tif"):
    path = tmp_path / name
    tifffile.imwrite(path, values)
    return uploaded(path)


def translated(bench, payload, reading="both"):
    *_, last = translating.translate(bench, payload, None, None, "original", reading, speaker())
    return last[0], last[1:6], last[6:11], last[11:13]


def test_a_raster_is_read_in_its_units_and_saved_as_a_file_of_its_kind(bench, tmp_path):
    note, ab, ba, saved = translated(bench, given(tmp_path, mr(5)))
    assert note.startswith("Epoch 1, 48×40 pixels")
    read, fake, rec, lost, said = ab
    assert (values_behind(Path(read)).values[..., 0] == mr(5)).all()
    fake_file, rec_file = map(Path, saved[0])
    assert (fake_file.name, rec_file.name) == ("epoch-0001_as_CT.tif", "epoch-0001_back_to_MR.tif")
    stored = tifffile.imread(fake_file)
    assert stored.shape == (40, 48) and stored.dtype == np.int16 and stored.min() >= -1000 and stored.max() <= 2000
    assert np.abs(values_behind(Path(fake)).values[..., 0] - stored).max() <= 0.5
    l1 = np.abs(values_behind(Path(rec)).values[..., 0] - mr(5)).mean()
    assert f"L1 {l1:.4g} (units of the range 0 to 4000)" in said and "brightest at 1000 or more" in said
    assert Path(lost).name == "error_0_to_1000.png"
    for path in (read, fake, rec, lost):  # Browsers get 8 bits.
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("RGB", (48, 40))


def test_its_values_tell_the_domain(bench, tmp_path):
    source, info = bench.run(None), bench.info(None, None)
    for values, way in ((mr(5), "ab"), (ct(5), "ba")):
        payload = given(tmp_path, values)
        pictures, _ = reading.as_read(lambda own, of=payload: inputs.received(of, speaker(), own), info, ("ab", "ba"))
        assert reading.likely_direction(source, pictures) == way
        radio, note = files.Events(bench).look([payload], None, None, {"ab": "ba", "ba": "ab"}[way], None)
        assert radio.value == way and "looks like" in note


def test_8_bits_are_taken_as_grey_levels_and_said(bench, tmp_path):
    picture(48, 40).save(tmp_path / "photo.png")
    note, ab, _, saved = translated(bench, uploaded(tmp_path / "photo.png"), "ab")
    assert "8 bits, so its grey levels, 0 to 255, were taken as its values" in note
    grey = np.asarray(picture(48, 40).convert("L"))
    assert (values_behind(Path(ab[0])).values[..., 0] == grey).all() and saved[1] is None


def test_examples_are_shown_and_remain_behind_their_pictures(bench, run):
    source = bench.run(None)
    paths = runs.examples_of(source)
    assert [path.name for path in paths] == ["a_1.tif", "b_1.tif", "a_2.tif", "b_2.tif"]
    assert all(image.mode == "RGB" for image, _ in runs.thumbnails_of(paths, runs.values_of(source)))
    shown = Path(inputs.preview(paths[1], CT, "example-"))
    assert shown.suffix == ".png" and shown.parent.name.startswith("example-")
    assert original_of(shown).read_bytes() == paths[1].read_bytes() and not original_of(shown).samefile(paths[1])
    image, _ = inputs.opened({"path": str(shown)}, CT)
    assert (image.values[..., 0] == ct(1)).all()


def test_what_browsers_can_not_show_is_drawn_and_not_translated_twice(tmp_path):
    payload = given(tmp_path, ct(3))
    shown = inputs.for_browsers(payload, None, [MR, CT])
    now = [payload["path"], 0]
    assert inputs.picture_of({"path": shown}, now, 0) == gr.skip()
    assert inputs.picture_of(given(tmp_path, ct(4)), now, 0) != gr.skip()
    assert inputs.unless_bad(payload, 0, [MR, CT]) == [gr.skip(), 0]
    assert inputs.unless_bad(given(tmp_path, np.zeros((8, 8, 4), np.uint16)), 0, [MR, CT]) == [None, 1]


def test_what_a_domain_can_not_have_is_one_sentence(bench, tmp_path, monkeypatch):
    four = given(tmp_path, np.zeros((8, 8, 4), np.uint16))
    with pytest.raises(gr.Error, match="another number of channels than this domain's pictures .4 instead of 1"):
        translated(bench, four)
    monkeypatch.setattr(decoding, "MAX_VALUES", 100)
    with pytest.raises(ImageError, match="^mine.tif, 8×8×4×1, has more than 0 million values"):
        inputs.opened(four, Values(4, 0.0, 10.0))


def test_domains_of_different_kinds_read_what_they_can(tmp_path):
    write_epoch(tmp_path / "mixed", 1, domains=("photo", "depth"), channels_a=3, channels_b=4, range_a="0:255",
                range_b="0:1000")  # fmt: skip
    bench = Workbench([LocalSource(tmp_path / "mixed")])
    bands = given(tmp_path, np.full((40, 48, 4), 500, np.uint16))
    note, ab, ba, saved = translated(bench, bands)
    assert ba[1] and values_behind(Path(ba[1])) is None  # The translation is a photo.
    assert [Path(path).suffix for path in saved[1]] == [".tif"]  # And the way back isn't.
    picture(48, 40).save(tmp_path / "photo.png")
    note, ab, ba, saved = translated(bench, uploaded(tmp_path / "photo.png"))
    assert ab[1] and not ba[1] and values_behind(Path(ab[0])) is None


def test_a_matrix_of_rasters(bench, run, tmp_path):
    write_epoch(run, 2, domains=("MR", "CT"), **DEEP)
    both = ["run@epoch-0001", "run@epoch-0002"]
    steps = matrix.compare(bench, given(tmp_path, mr(5)), both, "ab", "auto", speaker(), 2)
    *_, (note, _, fakes, recs, value) = steps
    assert note.startswith("MR → CT with 2 checkpoints, 2 pictures") and len(fakes) == len(recs) == 2
    assert value["range"] == [0.0, 4000.0] and value["entries"][0]["fake_file"].endswith("epoch-0001_as_CT.tif")
    assert value["entries"][0]["l1"] > 100  # In units, not in grey levels.
    shutil.rmtree(run / "epoch-0002")


def test_a_matrix_takes_one_kind_and_names_different_ranges(bench, run, tmp_path):
    write_epoch(tmp_path / "plain", 1, domains=("MR", "CT"))
    write_epoch(tmp_path / "other", 1, domains=("MR", "CT"), **{**DEEP, "range_b": "-1000:3000"})
    bench = Workbench([LocalSource(run), LocalSource(tmp_path / "plain"), LocalSource(tmp_path / "other")])
    with pytest.raises(gr.Error, match="take different kinds of values"):
        list(matrix.compare(bench, given(tmp_path, mr(5)), ["run", "plain"], "ab", "auto", speaker()))
    *_, last = matrix.compare(bench, given(tmp_path, mr(5)), ["run", "other"], "ab", "auto", speaker())
    assert "Their ranges differ (-1000:2000, -1000:3000)" in last[0]
    from cyclegan.ui.comparison import opening_entries

    assert [entry.run for entry in opening_entries(bench)] == ["run", "other"]


def test_many_files_come_back_as_files_of_their_kind(bench, run, tmp_path):
    payloads = [uploaded(path) for path in sorted((run / "examples").iterdir())]
    events = files.Events(bench)
    *_, (note, path) = events.translate_files(payloads, "ab", None, None, "auto", None)
    assert note.startswith("4 of 4 files translated")
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["a_1.tif", "a_2.tif", "b_1.tif", "b_2.tif"]
        archive.extract("a_1.tif", tmp_path)
    stored = tifffile.imread(tmp_path / "a_1.tif")
    assert stored.shape == (40, 48) and stored.dtype == np.int16
    seen = jobs.previews({"path": path}, CT)
    assert [name for _, name in seen] == ["a_1", "a_2", "b_1", "b_2"]


def test_videos_are_refused(bench, tmp_path):
    from fractions import Fraction

    from cyclegan.translation.video import translate_video
    from cyclegan.translation.video_io import VideoWriter

    with VideoWriter(tmp_path / "drive.mp4", (48, 40), rate=Fraction(10)) as writer:
        writer.write(picture(48, 40), Fraction(0), Fraction(1, 10))
    events = files.Events(bench)
    with pytest.raises(gr.Error, match="a video has 8-bit colour"):
        list(events.translate_video(uploaded(tmp_path / "drive.mp4"), "ab"))
    with pytest.raises(ImageError, match="a video has 8-bit colour"):
        events.example_video("run", None)
    with pytest.raises(ImageError, match="a video has 8-bit colour"):  # As from the shell.
        translate_video(bench.translator(None, None), tmp_path / "drive.mp4", tmp_path / "out.mp4", "ab")
    assert not (tmp_path / "out.mp4").exists()


def test_values_of_a_run_are_read_once_until_another_epoch_comes(run, monkeypatch):
    source = LocalSource(run)
    assert runs.values_of(source) == {"a": MR, "b": CT}
    monkeypatch.setattr(source, "list", lambda: [])
    assert runs.values_of(source) == {"a": MR, "b": CT}
    write_epoch(run, 3, **DEEP)
    assert runs.values_of(source) == {"a": RGB, "b": RGB}
    shutil.rmtree(run / "epoch-0003")


def test_another_path_to_a_picture_keeps_its_file(tmp_path):
    shown = Path(inputs.preview(Path(given(tmp_path, ct(3))["path"]), CT))
    again = Path(linked(shown))
    assert again != shown and original_of(again).samefile(original_of(shown))


def test_nothing_changes_for_8_bit_rgb(tmp_path):
    write_epoch(tmp_path / "plain", 1)
    source = LocalSource(tmp_path / "plain")
    assert runs.readings(source) == [RGB]
    picture(48, 40).save(tmp_path / "photo.png")
    note, ab, ba, saved = translated(Workbench([source]), uploaded(tmp_path / "photo.png"))
    assert saved == [None, None] and "L1" in ab[4] and "of 255 grey levels" in ab[4]
    assert not (Path(ab[0]).parent / "values").exists() and not (Path(ab[1]).parent / "values").exists()


def test_pictures_with_other_tags_have_results_of_their_own():
    """A library's object may look like any other in a text, and a result takes over its picture's tags."""
    def digest(**keep):
        return Picture(Raster(np.zeros((4, 4, 1)), Origin("nifti", "int16", keep=keep)), Values(1, 0, 9)).digest

    assert digest(header=object()) != digest(header=object())
    assert digest(**{FILE_DIGEST: "x", "header": object()}) == digest(**{FILE_DIGEST: "x", "header": object()})
    assert digest(**{FILE_DIGEST: "x"}) != digest(**{FILE_DIGEST: "y"})
    assert digest(page="1") == digest(page="1") != digest(page="2")
