"""Pictures are decoded after all that could make it vain, no more at once than there is room for, and no larger than
is needed."""

import base64
import io
import threading
import time

import pytest
from PIL import Image

from cyclegan.errors import CheckpointError, ImageError
from cyclegan.images import open_image
from cyclegan.ui import decoding, inputs, translating
from cyclegan.ui.words import speaker
from cyclegan.ui.workbench import Workbench
from hub import open_source
from tests.ui.conftest import picture, write_epoch


def sent(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return {"url": f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"}


@pytest.mark.parametrize("run, epoch", [(None, "epoch-0009"), ("nobody", None)])
def test_nothing_is_decoded_for_an_epoch_that_is_not_there(tmp_path, monkeypatch, run, epoch):
    write_epoch(tmp_path / "mine", 1)
    bench = Workbench([open_source(tmp_path / "mine")])
    monkeypatch.setattr(decoding, "open_image", lambda *a, **o: pytest.fail("it was decoded"))
    with pytest.raises(CheckpointError, match="there is no run|has no epoch"):
        next(translating._translate(bench, sent(picture(40, 32), "PNG"), run, epoch, "auto", "ab", speaker()))


def test_a_size_that_is_not_allowed_is_found_in_the_header(monkeypatch):
    monkeypatch.setattr(decoding, "open_image", lambda *a, **o: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match="more than 50 megapixels"):
        inputs.opened(sent(Image.new("L", (8000, 8000)), "PNG"))


@pytest.mark.parametrize("sizes, at_once", [([30] * 6, 3), ([100] * 3, 1), ([1000, 1000], 1), ([90, 10, 90, 10], 2)])
def test_pixels_decoded_at_once_are_bounded(monkeypatch, sizes, at_once):
    monkeypatch.setattr(decoding, "MAX_AT_ONCE", 100)
    here, most, pixels, lock = [], [], [], threading.Lock()

    def decode(size):
        with decoding.room(size):
            with lock:
                here.append(min(size, 100))
                most.append(len(here))
                pixels.append(sum(here))
            time.sleep(0.05)
            with lock:
                here.remove(min(size, 100))

    threads = [threading.Thread(target=decode, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not here and len(most) == len(sizes) and max(pixels) <= 100 and max(most) <= at_once


def test_room_is_given_back_after_a_failure(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_AT_ONCE", 100)
    for _ in range(3):
        with pytest.raises(ImageError, match="truncated"), decoding.room(80):
            raise ImageError("truncated")
    with decoding.room(100):
        pass


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size():
    image = picture(64, 48).resize((1600, 1200), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    assert open_image(buffer.getvalue()).size == open_image(buffer.getvalue(), enough=2_000_000).size == (1600, 1200)
    for enough, size in ((1_000_000, (1600, 1200)), (480_000, (800, 600)), (100_000, (400, 300)), (1, (200, 150))):
        small = open_image(buffer.getvalue(), enough=enough)
        assert small.size == size
        assert abs(small.resize((64, 48)).getpixel((20, 20))[0] - image.resize((64, 48)).getpixel((20, 20))[0]) < 12
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(turned, "JPEG", exif=exif)
    assert open_image(turned.getvalue(), enough=480_000).size == (600, 800)
    png = io.BytesIO()
    image.save(png, "PNG", compress_level=1)
    assert open_image(png.getvalue(), enough=1).size == (1600, 1200)


def test_a_reduced_picture_is_said_with_its_own_size(monkeypatch):
    monkeypatch.setattr(inputs, "MAX_SHOWN_PIXELS", 120_000)
    for kind in ("JPEG", "PNG"):
        shown, remarks = inputs.received(sent(picture(1600, 1200), kind), speaker())
        assert shown.size == (400, 300) and remarks == ["Your picture of 1600×1200 was reduced to 400×300 first."]
