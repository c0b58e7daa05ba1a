"""Videos next to each other: each in its place, with its caption, in step."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from cyclegan.errors import ImageError
from cyclegan.translation.captions import fitted, font_for
from cyclegan.translation.split_screen import MOST_SIZE, SplitScreen, write_split_screen
from cyclegan.translation.video_io import Frame, Video

COLOURS = [(20 * number, 250 - 20 * number, 90) for number in range(12)]


def stream(colour, count=6, size=(96, 72)):
    for index in range(count):
        yield Frame(Image.new("RGB", size, colour), Fraction(index, 60), Fraction(1, 60))


@pytest.mark.parametrize(("count", "columns"), [(2, 2), (3, 2), (4, 2), (6, 3), (12, 4)])
def test_a_grid_of_tiles_in_reading_order(count, columns):
    screen = SplitScreen([f"run {number}" for number in range(count)], (96, 72))
    whole = np.asarray(screen.compose(Image.new("RGB", (96, 72), colour) for colour in COLOURS[:count]), int)
    assert whole.shape[1::-1] == screen.size and screen.size[0] == columns * 100 + 4
    rows = -(-count // columns)
    for number in range(count):
        x, y = 4 + number % columns * 100, 4 + number // columns * (screen.size[1] - 4) // rows + 14
        assert (whole[y + 2 : y + 68, x + 2 : x + 94] == COLOURS[number]).all()
        assert whole[y - 14 : y, x : x + 96].max() > 200, "each has a caption"


def test_two_are_side_by_side_and_large_ones_smaller():
    assert SplitScreen(["a", "b"], (1080, 1920)).size[0] == 2 * 1084 + 4
    for tile in ((3840, 2160), (2160, 3840)):
        size = SplitScreen(["a"] * 12, tile).size
        assert all(side <= most + 20 for side, most in zip(size, MOST_SIZE, strict=True))
    screen = SplitScreen(["a" * 500, "한국 도로"], (96, 72))
    tall = np.asarray(screen.compose([Image.new("RGB", (40, 80), "red"), Image.new("RGB", (96, 72), "blue")]), int)
    assert (tall[20:85, 35:65] == (255, 0, 0)).all() and tall[40, 10].max() < 60  # In the middle, not stretched.
    with pytest.raises(ImageError, match="2 to 16 tiles, not 17"):
        SplitScreen(["a"] * 17, (96, 72))


def test_captions_fit_and_korean_has_its_letters():
    font = font_for("a" * 500, 14)
    assert font.getlength(fitted("a" * 500, font, 100)) <= 100 and fitted("abc", font, 100) == "abc"
    assert font_for("day", 14).getname() == font.getname()
    wide = font_for("한국", 14)
    if wide.getname() != font.getname():  # Where the system has such a font.
        assert wide.getmask("한").getbbox() != wide.getmask("국").getbbox()


def test_streams_become_one_video_in_step(tmp_path):
    target = tmp_path / "all.mp4"
    streams = {str(number): stream(COLOURS[number]) for number in range(3)}
    assert write_split_screen(target, streams, rate=Fraction(60)) == 6
    frames = list(Video(target).frames())
    assert [round(float(frame.time) * 60, 1) for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert np.abs(np.asarray(frames[5].image, int)[50, 50] - COLOURS[0]).max() < 8
    for streams, says in (
        ({"a": stream("red"), "b": stream("red", 3)}, "b ends after 3 frames"),
        ({"a": stream("red", 0), "b": stream("red", 0)}, "no frames"), ({"a": stream("red")}, "2 to 16 tiles"),
    ):  # fmt: skip
        with pytest.raises(ImageError, match=says):
            write_split_screen(tmp_path / "x.mp4", streams, rate=Fraction(60))
    assert [path.name for path in tmp_path.iterdir()] == ["all.mp4"]
