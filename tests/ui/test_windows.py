"""Windows of pictures that aren't 8-bit RGB: what the controls mean, and what is drawn without a network."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cyclegan.rasters.raster import Raster
from cyclegan.ui import windows
from cyclegan.ui.results import put_values, served, values_behind
from cyclegan.ui.windows import MIDDLE, OWN, WHOLE, Window, chosen, whole
from cyclegan.ui.words import speaker
from cyclegan.values import RGB, Values

CT = Values(1, -1000.0, 2000.0)
BANDS = Values(5, 0.0, 1.0)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))


def shown_picture(values, raster):
    path = served("input.png", values.shown(raster).save)
    put_values(path, raster)
    return Path(path)


def test_presets_and_sliders():
    start = whole(CT)
    assert (start.level, start.width, start.channels) == (500, 3000, (1,))
    assert chosen([WHOLE, 500, 3000, []], start, CT, None) == start
    soft = chosen(["soft", 500, 3000, []], start, CT, None)
    assert (soft.level, soft.width, soft.ends) == (40, 400, (-160, 240))
    assert chosen(["soft", 40, 400, []], soft, CT, None) == soft
    own = chosen(["soft", 60, 400, []], soft, CT, None)
    assert (own.preset, own.level, own.width) == (OWN, 60, 400)
    assert chosen([WHOLE, 60, 400, []], own, CT, None) == start
    for odd in (None, "x", float("nan"), [1]):  # A request may send anything.
        assert chosen([odd, odd, odd, odd], start, CT, None) == start
    assert chosen([WHOLE, 500, -5, []], start, CT, None).width > 0


def test_the_browser_rounds_a_slider_to_its_step():
    start = whole(Values(1, 50.0, 2907.0))
    assert start.level == 1478.5 and chosen([WHOLE, 1479, 2857, []], start, Values(1, 50.0, 2907.0), None) == start


def test_the_middle_follows_the_picture():
    values = np.linspace(-200, 200, 10_000, dtype=np.float32).reshape(100, 100, 1)
    values[0, 0] = np.nan
    found = chosen([MIDDLE, 500, 3000, []], whole(CT), CT, Raster(values))
    assert found.preset == MIDDLE and abs(found.level) <= 2 and found.width == pytest.approx(392, abs=4)
    again = chosen([MIDDLE, found.level, found.width, []], found, CT, Raster(values + 300))
    assert again.preset == MIDDLE and again.level == pytest.approx(300, abs=2)
    assert chosen([MIDDLE, found.level + 50, found.width, []], found, CT, Raster(values)).preset == OWN


def test_ct_windows_are_offered_for_hounsfield_units_alone():
    assert windows.is_ct(CT) and not windows.is_ct(Values(1, 0.0, 4095.0)) and not windows.is_ct(Values(1, -1000, 250))
    assert len(windows._presets(True, speaker())) == len(windows._presets(False, speaker())) + 4


def test_channels_are_chosen_one_as_grey_or_three_as_colour():
    raster = Raster(np.arange(5, dtype=np.float32).reshape(1, 1, 5) / 4)
    assert whole(BANDS).channels == (1, 2, 3)
    one = chosen([WHOLE, 0.5, 1, ["4"]], whole(BANDS), BANDS, None)
    assert one.channels == (4,) and one.drawn(raster, BANDS).getpixel((0, 0)) == (191, 191, 191)
    false_colour = chosen([WHOLE, 0.5, 1, ["5", "3", "1"]], whole(BANDS), BANDS, None)
    assert false_colour.drawn(raster, BANDS).getpixel((0, 0)) == (255, 128, 0)
    assert chosen([WHOLE, 0.5, 1, ["9", "x", -1, 0]], whole(BANDS), BANDS, None).channels == (1, 2, 3)


def test_what_is_shown_is_drawn_again_from_its_values(tmp_path):
    mr, ct = Values(1, 0.0, 4000.0), CT
    pictures = [shown_picture(mr, Raster(np.full((4, 4, 1), 1000.0))), shown_picture(ct, Raster(np.zeros((4, 4, 1))))]
    rows = {"ab": [*pictures, None], "ba": [None, None, None]}
    values, before = {"a": mr, "b": ct}, {"a": whole(mr), "b": whole(ct)}
    given = {"a": [WHOLE, 2000, 4000, ["1"]], "b": [WHOLE, 500, 3000, ["1"]]}
    assert windows.redraw(values, before, given, rows)[1] == {"ab": [None] * 3, "ba": [None] * 3}
    given["b"] = ["soft", 500, 3000, ["1"]]
    now, drawn = windows.redraw(values, before, given, rows)
    assert now["b"].preset == "soft" and now["a"] == before["a"] and drawn["ab"][0] is drawn["ab"][2] is None
    first = Path(drawn["ab"][1])
    with Image.open(first) as image:
        assert image.getpixel((0, 0)) == (102, 102, 102)  # 0 in -160 to 240.
    assert (values_behind(first).values == 0).all()
    # The next window is drawn from there, and the one before it is removed.
    rows["ab"][1] = first
    given["b"] = [WHOLE, 40, 400, ["1"]]
    _, again = windows.redraw(values, now, given, rows)
    with Image.open(again["ab"][1]) as image:
        assert image.getpixel((0, 0)) == (85, 85, 85)
    assert not first.exists() and rows["ab"][0].exists()
    # What is gone is left as it is.
    assert windows.redraw(values, now, given, rows)[1]["ab"] == [None] * 3


def test_8_bit_pictures_have_no_window():
    path = Path(served("input.png", Image.new("RGB", (4, 4)).save))
    now, drawn = windows.redraw(
        {"a": RGB, "b": RGB}, {}, {}, {"ab": [path, None, None], "ba": [None] * 3}
    )  # fmt: skip
    assert now == {} and drawn == {"ab": [None] * 3, "ba": [None] * 3}
    assert values_behind(path) is None
    assert isinstance(whole(CT), Window)


def test_a_volume_s_run_shows_the_slice_not_its_neighbours():
    values = Values(3, 0, 255, neighbours=1)
    window = windows.whole(values)
    assert window.channels == (2,)
    raster = Raster(np.ones((2, 2, 3)) * [10, 20, 30])
    assert np.asarray(window.drawn(raster, values))[0, 0].tolist() == [20] * 3


def test_ends_of_a_range_are_shown_without_a_computer_s_digits():
    assert (windows.whole(Values(1, -1000, 1241.6)).level, windows.whole(Values(1, 0.1, 0.3)).width) == (120.8, 0.2)
