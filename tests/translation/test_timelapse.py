"""The time-lapse over epochs, as its files show it."""

import av
import numpy as np
import pytest
from PIL import Image

from cyclegan.errors import ImageError
from cyclegan.translation.timelapse import GAP, HEAD, LAST_SECONDS, RATE, SECONDS, write_timelapse

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]
SHOWN_S = float(2 * SECONDS + LAST_SECONDS)


def steps(count=1, size=(160, 128)):
    return [(f"epoch {n}", [Image.new("RGB", size, colour)] * count) for n, colour in enumerate(COLOURS, 1)]


def colour_at(frame: Image.Image, x: int, y: int) -> list[int]:
    return np.asarray(frame.convert("RGB"))[y, x].astype(int).tolist()


def check(frames: list[Image.Image]) -> None:
    """The picture stays at the left, the translation at the right follows the epochs, each under its caption."""
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert colour_at(frame, GAP + 80, HEAD + GAP + 64) == pytest.approx([90, 90, 90], abs=6)
        assert colour_at(frame, 2 * GAP + 160 + 80, HEAD + GAP + 64) == pytest.approx(list(colour), abs=12)
    heads = [np.asarray(frame.convert("RGB"))[:HEAD].astype(int) for frame in frames]
    assert np.abs(heads[0] - heads[1]).max() > 100 and np.abs(heads[1] - heads[2]).max() > 100


def test_an_mp4_shows_the_epochs_one_after_the_other(tmp_path):
    write_timelapse(tmp_path / "film.mp4", [Image.new("RGB", (160, 128), (90, 90, 90))], steps())
    with av.open(str(tmp_path / "film.mp4")) as container:
        frames = [(frame.time, frame.to_image()) for frame in container.decode(video=0)]
        assert container.duration / av.time_base == pytest.approx(SHOWN_S, abs=0.05)
    assert len(frames) == SHOWN_S * RATE
    check([next(image for at, image in frames if at > n * SECONDS + 0.3) for n in range(3)])


def test_a_gif_shows_the_same_and_repeats(tmp_path):
    write_timelapse(tmp_path / "film.gif", [Image.new("RGB", (160, 128), (90, 90, 90))], steps())
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.info["loop"] == 0
        frames, durations = [], []
        for n in range(gif.n_frames):
            gif.seek(n)
            frames.append(gif.convert("RGB"))
            durations.append(gif.info["duration"])
    assert durations == [1000 * SECONDS, 1000 * SECONDS, 1000 * LAST_SECONDS]
    check(frames)


@pytest.mark.parametrize("sizes, suffix, most", [
    ([(640, 480), (480, 640), (100, 100)], ".mp4", 1280), ([(1500, 1000)], ".gif", 800), ([(30, 20)], ".gif", 800),
    ([(300, 200)] * 12, ".gif", 800),
])
def test_any_number_and_size_of_pictures_fits(tmp_path, sizes, suffix, most):
    inputs = [Image.new("RGB", size, (90, 90, 90)) for size in sizes]
    two = [("epoch 1", inputs), ("an epoch of a run with a long name", [None, *inputs[1:]])]  # One is missing.
    write_timelapse(tmp_path / f"film{suffix}", inputs, two)
    with av.open(str(tmp_path / f"film{suffix}")) as container:
        frame = next(container.decode(video=0))
    assert min(frame.width, frame.height) >= 128 and max(frame.width, frame.height) <= most


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(ImageError, match="film.webm isn't a time-lapse"):
        write_timelapse(tmp_path / "film.webm", [Image.new("RGB", (8, 8))], steps(size=(8, 8)))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ImageError, match="film.gif can't be written"):
        (tmp_path / "film.gif").mkdir()
        write_timelapse(tmp_path / "film.gif", [Image.new("RGB", (8, 8))], steps(size=(8, 8)))
