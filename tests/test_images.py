"""Every odd file that people have, and the geometry, in `cyclegan.images`."""

import io
import os
import re
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from cyclegan.config import PREPROCESS
from cyclegan.errors import ImageError
from cyclegan.images import (
    MIN_SIDE,
    augment,
    crop_box,
    evaluation_size,
    list_images,
    natural_order,
    open_image,
    prepare_for_evaluation,
    probe_image,
    resize_for_training,
    to_image,
    to_tensor,
    training_size,
)
from cyclegan.locale import in_language


def noise(width=9, height=7, seed=0):
    """A picture of random pixels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image, format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def config(preprocess="resize_crop", load_size=48, crop_size=32, flip=True):
    return SimpleNamespace(preprocess=preprocess, load_size=load_size, crop_size=crop_size, flip=flip)


def grey16(values):
    return Image.fromarray(np.array(values, dtype=np.uint16))


def png_header(width, height):
    """A PNG whose header claims a size, with next to no pixels behind it."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = b"IDAT" + zlib.compress(b"\0")
    return head + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


# ------------------------------------------------------------------------------------------------ opening


def rgba_half():
    image = Image.new("RGBA", (2, 1), (200, 0, 0, 0))
    image.putpixel((1, 0), (200, 0, 0, 255))
    return encoded(image)


def palette_with_transparency():
    image = Image.new("P", (2, 1), 0)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((1, 0), 1)
    return encoded(image, transparency=0)


def animated():
    frames = [Image.new("RGB", (2, 1), colour) for colour in ((255, 255, 255), (0, 0, 0))]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def lab():
    image = ImageCms.applyTransform(
        Image.new("RGB", (2, 1), (200, 30, 30)),
        ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"),
    )
    return encoded(image, "TIFF")


@pytest.mark.parametrize(
    ("data", "pixels", "tolerance"),
    [
        pytest.param(rgba_half(), [(255, 255, 255), (200, 0, 0)], 0, id="alpha"),
        pytest.param(encoded(Image.new("LA", (2, 1), (9, 0))), [(255, 255, 255)] * 2, 0, id="grey alpha"),
        pytest.param(palette_with_transparency(), [(255, 255, 255), (200, 0, 0)], 0, id="palette alpha"),
        pytest.param(encoded(Image.new("L", (2, 1), 7)), [(7, 7, 7)] * 2, 0, id="grey"),
        pytest.param(encoded(Image.new("L", (2, 1), 7), transparency=7), [(255,) * 3] * 2, 0, id="grey key"),
        pytest.param(
            encoded(Image.new("RGB", (2, 1), (1, 2, 3)), transparency=(1, 2, 3)), [(255,) * 3] * 2, 0, id="colour key"
        ),
        pytest.param(encoded(Image.new("1", (2, 1), 1)), [(255, 255, 255)] * 2, 0, id="1 bit"),
        pytest.param(encoded(Image.new("RGB", (2, 1), (9, 8, 7)).quantize(4)), [(9, 8, 7)] * 2, 0, id="palette"),
        pytest.param(encoded(Image.new("CMYK", (2, 1), (0, 255, 255, 0)), "JPEG"), [(255, 0, 0)] * 2, 3, id="CMYK"),
        pytest.param(lab(), [(200, 30, 30)] * 2, 3, id="LAB"),
        pytest.param(encoded(grey16([[0, 65535]])), [(0, 0, 0), (255, 255, 255)], 0, id="16 bit PNG"),
        pytest.param(encoded(grey16([[25700, 32896]]), "TIFF"), [(100,) * 3, (128,) * 3], 0, id="16 bit TIFF"),
        pytest.param(
            encoded(Image.fromarray(np.array([[0.0, 0.5]], np.float32)), "TIFF"),
            [(0, 0, 0), (128, 128, 128)],
            0,
            id="float 0..1",
        ),
        pytest.param(
            encoded(Image.fromarray(np.array([[np.nan, 255]], np.float32)), "TIFF"),
            [(0, 0, 0), (255, 255, 255)],
            0,
            id="float 0..255 with NaN",
        ),
        pytest.param(
            encoded(Image.fromarray(np.array([[-1000, 1000]], np.int32)), "TIFF"),
            [(0, 0, 0), (255, 255, 255)],
            0,
            id="32 bit",
        ),
        pytest.param(animated(), [(255, 255, 255)] * 2, 0, id="animated"),
    ],
)
def test_every_kind_of_pixels_becomes_rgb(data, pixels, tolerance):
    image = open_image(data)
    assert image.mode == "RGB" and image.size == (2, 1) and not image.info
    assert np.abs(np.asarray(image)[0].astype(int) - np.array(pixels)).max() <= tolerance


def test_16_bit_rgb_png_keeps_its_brightness():
    rows = b"\0" + struct.pack(">6H", 0, 32896, 65535, 65535, 0, 25700)
    data = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    assert np.asarray(open_image(data)).tolist() == [[[0, 128, 255], [255, 0, 100]]]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied_and_dropped(tmp_path, format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = Image.new("RGB", (32, 16), (0, 0, 0))
    upright.paste((255, 255, 255), (0, 0, 16, 8))  # white where the top left corner is
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # as a camera that is held so stores it
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    path = tmp_path / "photo"
    path.write_bytes(encoded(stored, format, exif=exif))
    image = open_image(path)
    assert image.size == probe_image(path) == (32, 16)
    corners = [image.getpixel(at)[0] > 128 for at in ((3, 3), (28, 3), (3, 12), (28, 12))]
    assert corners == [True, False, False, False]
    assert not image.getexif()


def test_damaged_exif_counts_as_none():
    data = encoded(Image.new("RGB", (4, 2)), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert open_image(data).size == probe_image(data) == (4, 2)


def test_all_kinds_of_sources_give_the_same(tmp_path):
    picture = noise()
    path = tmp_path / "a.png"
    picture.save(path)
    data = path.read_bytes()
    for source in (path, str(path), data, io.BytesIO(data), picture):
        assert np.array_equal(np.asarray(open_image(source)), np.asarray(picture))
    copy = open_image(picture)
    copy.putpixel((0, 0), (1, 2, 3))
    assert picture.getpixel((0, 0)) != (1, 2, 3), "a PIL source must be left as it was"


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("empty.jpg", b"", "empty.jpg is empty (0 bytes)"),
        ("notes.txt", b"hello, I am no picture", "notes.txt is not a picture but text: give pictures"),
        ("text.png", b"hello, I am no picture", "text.png is not a picture but text, whatever its name"),
        ("long.jpg", "글자 ".encode() * 99, "long.jpg is not a picture but text"),
        ("junk.jpg", bytes(range(256)), "junk.jpg is not a picture that can be read here, whatever its name"),
        ("cut.jpg", encoded(noise(200, 200), "JPEG")[:4000], "cut.jpg is truncated"),
        ("cut.png", encoded(noise(200, 200))[:4000], "cut.png is truncated"),
        ("cut.webp", encoded(noise(200, 200), "WEBP")[:2000], "cut.webp"),
        ("cut.gif", encoded(noise(200, 200), "GIF")[:3000], "cut.gif"),
        ("cut.tif", encoded(noise(200, 200), "TIFF")[:3000], "cut.tif"),
        ("phone.heic", HEIC, "is a HEIC picture, which can't be read here: save it as PNG or JPEG"),
        ("phone.jpg", HEIC, "phone.jpg is a HEIC picture"),
        ("logo.svg", b'<?xml version="1.0"?><svg xmlns="x"/>', "logo.svg is an SVG drawing"),
        ("clip.mp4", b"\0\0\0\x18ftypisom" + bytes(64), "clip.mp4 is a video"),
        ("page.pdf", b"%PDF-1.4", "page.pdf is a document"),
        ("figure.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "figure.eps is a document"),
        ("lfs.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("wide.png", png_header(20_001, 1), "wide.png, 20001×1, has a side above 20,000 pixels"),
        ("large.png", png_header(8000, 7000), "large.png, 8000×7000, has more than 50 megapixels"),
        ("larger.png", png_header(12_000, 10_000), "larger.png, 12000×10000, has more than 50 megapixels"),
        ("bomb.png", png_header(19_000, 19_000), "bomb.png has more than 50 megapixels"),
        ("flat.png", png_header(0, 5), "flat.png"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(tmp_path, name, data, words):
    path = tmp_path / name
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError) as caught:
            open_image(path)
        with pytest.raises(ImageError):
            open_image(data, name=name)
    message = str(caught.value)
    assert words in message and message.startswith(name) and ": " in message and "\n" not in message
    assert str(tmp_path) not in message, "a visitor must not see the machine's folders"
    assert re.search("[가-힣]", in_language(caught.value, "ko"))


@pytest.mark.parametrize("name", ["wide.png", "bomb.png"])
def test_size_is_refused_before_decoding(tmp_path, name):
    data = png_header(20_001, 1) if name == "wide.png" else png_header(19_000, 19_000)
    with pytest.raises(ImageError, match=name):
        probe_image(data, name=name)
    with pytest.raises(ImageError, match="side above"):
        open_image(Image.new("1", (20_001, 1)))


def test_missing_folder_and_pipe(tmp_path):
    with pytest.raises(ImageError, match=r"^no\.png does not exist"):
        open_image(tmp_path / "no.png")
    with pytest.raises(ImageError, match="is a folder"):
        probe_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="not a regular file"):
        open_image(tmp_path / "pipe.png")


def test_unreadable(tmp_path, monkeypatch):
    path = tmp_path / "secret.png"
    noise().save(path)

    def refuse(*args, **options):
        raise PermissionError(13, "denied")

    with monkeypatch.context() as patch, pytest.raises(ImageError, match=r"^secret\.png may not be read"):
        patch.setattr("builtins.open", refuse)
        open_image(path)


def test_probe_does_not_decode(tmp_path):
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded(noise(200, 100), "JPEG")[:4000])
    assert probe_image(path) == (200, 100)


def test_import_needs_no_torch():
    code = (
        "import sys, cyclegan.images, cyclegan.data;"
        "sys.exit(bool({'torch', 'torchvision', 'datasets'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_listing_is_natural_and_ignores_what_is_hidden(tmp_path):
    names = "10.jpg 9.JPG b2.png B1.png .hidden.jpg notes.txt x.tiff 01.jpg 1.jpg"
    for name in names.split():
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    assert [p.name for p in list_images(tmp_path)] == [
        "01.jpg", "1.jpg", "9.JPG", "10.jpg", "B1.png", "b2.png", "x.tiff",
    ]  # fmt: skip
    with pytest.raises(ImageError, match="can't be listed"):
        list_images(tmp_path / "nowhere")
    assert sorted(["a_1²2.png", "a_10.png", "²", "a_1.png"], key=natural_order)[:2] == ["a_1.png", "a_1²2.png"]


# ------------------------------------------------------------------------------------------------ tensors


def test_round_trip_is_exact():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(np.stack([levels, levels.T, 255 - levels], -1))
    tensor = to_tensor(image)
    assert tensor.dtype == torch.float32 and tensor.shape == (3, 16, 16)
    assert tensor.min() == -1 and tensor.max() == 1
    for back in (to_image(tensor), to_image(tensor[None]), to_image(to_tensor(np.asarray(image)))):
        assert np.array_equal(np.asarray(back), np.asarray(image))


def test_to_tensor_keeps_channels_and_rows_in_place():
    image = Image.new("RGB", (3, 2))
    image.putpixel((2, 1), (255, 0, 0))
    tensor = to_tensor(image)
    assert tensor[0, 1, 2] == 1 and tensor.sum() == -16  # every other of the 18 numbers is -1


def test_to_image_clamps_and_rounds():
    step = 2 / 255
    tensor = torch.tensor([-3.0, 3.0, -1 + 0.4 * step, -1 + 0.6 * step, float("nan")]).expand(3, 1, 5)
    assert np.asarray(to_image(tensor))[0, :, 0].tolist() == [0, 255, 0, 1, 128]
    assert np.asarray(to_image(tensor.to(torch.float16).requires_grad_()))[0, 1, 0] == 255


@pytest.mark.parametrize("shape", [(17, 4, 4), (2, 3, 4, 4), (4, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ImageError):
        to_image(torch.zeros(shape))
    with pytest.raises(ImageError):
        to_tensor(np.zeros(shape, np.uint8))


# ----------------------------------------------------------------------------------------------- geometry


@pytest.mark.parametrize(
    ("preprocess", "size", "training", "evaluation"),
    [
        ("resize_crop", (100, 50), (48, 48), (32, 32)),
        ("resize", (100, 50), (32, 32), (32, 32)),
        ("crop", (100, 50), (100, 50), (32, 32)),
        ("crop", (16, 20), (32, 40), (32, 32)),
        ("scale_width", (100, 150), (32, 48), (32, 48)),
        ("scale_width", (100, 10), (320, 32), (320, 32)),
        ("scale_width_crop", (96, 192), (48, 96), (32, 64)),
        ("scale_width_crop", (100, 50), (64, 32), (64, 32)),
        ("none", (101, 50), (100, 48), (100, 48)),
        ("none", (1, 2), (32, 64), (32, 64)),
    ],
)
def test_sizes(preprocess, size, training, evaluation):
    settings = config(preprocess)
    assert training_size(size, settings) == training
    assert evaluation_size(size, settings) == evaluation
    assert resize_for_training(noise(*size), settings).size == training
    assert prepare_for_evaluation(noise(*size), settings).size == evaluation


@pytest.mark.parametrize("preprocess", PREPROCESS)
@pytest.mark.parametrize("size", [(1, 1), (3, 300), (300, 3), (31, 33), (64, 64), (255, 257)])
@pytest.mark.parametrize("multiple", [4, 16])
def test_no_size_breaks_what_follows(preprocess, size, multiple):
    settings = config(preprocess)
    width, height = training_size(size, settings, multiple=multiple)
    left, top, right, bottom = crop_box((width, height), settings, np.random.default_rng(0))
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    for sides in ((right - left, bottom - top), evaluation_size(size, settings, multiple=multiple)):
        assert all(side % multiple == 0 and side >= MIN_SIDE for side in sides)


@pytest.mark.parametrize("preprocess", ["none", "scale_width", "crop", "scale_width_crop"])
def test_extreme_shapes_are_refused_rather_than_blown_up(preprocess):
    with pytest.raises(ImageError, match="too extreme"):
        training_size((1, 20_000), config(preprocess, load_size=256, crop_size=256))


def test_resize_is_pillows_antialiased_bicubic():
    picture = noise(200, 100)
    expected = picture.resize((48, 48), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(resize_for_training(picture, config())), np.asarray(expected))


def test_centre_crop_is_the_centre():
    picture = Image.new("RGB", (100, 50))
    picture.paste((255, 255, 255), (34, 9, 66, 41))
    assert np.asarray(prepare_for_evaluation(picture, config("crop"))).min() == 255


def test_augment_crops_everywhere_and_mirrors_half():
    array = np.asarray(noise(34, 34))
    seen = {}
    for seed in range(300):
        crop = augment(array, config(), np.random.default_rng(seed))
        left, top, right, bottom = crop_box((34, 34), config(), np.random.default_rng(seed))
        plain = array[top:bottom, left:right]
        mirrored = not np.array_equal(crop, plain)
        assert np.array_equal(crop, plain[:, ::-1] if mirrored else plain)
        seen.setdefault((left, top), []).append(mirrored)
    assert set(seen) == {(x, y) for x in range(3) for y in range(3)}, "every offset, the last one included"
    assert 100 < sum(map(sum, seen.values())) < 200


def test_switching_flip_off_leaves_crops_as_they_were():
    array = np.asarray(noise(40, 40))
    for seed in range(20):
        crops = [augment(array, config(flip=f), np.random.default_rng(seed)) for f in (True, False)]
        assert np.array_equal(crops[1], crops[0]) or np.array_equal(crops[1], crops[0][:, ::-1])
