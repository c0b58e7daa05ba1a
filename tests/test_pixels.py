"""Depths, bands and pages: files of scanners, microscopes and satellites, and the facts recorded about them."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from cyclegan.errors import ImageError
from cyclegan.images import open_image
from cyclegan.locale import in_language
from cyclegan.pixels import PictureFacts, notes_on, recorded_facts

RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8)


def tiff(*pages, extra=(), photometric=None, reduced=False, next_page=0):
    """A TIFF as other programs write it: each page an array (H, W) or (H, W, bands) of any type.

    `extra` is the meaning of the bands beyond colour (0 unknown, 1 premultiplied, 2 transparency). `reduced` marks all
    pages but the first as smaller copies; `next_page` is what the last page claims to come after it.
    """
    data = b"II*\0" + struct.pack("<I", 8)
    for number, page in enumerate(pages):
        array = np.atleast_3d(page)
        height, width, bands = array.shape
        kind = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
        colour = (2 if bands >= 3 else 1) if photometric is None else photometric
        tags = {254: ("I", (int(reduced and number > 0),)), 256: ("I", (width,)), 257: ("I", (height,)),
                258: ("H", (array.itemsize * 8,) * bands), 259: ("H", (1,)), 262: ("H", (colour,)), 273: ("I", (0,)),
                277: ("H", (bands,)), 278: ("I", (height,)), 279: ("I", (array.nbytes,)),
                339: ("H", (kind,) * bands)}  # fmt: skip
        if extra:
            tags[338] = ("H", extra)
        start = len(data)
        beyond = start + 2 + 12 * len(tags) + 4
        entries, values = b"", b""
        for tag, (code, content) in sorted(tags.items()):
            packed = struct.pack(f"<{len(content)}{code}", *content)
            if len(packed) > 4:
                packed, values = struct.pack("<I", beyond + len(values)), values + packed
            entries += struct.pack("<HHI", tag, {"H": 3, "I": 4}[code], len(content)) + packed.ljust(4, b"\0")
        pixels = beyond + len(values)
        place = entries.index(struct.pack("<HHI", 273, 4, 1)) + 8
        entries = entries[:place] + struct.pack("<I", pixels) + entries[place + 4 :]
        after = pixels + array.nbytes + array.nbytes % 2
        after = after if number < len(pages) - 1 else next_page
        data += struct.pack("<H", len(tags)) + entries + struct.pack("<I", after) + values
        data += array.tobytes() + b"\0" * (array.nbytes % 2)
    return data


def encoded(image, format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def colours(seed=0, bands=3, dtype=np.uint8):
    return np.random.default_rng(seed).integers(1, 200, (8, 8, bands)).astype(dtype)


def read(*sources):
    """The pictures as arrays, and the sentences about them."""
    with recorded_facts() as facts:
        pictures = [np.asarray(open_image(source)) for source in sources]
    return pictures, [str(note) for note in notes_on(facts)]


# --- depth --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [
    pytest.param(encoded(Image.fromarray(RAMP * 65)), id="PNG"),
    pytest.param(tiff(RAMP * 65), id="TIFF"),
])
def test_twelve_bits_in_sixteen_are_said(data):
    _, notes = read(data)
    assert notes == [
        "16-bit pictures use only 0..4095 of 65535 and become 17 grey levels: multiply their values first, all by the "
        "same number"
    ]


def test_colour_of_twelve_bits_in_sixteen_is_said():
    (picture,), (note,) = read(tiff(np.stack([RAMP * 65] * 3, -1)))
    assert picture.max() == 15 and "use only 0..4095 of 65535 and become 17 grey levels" in note


def test_a_png_of_16_bits_a_channel_is_said():
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.stack([RAMP * 65] * 3, -1))
    data = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    assert "use only 0..4095 of 65535 and become 17 grey levels" in read(data)[1][0]


def test_the_range_is_that_of_all_pictures_together():
    dark, bright = (encoded(Image.fromarray(RAMP * factor)) for factor in (66, 1000))
    assert read(dark, bright)[1] == []
    fourteen_bits = encoded(Image.fromarray(RAMP * 260))
    assert "use only 0..16380 of 65535 and become 65 grey levels" in read(dark, fourteen_bits)[1][0]
    assert "become 1 grey level:" in read(encoded(Image.fromarray(RAMP * 0)))[1][0]


def test_twelve_bits_among_pictures_of_sixteen_are_said():
    """One full picture made the range whole, and the others became nearly black in silence."""
    twelve, full, empty = (encoded(Image.fromarray(RAMP * factor)) for factor in (64, 1000, 0))
    assert read(twelve, full, empty)[1] == [
        "1 of 3 16-bit pictures has no value above 4032 of 65535, so it is nearly black: if its values are of 12 bits, "
        "multiply them by 16"
    ]
    assert read(twelve, full, twelve)[1][0].startswith("2 of 3 16-bit pictures have no value above 4032 of 65535, so")
    assert len(read(twelve, twelve)[1]) == 1


def test_white_is_zero_is_upright_in_16_bits_and_its_range_is_said():
    (negative, positive), notes = read(tiff(RAMP * 1040, photometric=0), tiff(RAMP * 1040))
    assert np.array_equal(negative, 255 - positive) and notes == []
    assert "use only 61440..65535 of 65535 and become 17 grey levels" in read(tiff(RAMP * 65, photometric=0))[1][0]


def test_twelve_bit_files_are_white_at_4095():
    # Two values in three bytes: 4095 and 0.
    row = b"\xff\xf0\x00" * 4
    data = bytearray(tiff(np.frombuffer(row * 8, np.uint8).reshape(8, 12)))
    for tag, value in ((256, 8), (258, 12)):
        place = data.index(struct.pack("<H", tag) + (b"\x04\0" if tag == 256 else b"\x03\0") + struct.pack("<I", 1))
        data[place + 8 : place + 10] = struct.pack("<H", value)
    (picture,), notes = read(bytes(data))
    assert picture[0, :, 0].tolist() == [255, 0] * 4 and notes == []


@pytest.mark.parametrize(("values", "words"), [
    (np.float32([[0, 1.2]]), "float pictures use only 0..1.2 of 255 and become 2 grey levels"),
    (np.float32([[0, 0.1]]), "float pictures use only 0..0.1 of 1 and become 27 grey levels"),
    (np.float32([[-1, 1]]), "the float values have no known white, so each picture is stretched"),
    (np.int32([[0, 4095]]), "32-bit pictures use only 0..4095 of 65535 and become 17 grey levels"),
    (np.int16([[-1000, 3000]]), "the 16-bit values have no known white"),
    (np.float32([[0, 1]]), None),
    (np.float32([[0, 255]]), None),
])  # fmt: skip
def test_floats_and_integers_without_a_white_are_said(values, words):
    notes = read(tiff(values))[1]
    assert len(notes) == (words is not None) and (words is None or notes[0].startswith(words))


def test_dark_pictures_of_eight_bits_are_no_news():
    assert read(encoded(Image.new("L", (8, 8), 3)), encoded(Image.new("RGB", (8, 8), 3), "JPEG"))[1] == []


# --- bands and transparency -----------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [(), (2,), (1,)], ids=["unmarked", "transparency", "premultiplied"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_near_infrared_is_not_taken_for_transparency(extra, dtype):
    array = colours(bands=4, dtype=dtype) * (257 if dtype == np.uint16 else 1)
    (picture,), notes = read(tiff(array, extra=extra))
    assert np.array_equal(picture, array[..., :3] // (257 if dtype == np.uint16 else 1))
    assert notes == [
        "the band marked as transparency isn't used, because most of its values are neither 0 nor 255"
    ]


def test_grey_with_another_band_is_not_taken_for_transparent():
    array = colours(bands=2)
    (picture,), notes = read(tiff(array, extra=(2,)))
    assert np.array_equal(picture[..., 0], array[..., 0]) and "marked as transparency isn't used" in notes[0]


@pytest.mark.parametrize("extra", [2, 1], ids=["transparency", "premultiplied"])
def test_transparency_is_over_white_as_before(extra):
    array = np.dstack([colours(), np.full((8, 8), 255, np.uint8)])
    array[:4, :, 3] = 0
    array[0, 0] = (100, 50, 0, 100) if extra == 1 else (255, 127, 0, 100)
    if extra == 1:
        array[1:4, :, :3] = array[0, 1:, :3] = 0  # Premultiplied colours are black where nothing shows.
    (picture,), notes = read(tiff(array, extra=(extra,)))
    assert (picture[1:4] == 255).all() and np.array_equal(picture[4:], array[4:, :, :3]) and notes == []
    assert np.abs(picture[0, 0].astype(int) - (255, 205, 155)).max() <= 2


def test_soft_transparency_of_a_png_stays_transparency():
    (picture,), notes = read(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 128))))
    assert picture[0, 0].tolist() == [127] * 3 and notes == []


def test_bands_beyond_colour_are_said():
    (picture,), notes = read(tiff(array := colours(bands=5), extra=(0, 0)))
    assert np.array_equal(picture, array[..., :3]) and notes == ["the bands beyond colour aren't used"]


@pytest.mark.parametrize(("array", "extra", "words"), [
    (colours(bands=5), (), "5 bands of 8 bits"),
    (colours(dtype=np.float32), (), "3 bands of 32-bit floats"),
    (colours(bands=1, dtype=np.float64), (), "1 band of 64-bit floats"),
    (colours(bands=1, dtype=np.float16), (), "1 band of 16-bit floats"),
    (colours(bands=7, dtype=np.uint16), (0, 0, 0, 0), "7 bands of 16 bits"),
])
def test_a_tiff_that_cannot_be_read_names_its_bands_and_values(tmp_path, array, extra, words):
    (tmp_path / "odd.tif").write_bytes(tiff(array, extra=extra))
    with pytest.raises(ImageError) as caught:
        open_image(tmp_path / "odd.tif")
    assert str(caught.value) == (
        f"odd.tif is a TIFF of {words}, which can't be read here: save it as RGB or grey of 8 bits"
    )
    assert "밴드" in in_language(caught.value, "ko")


def test_a_tiff_whose_tags_are_damaged_is_still_one_sentence():
    with pytest.raises(ImageError, match="is not a picture that can be read here"):
        open_image(b"II*\0\xff\xff\0\0" + bytes(40))


# --- pages ----------------------------------------------------------------------------------------------------


def test_sentences_about_some_of_several_pictures_have_their_number():
    pages, picture = tiff(colours(), colours(1)), encoded(Image.new("RGB", (2, 2)))
    assert read(pages, picture)[1] == ["in 1 picture, only the first of several pages or frames is used"]
    assert read(pages, picture, pages)[1] == ["in 2 pictures, only the first of several pages or frames is used"]


def test_only_the_first_page_counts_and_it_is_said():
    pages = [colours(seed) for seed in range(6)]
    (picture,), notes = read(tiff(*pages))
    assert np.array_equal(picture, pages[0])
    assert notes == ["only the first of several pages or frames is used"]


def test_frames_of_an_animation_are_said():
    frames = [Image.new("RGB", (8, 8), (level, 0, 0)) for level in (200, 90)]
    several = [encoded(frames[0], kind, save_all=True, append_images=frames[1:]) for kind in ("GIF", "PNG", "WEBP")]
    pictures, notes = read(*several)
    assert all(abs(int(picture[0, 0, 0]) - 200) < 9 for picture in pictures)
    assert notes == ["in 3 pictures, only the first of several pages or frames is used"]


def test_smaller_copies_and_damaged_lists_of_pages_are_no_pages():
    for data in (tiff(colours(), colours(1), reduced=True), tiff(colours(), next_page=5)):
        (picture,), notes = read(data)
        assert np.array_equal(picture, colours()) and notes == []


# --- recording ------------------------------------------------------------------------------------------------


def test_facts_are_recorded_within_the_block_and_the_thread():
    data = tiff(RAMP * 65)
    open_image(data)
    with recorded_facts() as facts:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(open_image, data).result()
        assert facts == []
        open_image(Image.open(io.BytesIO(data)))
        open_image(encoded(Image.new("RGB", (2, 2))))
    open_image(data)
    assert [one.depth and one.depth.high for one in facts] == [4095, None] and facts[1] == PictureFacts()
