"""Which reading of a picture is shown large, what is shown before the networks are there, and the time left."""

import shutil
from fractions import Fraction
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.errors import ImageError
from cyclegan.evaluation.reconstruction import Similarity
from cyclegan.images import mean_difference, open_image
from cyclegan.translation.video_io import VideoWriter
from cyclegan.ui import inputs, reading, translating
from cyclegan.ui.pages import files
from cyclegan.ui.results import Picture, Result, served
from cyclegan.ui.words import Speaker, speaker
from cyclegan.ui.workbench import Workbench
from tests.ui.conftest import picture, write_epoch

DEMO = Path(__file__).parents[2] / "demo"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))


@pytest.fixture
def streets():
    return Workbench([LocalSource(DEMO / "streets")])


def uploaded(path):
    return {"path": served(path.name, lambda target: shutil.copyfile(path, target))}


def test_the_reading_that_fits_is_open_and_named(streets):
    info = streets.info(None, None)
    night, day = (
        translating.row_boxes(info, ("ab", "ba"), likely, speaker(), unclear=True) for likely in ("ba", "ab")
    )
    assert [box["open"] for box in night] == [False, True] and [box["open"] for box in day] == [True, False]
    assert night[1]["label"] == "Looks more like night than day" and "large" in night[1]["elem_classes"]
    assert night[0]["label"] == "The other reading: day → night → day" and "large" not in night[0]["elem_classes"]
    unclear = translating.row_boxes(info, ("ab", "ba"), None, speaker(), unclear=True)
    assert [box["label"] for box in unclear] == ["Could be day or night. Read as day",
                                                 "The other reading: night → day → night"]  # fmt: skip
    pinned = translating.row_boxes(info, ("ba",), None, speaker())
    assert [box["visible"] for box in pinned] == [False, True] and pinned[1]["label"] == "As night: night → day → night"


def test_after_a_bad_upload_nothing_is_said_of_the_picture_before(streets, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    steps = translating.translate(
        streets, {**uploaded(tmp_path / "bad.png"), "orig_name": "my\n<b>.png"}, None, None, "auto", "both", speaker()
    )  # fmt: skip
    note, *_, first, second = next(steps)
    assert (note, first.label, second.label) == (
        "Nothing was translated: my&lt;b&gt;.png is not a picture but text, whatever its name: download it again, or "
        "save the picture as PNG or JPEG.",
        "As day: day → night → day", "The other reading: night → day → night",
    )  # fmt: skip
    with pytest.raises(gr.Error, match="^'my&lt;b&gt;.png is not a picture"):
        next(steps)
    none = next(translating.translate(streets, None, None, None, "auto", "ba", speaker()))
    assert none[0] == "Choose a picture." and none[-1].label.startswith("As night")
    for name in ("", None, 5, ["x"]):
        with pytest.raises(ImageError, match="^This file is not a picture"):
            inputs.opened({**uploaded(tmp_path / "bad.png"), "orig_name": name})
    lost = translating.translate(streets, {}, "nowhere", None, "auto", "both", speaker())
    assert next(lost)[-2:] == translating.AS_THEY_ARE


@pytest.mark.parametrize("example, likely", [("a_2", "ab"), ("b_3", "ba")])
def test_an_example_is_read_as_its_own_domain(streets, example, likely):
    image = open_image(DEMO / "streets" / "examples" / f"{example}.png")
    assert reading.likely_direction(streets.run(None), dict.fromkeys(("ab", "ba"), Picture(image))) == likely


@pytest.mark.parametrize(("names", "chosen", "direction"), [
    (("b_1", "b_2"), "ab", "ba"), (("b_1", "notes"), None, "ba"), (("b_1",), "ba", None), (("a_1", "b_1"), "ba", None),
    (("notes",), "ab", None),
])  # fmt: skip
def test_files_take_an_upload_for_what_it_looks_like(streets, tmp_path, names, chosen, direction):
    given = []
    for name in names:
        path = tmp_path / f"{name}.png"
        if name == "notes":
            path.write_text("no picture")
        else:
            shutil.copyfile(DEMO / "streets" / "examples" / path.name, path)
        given.append(uploaded(path))
    radio, note = files.Events(streets).look(given, None, None, chosen, None)
    if direction is None:
        assert radio == note == gr.skip()
    else:
        assert radio.value == direction
        assert note == ("This looks like night, so the direction is now night → day; choose the other one if that is "
                        "wrong.")  # fmt: skip


def test_a_videos_first_frame_shows_its_direction(streets, tmp_path):
    image = open_image(DEMO / "streets" / "examples" / "b_3.png")
    with VideoWriter(tmp_path / "drive.mp4", image.size, rate=Fraction(10)) as writer:
        writer.write(image, Fraction(0), Fraction(1, 10))
    radio, _ = files.Events(streets).look(uploaded(tmp_path / "drive.mp4"), None, None, "ab", None)
    assert radio.value == "ba"


def test_without_examples_the_way_back_decides_if_it_is_clear(tmp_path):
    write_epoch(tmp_path, 1)
    given = dict.fromkeys(("ab", "ba"), Picture(picture(40, 30)))
    assert reading.likely_direction(LocalSource(tmp_path), given) is None
    near, far, nearly = (Result("", "", "", "", Similarity(l1, 20.0, None)) for l1 in (10.0, 40.0, 11.0))
    assert translating.clearly_better([far, near]) == 1 and translating.clearly_better([near, far]) == 0
    assert translating.clearly_better([near, nearly]) is None
    assert translating.clearly_better([near, Result("", "", None, None, None)]) is None


def test_the_page_opens_with_what_the_training_saved(streets):
    """Before any network is loaded: the first example, its translation and the way back."""
    likely, rows = translating.first_saved(streets)
    assert likely == "ab" and list(rows) == ["ab"]
    read, fake, back, lost, said = rows["ab"]
    given, night, day = (open_image(path) for path in (read, fake, back))
    assert given.size == night.size == day.size and (lost, said) == (None, "")
    assert mean_difference(given, day) < 20 < mean_difference(given, night)
    assert "saved" in translating.meanwhile("Starting …", rows, speaker())
    assert translating.meanwhile("Starting …", {}, speaker()) == "Starting …"


def test_other_pictures_wait_without_anything_saved(streets, tmp_path):
    for path, shown in ((DEMO / "streets/examples/b_1.png", True), (tmp_path / "mine.png", False)):
        if not path.exists():
            picture(256, 256).save(path)
        steps = translating.translate(streets, uploaded(path), None, None, "auto", "both", speaker())
        note, *values = next(steps)
        steps.close()
        assert "Loading the networks" in note and ("saved" in note) == shown
        assert [bool(value) for value in values[:10]] == [False] * 5 + [shown, shown, shown, False, False]


@pytest.mark.parametrize("break_it", [
    lambda run: shutil.rmtree(run / "epoch-0001" / "samples"),
    lambda run: (run / "epoch-0001" / "samples" / "ab.png").write_text("no picture"),
    lambda run: Image.new("RGB", (300, 200), "red").save(run / "epoch-0001" / "samples" / "ab.png"),
    lambda run: (run / "examples" / "a_1.png").write_text("no picture"),
    lambda run: shutil.rmtree(run / "examples"),
])
def test_nothing_saved_stops_nothing(tmp_path, break_it):
    for part in ("epoch-0001", "examples"):
        shutil.copytree(DEMO / "streets" / part, tmp_path / part)
    break_it(tmp_path)
    likely, rows = translating.first_saved(Workbench([LocalSource(tmp_path)]))
    assert rows == {} or likely == "ba"  # Without a_1, the page opens with b_1.


def test_the_first_example_is_translated_before_a_visitor_asks(tmp_path):
    write_epoch(tmp_path, 1)
    (tmp_path / "examples").mkdir()
    picture(48, 40).save(tmp_path / "examples" / "a_1.png")
    bench = Workbench([LocalSource(tmp_path)])
    bench.first = lambda: translating.translate_first_example(bench)
    bench.warm()
    info = bench.info(None, None)
    image = open_image(tmp_path / "examples" / "a_1.png")
    worked, _ = translating.inputs.working_side(image.size, "auto", info.config.data, "cpu", speaker())
    wanted = translating.result_requests(bench, None, info, ("ab", "ba"), worked)
    steps = list(bench.follow(Picture(image), wanted, speaker()))
    results = [step for step in steps if isinstance(step, Result)]
    assert len(results) == 2 and steps[-2:] == results  # They came at once, after the wait for the first example.
    assert bench.pace[info.commit_sha] > 0


def test_time_left_is_expected_by_earlier_pace_and_then_by_progress(streets, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(translating.time, "monotonic", lambda: now[0])
    info = streets.info(None, None)
    clock = translating.Clock(streets, info, (1000, 1000), 2)
    assert clock.said(0.0, speaker()) == "Translating …"  # Nothing is known yet.
    clock.count(0.0)
    now[0] = 110
    assert clock.said(0.25, speaker()) == "Translating … 25 %, about 30 s left"
    now[0] = 120
    assert clock.said(0.25, Speaker("ko")) == "변환하는 중 … 25 %, 약 20초 남음"
    now[0] = 139
    assert clock.said(0.95, speaker()) == "Translating … 95 %"  # Over in a moment.
    clock.count(Result("", "", None, None, None))
    now[0] = 140
    clock.stop()
    assert streets.pace[info.commit_sha] == pytest.approx(40 / 1e6)
    assert translating.Clock(streets, info, (1000, 500), 2).said(0.0, speaker()) == "Translating …, about 40 s left"


def test_nobody_waits_for_ever_for_the_first_example(streets, monkeypatch):
    from cyclegan.ui import workbench

    monkeypatch.setattr(workbench, "WAIT_S", 0.001)
    streets._first_done.clear()  # As while a run of the Hub is out of reach.
    monkeypatch.setattr(streets, "compute", lambda picture, wanted, say: iter(["made"]))
    assert list(streets.follow(Picture(picture(8, 8)), [], speaker())) == [0.0] * workbench.MOST_WAITS + ["made"]
